"""Curves of what fills up over remote read: one sample an hour, selected by every label."""

import numpy as np

from forecaster.publish import remote_pb as pb
from forecaster.publish.remote_read import answer
from serving.web import RequestError
from tests.outlooks import INSTANT, entity, make_outlook
from tests.results import make_result

NAME = "forecast_capacity_used_ratio"
OUTLOOK = make_outlook([entity("web1", "/"), entity("web1", "/data"), entity("web2", "/", profile="")])


def asked(end=14 * 86400, limit=1_000_000, result=None, outlook=OUTLOOK, name=NAME, **matchers):
    query = pb.Query(start_timestamp_ms=round(INSTANT * 1000), end_timestamp_ms=round((INSTANT + end) * 1000))
    for label, value in {"__name__": name, "source": "curve", **matchers}.items():
        kind, value = (pb.RE, value[1:]) if value.startswith("~") else (pb.EQ, value)
        query.matchers.add(type=kind, name=label, value=value)
    [found] = answer(result, pb.ReadRequest(queries=[query]), limit, outlook).results
    return [({label.name: label.value for label in one.labels}, [(s.timestamp, s.value) for s in one.samples])
            for one in found.timeseries]


def test_a_curve_has_a_sample_an_hour_for_14_days():
    [(labels, samples)] = asked(server="web1", entity="/data", percentile="p90")
    assert labels == {"__name__": NAME, "server": "web1", "profile": "web", "resource": "filesystem",
                      "entity": "/data", "percentile": "p90", "source": "curve"}
    assert [at for at, _ in samples] == [round((INSTANT + 3600 * k) * 1000) for k in range(1, 337)]
    assert {value for _, value in samples} == {float(np.float32(0.7))}


def test_labels_select_and_an_empty_one_is_left_out():
    assert len(asked()) == 9
    assert len(asked(entity="~/.*", percentile="p50")) == 3
    assert asked(resource="memory") == [] and asked(job="forecaster") == []
    [(labels, _)] = asked(server="web2", percentile="p50")
    assert "profile" not in labels


def test_series_come_in_the_order_of_their_labels():
    found = [tuple(sorted(labels.items())) for labels, _ in asked()]
    assert found == sorted(found)


def test_a_range_holds_the_samples_inside_it():
    [(_, samples)] = asked(end=3 * 3600, server="web2", percentile="p50")
    assert len(samples) == 3


def test_more_samples_than_allowed_are_refused():
    assert len(asked(limit=9 * 336)) == 9
    try:
        asked(limit=9 * 336 - 1)
    except RequestError as error:
        assert "more than 3023 samples" in str(error)
    else:
        raise AssertionError("not refused")


def test_signals_and_what_fills_up_do_not_answer_for_each_other():
    result = make_result(issued=INSTANT)
    assert len(asked(result=result)) == 9
    assert {labels["__name__"] for labels, _ in asked(result=result, name="forecast_cpu_pct")} == {
        "forecast_cpu_pct"}
    assert asked(result=result, outlook=None) == []
