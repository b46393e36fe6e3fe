"""Remote read: the curves in the future, asked for by hand."""

import re
import time

import cramjam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.publish import remote_pb as pb
from forecaster.publish.remote_read import BODY_LIMIT, answer, remote_read_blueprint
from tests.results import ISSUED, SIGNALS, Clock, app_of, board_with, curves, make_result

EVER = (-(1 << 60), 1 << 60)
CURVE = (pb.EQ, "source", "curve")
CPU = (pb.EQ, "__name__", "forecast_cpu_pct")


def query(*matchers, span=EVER):
    matchers = [pb.LabelMatcher(type=kind, name=name, value=value) for kind, name, value in matchers]
    return pb.Query(start_timestamp_ms=span[0], end_timestamp_ms=span[1], matchers=matchers)


def series(result, *matchers, span=EVER) -> dict:
    """{((label, value), …): [(ms, value), …]} that one query finds, in the order answered."""
    response = answer(result, pb.ReadRequest(queries=[query(*matchers, span=span)]))
    found, = response.results
    return {tuple((label.name, label.value) for label in one.labels):
            [(sample.timestamp, sample.value) for sample in one.samples] for one in found.timeseries}


def post(client, body: bytes, **headers):
    return client.post("/api/v1/read", data=body, headers={
        "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
        **{name.replace("_", "-"): value for name, value in headers.items()}})


def packed(*queries, accepted=()) -> bytes:
    message = pb.ReadRequest(queries=queries, accepted_response_types=accepted)
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def unpacked(response):
    return pb.ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(response.data)))


@pytest.fixture
def client():
    return app_of(remote_read_blueprint(board_with(make_result()), Clock(), sample_limit=1000)).test_client()


def test_a_curve_has_its_labels_in_order_and_a_sample_for_each_step_ahead():
    result = make_result()
    found = series(result, CURVE, CPU, (pb.EQ, "server", "ppdb001"), (pb.EQ, "percentile", "p90"))
    (labels, samples), = found.items()
    assert labels == (("__name__", "forecast_cpu_pct"), ("percentile", "p90"), ("profile", "database"),
                      ("server", "ppdb001"), ("source", "curve"))
    assert [at for at, _ in samples] == [int(ISSUED + 300 * k) * 1000 for k in range(1, 97)]
    assert [value for _, value in samples] == result.forecast[0, 0, :, 2].tolist()


def test_series_come_sorted_by_their_labels():
    result = make_result(servers=("b", "c", "a"), profiles=("x", "w", "x"))
    found = list(series(result, CURVE))
    assert len(found) == 3 * len(SIGNALS) * 3
    assert found == sorted(found)


def test_samples_outside_the_asked_range_are_left_out_and_its_ends_belong_to_it():
    first, last = int(ISSUED + 600) * 1000, int(ISSUED + 1200) * 1000
    samples = next(iter(series(make_result(), CURVE, CPU, span=(first, last)).values()))
    assert [at for at, _ in samples] == [first, first + 300_000, last]
    assert series(make_result(), CURVE, CPU, span=(last, first)) == {}


def test_a_range_before_the_curve_is_answered_without_looking_at_any_series():
    past = (0, int(ISSUED) * 1000)
    never_read = (pb.RE, "server", "(")
    assert series(make_result(), CURVE, never_read, span=past) == {}


def test_samples_are_evenly_spaced_whatever_the_fraction_of_the_start():
    result = make_result(issued=ISSUED + 0.0005, step=12.001)
    samples = next(iter(series(result, CURVE, CPU).values()))
    assert set(np.diff([at for at, _ in samples])) == {12_001}


@pytest.mark.parametrize("matchers", [
    (CPU,), (CPU, (pb.RE, "source", "curve")), (CPU, (pb.EQ, "source", "gauge")),
    (CPU, CURVE, (pb.NEQ, "source", "curve"))])
def test_without_the_matcher_source_curve_there_is_no_answer(matchers):
    assert series(make_result(), *matchers) == {}


def test_stale_servers_have_no_curves():
    found = series(make_result(stale=["ppdb001"]), CURVE, CPU)
    assert {dict(labels)["server"] for labels in found} == {"ppdb002", "ppweb001"}


def test_what_is_not_known_has_no_samples():
    forecast = curves(3)
    forecast[0, 0] = np.nan
    forecast[1, 0, 5] = np.nan
    found = {(dict(labels)["server"], dict(labels)["percentile"]): samples
             for labels, samples in series(make_result(forecast=forecast), CURVE, CPU).items()}
    assert not any(server == "ppdb001" for server, _ in found)
    gapped = found["ppdb002", "p50"]
    assert len(gapped) == 95
    assert len(found["ppweb001", "p50"]) == 96
    assert gapped[4:6] == [(int(ISSUED + 1500) * 1000, forecast[1, 0, 4, 1]),
                           (int(ISSUED + 2100) * 1000, forecast[1, 0, 6, 1])]


def test_expressions_match_whole_values_and_an_absent_label_is_empty():
    def servers(*matcher):
        return {dict(labels)["server"] for labels in series(make_result(), CURVE, CPU, matcher)}

    assert servers(pb.RE, "server", "ppdb") == set()
    assert servers(pb.RE, "server", "ppdb.*|ppweb001") == {"ppdb001", "ppdb002", "ppweb001"}
    assert servers(pb.RE, "server", "ppdb|web001") == set()
    assert servers(pb.NRE, "server", "ppdb.+") == {"ppweb001"}
    assert servers(pb.RE, "server", "(?i)PPWEB[[:digit:]]+") == {"ppweb001"}, "RE2's syntax, not Python's"
    everyone = {"ppdb001", "ppdb002", "ppweb001"}
    assert servers(pb.EQ, "job", "") == everyone
    assert servers(pb.EQ, "job", "forecaster") == set()
    assert servers(pb.NEQ, "job", "forecaster") == everyone
    assert servers(pb.RE, "instance", ".*") == everyone
    assert servers(pb.RE, "instance", ".+") == set()
    assert servers(pb.NRE, "instance", ".+") == everyone


def test_an_expression_that_would_take_ages_to_backtrack_takes_no_time():
    result = make_result(servers=("a" * 60,), profiles=("generic",))
    started = time.perf_counter()
    assert series(result, CURVE, (pb.RE, "server", "(a|a)*(a*)*b")) == {}
    assert time.perf_counter() - started < 1


VALUES = {"__name__": ["forecast_cpu_pct", "forecast_mem_pct"], "percentile": ["p10", "p50", "p90"],
          "profile": ["database", "web_api"], "server": ["ppdb001", "ppdb002", "ppweb001"],
          "source": ["curve"], "job": ["", "forecaster"]}


@st.composite
def matcher(draw):
    name = draw(st.sampled_from(sorted(VALUES)))
    kind = draw(st.sampled_from([pb.EQ, pb.NEQ, pb.RE, pb.NRE]))
    values = st.sampled_from([*VALUES[name], "", "other"])
    if kind in (pb.EQ, pb.NEQ):
        return kind, name, draw(values)
    pieces = st.one_of(values, values.map(lambda value: value[:4] + ".*"),
                       values.map(lambda value: ".+" + value[-2:]),
                       st.sampled_from([".*", ".+", "", "p[15]0", "[^d]+"]))
    return kind, name, "|".join(draw(st.lists(pieces, min_size=1, max_size=3)))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(matcher(), max_size=4), st.booleans())
def test_every_matcher_is_honoured_as_one_by_one_comparison_would(matchers, marked):
    result = make_result(signals=("cpu_pct", "mem_pct"))
    matchers = [*matchers, CURVE] if marked else matchers
    expected = set()
    for signal in result.signals:
        for server, profile in zip(result.servers, result.profiles, strict=True):
            for percentile in ("p10", "p50", "p90"):
                labels = {"__name__": f"forecast_{signal}", "percentile": percentile, "profile": profile,
                          "server": server, "source": "curve"}
                accepted = all({
                    pb.EQ: lambda given, wanted: given == wanted,
                    pb.NEQ: lambda given, wanted: given != wanted,
                    pb.RE: lambda given, wanted: re.fullmatch(f"(?:{wanted})", given) is not None,
                    pb.NRE: lambda given, wanted: re.fullmatch(f"(?:{wanted})", given) is None,
                }[kind](labels.get(name, ""), value) for kind, name, value in matchers)
                if accepted and CURVE in matchers:
                    expected.add(tuple(sorted(labels.items())))
    assert set(series(result, *matchers)) == expected


def test_over_http_each_query_gets_its_own_result_in_order(client):
    response = post(client, packed(query(CURVE, CPU, (pb.EQ, "server", "ppdb001")), query(CPU),
                                   query(CURVE, CPU, (pb.EQ, "percentile", "p50")), accepted=(1, 0)))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/x-protobuf"
    assert response.headers["Content-Encoding"] == "snappy"
    assert [len(result.timeseries) for result in unpacked(response).results] == [3, 0, 3]


def test_an_expired_or_missing_forecast_has_no_curves():
    clock = Clock(ISSUED + 120)
    client = app_of(remote_read_blueprint(board_with(make_result()), clock)).test_client()
    assert len(unpacked(post(client, packed(query(CURVE, CPU)))).results[0].timeseries) == 9
    clock.now += 0.001
    assert len(unpacked(post(client, packed(query(CURVE, CPU)))).results[0].timeseries) == 0
    empty = app_of(remote_read_blueprint(board_with(None), clock)).test_client()
    assert len(unpacked(post(empty, packed(query(CURVE, CPU)))).results[0].timeseries) == 0


@pytest.mark.parametrize(("body", "reason"), [
    (b"", "empty"),
    (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "not a snappy block"),
    (b"\x05abc", "not a snappy block"),
    (bytes(cramjam.snappy.compress_raw(b"\xff\xff\xff")), "not a ReadRequest message"),
    (bytes(cramjam.snappy.compress(b"framed")), "not a snappy block"),
])
def test_a_broken_body_is_a_400_that_says_what_is_wrong_with_it(client, body, reason):
    response = post(client, body)
    assert response.status_code == 400
    assert reason in response.json["error"]
    assert response.json["field"] == "body"
    assert "snappy" in response.json["expected"]


def test_another_encoding_or_type_is_a_415(client):
    body = packed(query(CURVE, CPU))
    assert post(client, body, Content_Encoding="gzip").status_code == 415
    refused = post(client, body, Content_Type="application/json")
    assert refused.status_code == 415
    assert refused.json["field"] == "Content-Type"
    assert refused.json["expected"] == "application/x-protobuf"


def test_a_body_too_large_packed_or_unpacked_is_a_413(client):
    bomb = bytes(cramjam.snappy.compress_raw(b"\0" * (BODY_LIMIT + 1)))
    assert len(bomb) < BODY_LIMIT
    assert post(client, bomb).status_code == 413
    assert post(client, b"\0" * (BODY_LIMIT + 1)).status_code == 413


def test_a_client_that_takes_streamed_chunks_only_is_told_so(client):
    response = post(client, packed(query(CURVE, CPU), accepted=(1,)))
    assert response.status_code == 400
    assert response.json["field"] == "accepted_response_types"


@pytest.mark.parametrize(("wrong", "reason"), [
    ((pb.RE, "server", "pp(db"), "server=~'pp(db'"), ((pb.NRE, "server", "(?=a)"), "server!~'(?=a)'"),
    ((9, "server", "a"), "type 9")])
def test_a_matcher_that_cannot_be_understood_is_a_400_that_shows_it(client, wrong, reason):
    response = post(client, packed(query(CURVE, wrong)))
    assert response.status_code == 400
    assert reason in response.json["error"]
    assert response.json["field"] == "matchers"


def test_a_request_for_too_many_samples_is_a_400_that_says_how_to_ask_for_fewer(client):
    assert post(client, packed(query(CURVE, CPU))).status_code == 200  # 9 series of 96: 864 of 1000
    response = post(client, packed(query(CURVE, CPU), query(CURVE, CPU)))
    assert response.status_code == 400
    assert "1000 samples" in response.json["error"]
    assert "matchers" in response.json["expected"]
