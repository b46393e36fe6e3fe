"""Bodies of remote read: ReadRequests with hostile matchers, ranges and numbers of queries, and damaged bytes."""

import json
import random

import cramjam

from forecaster.publish import remote_pb as pb
from tests.fuzz import mutate, wire
from tests.fuzz.judge import check
from tests.fuzz.requests import ForecasterPages

NAMES = ("source", "__name__", "server", "profile", "percentile", "job", "instance", "", "\0", "é", "x" * 300)
VALUES = ("curve", "forecast_cpu_pct", "ppdb001", "database", "p90", "", "gauge")
TIMES = (0, 1, -1, 1_760_000_000_000, 1_760_028_800_000, 1 << 62, -(1 << 62))
COUNTS = (0, 1, 1, 1, 2, 5, 300, 20_000)


def expression(chance: random.Random) -> str:
    """A regular expression, mostly of the kind that costs or breaks an engine."""
    piece = chance.choice(("a", ".", "[a-z]", r"\pL", "(a?)", "(.?)", "(.*)", "((p?)|.)", "(a*)*",
                           "(?i)ä", "x|y", "p9.", r"\b", "(?P<n>a)", ".*"))
    times = chance.choice((1, 3, 50, 500, 2500))
    return chance.choice((
        piece * times, "(" * times + piece + ")" * times, f"({piece}){{{times}}}", f"(({piece}){{{times}}}){{99}}",
        "|".join([piece] * times), f"[{piece * times}]", f"(?:{piece})" * times, f"{piece}{{1,{times}}}" * 20,
        f".*{piece}", "(" * times, f"\\{piece}", f"[[:alpha:]]{{{times}}}", "^" * times, "(?s:.)" * times + "$",
        "\\x{10ffff}"))


def body(chance: random.Random) -> bytes:
    """A body, compressed as Prometheus does."""
    request = pb.ReadRequest()
    for _ in range(chance.choice(COUNTS)):
        query = request.queries.add()
        query.start_timestamp_ms, query.end_timestamp_ms = chance.choice(TIMES), chance.choice(TIMES)
        if chance.random() < 0.9:
            query.matchers.add(type=pb.EQ, name="source", value="curve")
        for _ in range(chance.choice(COUNTS[:6]) if len(request.queries) < 10 else 1):
            value = expression(chance) if chance.random() < 0.5 else chance.choice(VALUES + TEXTS)
            kind, name = chance.choice((0, 1, 2, 2, 3, 3, 7, -1)), chance.choice(NAMES[1:4] * 5 + NAMES)
            query.matchers.add(type=kind, name=name, value=value)
        if len(request.queries) > 10:  # many alike
            request.queries.extend([query] * chance.choice((0, 500)))
            break
    if chance.random() < 0.1:
        request.accepted_response_types.extend(chance.choice(((0,), (1,), (1, 0), (9,) * 999)))
    raw = request.SerializeToString()
    if chance.random() < 0.2:
        raw = mutate.data(chance, raw)
    if chance.random() < 0.02:
        raw += bytes(chance.choice((1 << 20, 1 << 26)))  # 64 MB of zeros are 3 MB
    packed = bytes(cramjam.snappy.compress_raw(raw))
    return mutate.data(chance, packed) if chance.random() < 0.15 else packed


TEXTS = tuple(text for text in mutate.TEXTS if "\ud800" not in text)  # protobuf has no lone surrogates


class RemoteReads(ForecasterPages):
    """Remote read of the forecaster; the answer holds only curves, and health and forecasts are as before."""

    name, inputs = "remote-reads", 150
    seconds, megabytes = 1.0, 128.0

    def draw(self, chance: random.Random) -> bytes:
        return body(chance)

    def run(self, given: bytes) -> None:
        head = ("POST /api/v1/read HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\n"
                f"Content-Encoding: snappy\r\nContent-Length: {len(given)}\r\n\r\n")
        status, headers, answer = wire.asked(self.app, head.encode() + given)
        wire.answered(status, headers, answer)
        if status != 200:
            longest = max((len(text) for text in json.loads(answer).values() if isinstance(text, str)), default=0)
            check(longest < 600, f"a refusal ({status}) has a text of {longest // 100 * 100} characters")
            return
        read = pb.ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(answer)))
        for series in (one for result in read.results for one in result.timeseries):
            labels = {label.name: label.value for label in series.labels}
            check(labels["source"] == "curve" and labels["__name__"].startswith(("forecast_", "observed_")),
                  "a series is no curve")
            check(all(sample.value == sample.value for sample in series.samples), "a sample is NaN")
