"""Remote read: the curves of a thousand servers, of one, and of none."""

from collections.abc import Iterator

import cramjam

from forecaster.board import Board
from forecaster.config import load_config
from forecaster.publish import remote_pb as pb
from forecaster.publish.remote_read import remote_read_blueprint
from tests.benchmarks.bench_exposition import result_of
from tests.benchmarks.measure import Line, seconds
from tests.results import Clock, app_of

KINDS = {"=": pb.EQ, "!=": pb.NEQ, "=~": pb.RE, "!~": pb.NRE}


def request(result, *matchers: tuple[str, str, str], later: float = 0.0) -> bytes:
    start = int((result.issued + later) * 1000)
    query = pb.Query(start_timestamp_ms=start, end_timestamp_ms=start + 9 * 3600_000, matchers=[
        pb.LabelMatcher(name=name, type=KINDS[kind], value=value)
        for name, kind, value in (("source", "=", "curve"), *matchers)
    ])
    return bytes(cramjam.snappy.compress_raw(pb.ReadRequest(queries=[query]).SerializeToString()))


def lines() -> Iterator[Line]:
    result, board = result_of(1000), Board(120.0)
    board.publish(result)
    limit = load_config("fleet").publish.max_curve_samples
    client = app_of(remote_read_blueprint(board, Clock(), limit)).test_client()
    signal, one = ("__name__", "=", "forecast_cpu_pct"), result.servers[0]

    def ask(*matchers, **options):
        body = request(result, *matchers, **options)
        answer = client.post("/api/v1/read", data=body)
        assert answer.status_code == 200, answer.text
        return answer.data

    series = len(pb.ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(ask(signal)))).results[0].timeseries)
    yield Line("1,000 servers x 3 percentiles x 1 signal", 1000 * seconds(lambda: ask(signal)), "ms",
               f"{series} series, {series * 96:,} samples of at most {limit:,}", 300)
    yield Line("one server x 3 percentiles x 1 signal",
               1000 * seconds(lambda: ask(signal, ("server", "=", one))), "ms", "", 10)
    for kind, value in (("!=", one), ("=~", "ppdb00.*"), ("!~", "pp(web|db).*")):
        yield Line(f"server{kind}{value!r}, p90", 1000 * seconds(
            lambda kind=kind, value=value: ask(signal, ("percentile", "=", "p90"), ("server", kind, value))), "ms")
    nothing, outside = (seconds(lambda later=later, m=m: ask(*m, later=later), 25) for later, m in (
        (0.0, (("__name__", "=", "nonsense"),)), (10 * 3600.0, (signal,))))
    yield Line("a range outside the curve", 1000 * outside, "ms", f"a name nobody has: {1000 * nothing:.2g} ms", 10)
