"""HTTP requests to the applications of the three services, without a server between."""

import json
import random
import tempfile

import cramjam

from exporter.app import create_app as exporter_app
from exporter.profiles import FleetConfig, load_fleet
from forecaster.config import ForecasterConfig, load_config
from forecaster.publish import remote_pb as pb
from forecaster.service.app import Forecaster
from serving.settings import SettingsError
from tests.fuzz import mutate, wire
from tests.fuzz.judge import check
from tests.fuzz.kind import Kind
from tests.pagers import Asked, alert, watchdog
from tests.results import ISSUED, Clock, make_result

PAGES = ("/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/status", "/nothing", "*", "//", "/%2e%2e/", "")


class Exporter(Kind):
    """The exporter: its pages and the scenario."""

    name, inputs = "requests-exporter", 150
    bodies = (b'{"scenario": "critical"}', b'{"scenario": "healthy"}', b"scenario=critical", b"[]")

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        config = load_fleet()

        def refuse() -> FleetConfig:
            raise SettingsError("fleet.yml: broken")

        self.app = exporter_app(config, Clock(), refuse, self._folder.name)

    def draw(self, chance: random.Random) -> bytes:
        bodies = self.bodies + (mutate.as_json(mutate.tree(chance, {"scenario": "critical"})),)
        return wire.request(chance, (*PAGES, "/scenario/set", "/scenario/set"), bodies)

    def run(self, given: bytes) -> None:
        wire.answered(*wire.asked(self.app, given), head=given.startswith(b"HEAD"))
        status, _, body = wire.asked(self.app, b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        check(status == 200 and json.loads(body)["fleet_size"] == 20, "/status is wrong afterwards")

    def close(self) -> None:
        self._folder.cleanup()


class Pager(Kind):
    """The pager: webhooks of Alertmanager."""

    name, inputs = "requests-pager", 200

    def __init__(self) -> None:
        self.pager = Asked()  # one for all: to make its application takes longer than an input

    def draw(self, chance: random.Random) -> bytes:
        hook = {"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "pager",
                "alerts": [alert(), alert("resolved", server="db2"), watchdog("2025-10-13T10:30:00Z")]}
        if chance.random() < 0.3:  # a valid one whose texts are odd
            one = hook["alerts"][0]
            one["labels"][chance.choice(("server", "alertname", "fleet", "x"))] = chance.choice(mutate.TEXTS)
            one["annotations"]["summary"] = chance.choice(mutate.TEXTS) * chance.choice((1, 9))
            body = mutate.as_json(hook)
        else:
            body = mutate.as_json(mutate.tree(chance, hook))
        paths = (*PAGES, "/received", *("/page", "/ticket", "/heartbeat") * 6)
        if chance.random() < 0.4:
            return wire.request(chance, paths, (body, b"{}"))
        path, length = chance.choice(("page", "ticket", "heartbeat")), len(body)
        head = (f"POST /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Content-Length: {length}\r\n\r\n")
        return head.encode() + body

    def run(self, given: bytes) -> None:
        pager = self.pager
        pager.post("/page", alert(server="kept"))
        wire.answered(*wire.asked(pager.client.application, given), head=given.startswith(b"HEAD"))
        pager.passes(1)
        held = [one["labels"].get("server") for one in pager.received()]
        check("kept" in held or len(held) >= 100, "an alert that was received before is gone")
        check(b"<html" in pager.client.get("/").data, "the page is wrong afterwards")
        for line in pager.new():
            check(all(one.isprintable() for one in line), "a line of the terminal holds control characters")


class ForecasterPages(Kind):
    """The forecaster with a forecast of three servers: pages, JSON, reload and remote read."""

    name, inputs = "requests-forecaster", 150

    def __init__(self) -> None:
        self._reads, config = 0, load_config("fleet", {"model": "none", "source.url": "http://127.0.0.1:9"})

        def read() -> ForecasterConfig:
            self._reads += 1
            if self._reads > 1:
                raise SettingsError("fleet.yml: broken")
            return config

        self.forecaster = Forecaster(read, Clock(ISSUED + 1))
        result = make_result(signals=tuple(config.signals))
        self.forecaster.parts.collector.prepare(result)
        self.forecaster.parts.board.publish(result)
        self.app = self.forecaster.app

    def draw(self, chance: random.Random) -> bytes:
        matcher = pb.LabelMatcher(type=pb.EQ, name="source", value="curve")
        read = pb.ReadRequest(queries=[pb.Query(end_timestamp_ms=1 << 50, matchers=[matcher])]).SerializeToString()
        bodies = (b"{}", bytes(cramjam.snappy.compress_raw(read)))
        paths = (*PAGES, "/predictions/current", "/alerts", "/capacity", "/runbook", "/api/v1/read", "/api/v1/read")
        return wire.request(chance, paths, bodies)

    def run(self, given: bytes) -> None:
        wire.answered(*wire.asked(self.app, given), head=given.startswith(b"HEAD"))

    def close(self) -> None:
        self.forecaster.close()
