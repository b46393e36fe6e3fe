"""Answers of a Prometheus query API to one signal, while those to another are good: a whole cycle and its pages."""

import gzip
import json
import random
from contextlib import ExitStack
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from forecaster.config import ForecasterConfig
from forecaster.service.app import Forecaster
from tests.fuzz import mutate
from tests.fuzz.judge import check
from tests.fuzz.kind import Kind
from tests.local_server import Request, local_server
from tests.results import Clock

NOW = 1_760_000_010.0
SIGNALS = {name: {"query": name, "unit": "percent"} for name in ("good", "odd")}
CONFIG = {"model": None, "signals": SIGNALS, "warmup": {"samples": 10}, "refresh": 60, "encoder_steps": 4,
          "capacity": {"resources": {}}}
SERVERS = ("db1", "db2", "kept")


def vector(*servers: str, kind: str = "vector", instant: float = NOW) -> dict[str, Any]:
    """A good answer."""
    values = {"value": [instant, "1.5"]} if kind == "vector" else {"values": [[instant, "1.5"]]}
    return {"status": "success", "data": {"resultType": kind, "result": [
        {"metric": {"server": server, "profile": "db"}, **values} for server in servers]}}


class Answers(Kind):
    """An input is a line with status and path of the answers to the odd signal, and it may be their encoding and how
    often the body is repeated (members of one gzip stream), then their body."""

    name, inputs = "answers", 40
    seconds, megabytes = 5.0, 600.0  # answers of 256 MB a cycle are allowed, and held twice for a moment

    def __init__(self) -> None:
        self._open, self._odd = ExitStack(), b"200 query\n"
        self._url = self._open.enter_context(local_server(self._answer)).url

    def _answer(self, request: Request) -> None:
        kind = "matrix" if request.path.endswith("range") else "vector"
        line, _, body = self._odd.partition(b"\n")
        status, path, *encoding = line.decode().split()
        body *= int(encoding.pop()) if len(encoding) == 2 else 1
        if request.form.get("query") == "odd" and request.path.endswith(path):
            request.answer(int(status), body, **({"Content_Encoding": encoding[0]} if encoding else {}))
        else:
            request.answer(200, json.dumps(vector(*SERVERS, kind=kind, instant=float(request.form.get("end", NOW)))))

    def draw(self, chance: random.Random) -> bytes:
        path = chance.choice(("query", "query", "query", "query_range"))
        whole = vector("db1", "db2", kind="matrix" if path == "query_range" else "vector")
        if chance.random() < 0.3:
            whole = vector(*(f"n{n}" for n in range(chance.choice((1, 30)))), kind=whole["data"]["resultType"])
        for _ in range(chance.choice((0, 1, 1, 2))):  # in the series, where a reader is least on its guard
            results = whole["data"]["result"]
            at = chance.randrange(len(results))
            results[at] = mutate.tree(chance, results[at], 2)
        if chance.random() < 0.4:
            whole = mutate.tree(chance, whole, 2)
        body = mutate.as_json(whole)
        if chance.random() < 0.15:
            body = mutate.data(chance, body)
        status = chance.choice((200,) * 12 + (301, 400, 401, 404, 422, 429, 500, 503))
        if chance.random() < 0.05:
            spaces = gzip.compress(b" " * (1 << 22)) * chance.choice((0, 1, 100))  # members of one stream: up to 400 MB
            return f"{status} {path} gzip\n".encode() + mutate.data(chance, gzip.compress(body) + spaces, 1)
        return f"{status} {path}\n".encode() + body

    def run(self, given: bytes) -> None:
        self._odd = given
        config = ForecasterConfig.model_validate({**CONFIG, "source": {"url": self._url, "retries": 0}})
        forecaster = Forecaster(lambda: config, Clock(NOW))
        try:
            check(forecaster.parts.cycle.run_once(), "no forecast: an odd signal took the good one with it")
            client = forecaster.app.test_client()
            for server in SERVERS:
                told = client.get("/predictions/current", query_string={"server": server}).json
                check(told.get("predictions", {}).get(server, {}).get("good", {}).get("current") == 1.5,
                      f"the good signal of {server} is lost or changed")
            page = client.get("/metrics").text
            good = [sample for family in text_string_to_metric_families(page) for sample in family.samples
                    if sample.name == "observed_good" and sample.labels["server"] == "kept"]
            check([sample.value for sample in good] == [1.5], "/metrics lacks the good signal")
            for path in ("/", "/alerts", "/status"):
                check(client.get(path).status_code == 200, f"{path} fails afterwards")
        finally:
            forecaster.close()

    def close(self) -> None:
        self._open.close()
