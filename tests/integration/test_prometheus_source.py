"""The Prometheus source against a real Prometheus."""

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import numpy as np
import pytest

from forecaster.limits import Limits
from forecaster.readings import NoData, SourceNonsense, SourceRefused
from tests.prometheus_answers import T0
from tests.real_prometheus import stored

COUNT = 240  # samples of 15 s: one hour


def openmetrics() -> list[str]:
    """cpu of db1 and web1 rises by 0.001 per sample, web1 is gone after half an hour; mem only for db1."""
    lines = ["# TYPE cpu gauge"]
    for server, offset, count in (("db1", 0.1, COUNT), ("web1", 0.5, COUNT // 2)):
        series = f'cpu{{server="{server}",profile="{server[:-1]}",cpu="all"}}'
        lines += [f"{series} {offset + n / 1000} {T0 + 15 * n}" for n in range(count)]
    lines.append("# TYPE mem gauge")
    lines += [f'mem{{server="db1"}} {"NaN" if n % 2 else n} {T0 + 15 * n}' for n in range(COUNT)]
    lines.append("# TYPE moved gauge")
    for instance, first in (("a", 0), ("b", COUNT // 2)):  # a server whose series changes a label half way
        lines += [f'moved{{server="db1",profile="{instance}",instance="{instance}"}} {n} {T0 + 15 * n}'
                  for n in range(first, first + COUNT // 2)]
    return lines


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory) -> Iterator[str]:
    with stored(tmp_path_factory.mktemp("prometheus"), openmetrics(), "/prom") as url:
        yield url


@pytest.fixture(scope="module")
def small_prometheus(tmp_path_factory) -> Iterator[str]:
    """One that refuses to load more than 100 samples for a query."""
    with stored(tmp_path_factory.mktemp("small"), openmetrics(), "/prom", "--query.max-samples=100") as url:
        yield url


CPU = "100 * avg_over_time(cpu[$step])"


def test_latest_is_one_row_per_server_sorted_with_profiles_in_signal_units(prometheus, source):
    reading = source(prometheus, cpu_pct=CPU, mem_pct="mem").latest(T0 + 600)
    assert reading.servers == ("db1", "web1") and reading.profiles == ("db", "web")
    assert reading.instant == T0 + 600
    assert reading.values.dtype == np.float32 and reading.values.shape == (2, 2)
    np.testing.assert_allclose(reading.values[:, 0], [13.0, 53.0], rtol=1e-5)  # samples 20..40
    assert reading.values[0, 1] == 40 and np.isnan(reading.values[1, 1])


def test_nan_and_infinity_are_no_numbers(prometheus, source):
    reading = source(prometheus, mem="mem", inf="cpu / 0", big="cpu * 1e300").latest(T0 + 15)
    assert reading.servers == ("db1", "web1") and np.isnan(reading.values).all()


def test_a_signal_without_series_is_a_column_of_nan(prometheus, source):
    reading = source(prometheus, cpu=CPU, gone="no_such_metric").latest(T0 + 600)
    assert np.isfinite(reading.values[:, 0]).all() and np.isnan(reading.values[:, 1]).all()


def test_no_series_at_all_is_no_data_and_says_what_to_check(prometheus, source):
    asked = source(prometheus, cpu=CPU, mem="mem")
    with pytest.raises(NoData, match="no series at .* cpu, mem: check that it scrapes"):
        asked.latest(T0 - 3600)
    assert "no series" in asked.describe()["last_error"]


def test_a_missing_profile_label_is_the_default_profile(prometheus, source):
    assert source(prometheus, mem="mem").latest(T0).profiles == ("generic",)
    nameless = source(prometheus, {"profile_label": None}, cpu="cpu").latest(T0)
    assert nameless.profiles == ("generic", "generic")
    labels = {"server_label": "profile", "profile_label": "server"}
    reading = source(prometheus, labels, cpu="cpu").latest(T0)
    assert reading.servers == ("db", "web") and reading.profiles == ("db1", "web1")


TWICE = 'cpu or label_replace(cpu{server="db1"} / 2, "disk", "sda", "", "")'


@pytest.mark.parametrize(("ask", "told"), [
    (lambda s: s.latest(T0 + 600).values[None], "warnings"),
    (lambda s: s.range(T0 + 300, T0 + 600, 15).values, "history"),
])
def test_of_two_series_of_a_server_the_larger_counts_once_and_a_warning_names_both_and_the_remedy(
        prometheus, source, ask, told):
    asked = source(prometheus, cpu="cpu", io=TWICE)
    values = ask(asked)
    np.testing.assert_array_equal(values[..., 1], values[..., 0])
    described = asked.describe()
    (warning,) = described["signals"]["io"][told]
    for words in ("more than one series", "largest value counts", ": 1, for example 'db1' has", "'disk': 'sda'",
                  "max by (server, profile)"):
        assert words in warning
    assert described["signals"]["cpu"][told] == [] and described["last_error"] is None


@pytest.mark.parametrize("ask", [lambda s: s.latest(T0), lambda s: s.range(T0, T0 + 60, 15)])
def test_where_no_series_has_the_server_label_the_error_names_the_label(prometheus, source, ask):
    with pytest.raises(SourceNonsense, match="signal cpu: all series without the label 'server'.*server_label"):
        ask(source(prometheus, cpu="sum(cpu)"))


@pytest.mark.parametrize(("ask", "told"), [
    (lambda s: s.latest(T0 + 600).values[None], "warnings"),
    (lambda s: s.range(T0 + 300, T0 + 600, 15).values, "history"),
])
def test_one_series_without_the_server_label_costs_only_itself(prometheus, source, ask, told, caplog):
    asked = source(prometheus, cpu="cpu", odd='cpu or label_replace(sum(mem), "job", "new", "", "")')
    values = ask(asked)
    np.testing.assert_array_equal(values[..., 1], values[..., 0])
    (warning,) = asked.describe()["signals"]["odd"][told]
    assert warning.startswith("series without the label 'server' are left out") and "{'job': 'new'}" in warning
    ask(asked)
    assert caplog.text.count("without the label") == 1


@pytest.mark.parametrize(("query", "words"), [
    ("cpu * on(cpu) cpu", "HTTP 422 execution: .*many-to-many"), ("time()", "yields a scalar, expected a vector"),
    ("sum(cpu)", "without the label 'server'"),
])
def test_a_query_that_is_refused_or_cannot_be_used_costs_only_its_signal_and_is_logged_once(
        prometheus, source, query, words, caplog):
    asked = source(prometheus, bad=query, cpu="cpu", mem="mem")
    for _ in range(3):
        reading = asked.latest(T0 + 600)
    assert np.isnan(reading.values[:, 0]).all() and np.isfinite(reading.values[:, 1]).all()
    assert list(reading.failed) == ["bad"] and re.search(words, str(reading.failed["bad"]))
    described = asked.describe()
    assert re.search(words, described["signals"]["bad"]["error"]) and described["signals"]["cpu"]["error"] is None
    assert described["last_error"] is None and described["last_success"] is not None
    assert caplog.text.count("only this signal is not read") == 1


def test_a_range_that_is_refused_costs_only_its_signal_too(prometheus, source):
    asked = source(prometheus, bad="cpu * on(cpu) cpu", cpu="cpu")
    readings = asked.range(T0, T0 + 600, 15)
    assert np.isnan(readings.values[..., 0]).all() and np.isfinite(readings.values[..., 1]).all()
    assert list(readings.failed) == ["bad"] and "many-to-many" in asked.describe()["signals"]["bad"]["history"][0]


def test_a_range_that_is_too_large_for_prometheus_is_read_in_smaller_pieces_and_the_size_is_kept(
        prometheus, small_prometheus, source, monkeypatch):
    queries = {"cpu_pct": CPU, "mem": "mem"}
    whole = source(prometheus, **queries).range(T0, T0 + 3600, 15)
    asked, sent = source(small_prometheus, {"max_samples": 10**6}, **queries), []
    monkeypatch.setattr("forecaster.sources.prometheus.urlencode", lambda form: sent.append(form) or urlencode(form))
    readings = asked.range(T0, T0 + 3600, 15)
    np.testing.assert_array_equal(readings.values, whole.values)
    assert readings.servers == whole.servers and not readings.failed
    points = [round((float(form["end"]) - float(form["start"])) / 15) + 1 for form in sent if form["query"] == "mem"]
    assert points == [241, 120, 60, 60, 60, 60, 1], "in the size that works"
    assert asked.describe()["last_error"] is None
    sent.clear()
    asked.range(T0, T0 + 3600, 15)
    assert len([form for form in sent if form["query"] == "mem"]) == 5, "nothing is asked in vain again"


def test_a_query_that_is_too_large_even_for_one_point_costs_only_its_signal(small_prometheus, source):
    asked = source(small_prometheus, cpu="cpu", wide="avg_over_time(cpu[1h:1s])")
    readings = asked.range(T0 + 600, T0 + 1200, 15)
    assert np.isfinite(readings.values[..., 0]).all() and np.isnan(readings.values[..., 1]).all()
    words = "HTTP 422 execution: query processing would load too many samples into memory"
    assert words in str(readings.failed["wide"])
    assert words in str(asked.latest(T0 + 1200).failed["wide"]), "an instant query that is refused for size is told"


def test_a_query_prometheus_refuses_is_told_in_its_words(prometheus, source):
    asked = source(prometheus, bad="cpu +")
    words = r"signal bad: HTTP 400 bad_data: .*parse error.*the query was cpu \+"
    with pytest.raises(SourceRefused, match=words) as caught:
        asked.latest(T0)
    assert (caught.value.status, caught.value.error_type) == (400, "bad_data")
    assert "parse error" in caught.value.error and "parse error" in asked.describe()["last_error"]
    assert asked.describe()["last_success"] is None
    with pytest.raises(SourceRefused, match="HTTP 422 execution: .*many-to-many") as caught:
        source(prometheus, bad="cpu * on(cpu) cpu").latest(T0)
    assert caught.value.status == 422


def test_a_query_of_another_kind_is_nonsense(prometheus, source):
    with pytest.raises(SourceNonsense, match="signal cpu: the query yields a scalar, expected a vector"):
        source(prometheus, cpu="time()").latest(T0)
    with pytest.raises(SourceNonsense, match="yields a matrix, expected a vector"):
        source(prometheus, cpu="cpu[5m]").latest(T0)


def test_series_beyond_the_limit_are_left_out(prometheus, source):
    asked = source(prometheus, {"limits": Limits(series=1)}, cpu="cpu")
    assert len(asked.latest(T0).servers) == 1
    assert "limits.series" in asked.describe()["signals"]["cpu"]["warnings"][0]


def test_a_range_lies_on_the_grid_and_equals_the_instant_answers(prometheus, source):
    asked = source(prometheus, cpu_pct=CPU, mem="mem")
    readings = asked.range(T0 + 1201, T0 + 1306, 15)
    assert readings.instants.tolist() == [T0 + 1215 + 15 * n for n in range(7)]
    assert readings.instants.dtype == np.float64 and readings.values.dtype == np.float32
    assert readings.values.shape == (7, 2, 2) and readings.profiles == ("db", "web")
    for n, instant in enumerate(readings.instants):
        np.testing.assert_array_equal(readings.values[n], asked.latest(instant).values)


@pytest.mark.parametrize("max_samples", [10**6, 100, 7, 1])
def test_a_range_in_pieces_is_the_range_in_one(prometheus, source, max_samples):
    queries = {"cpu_pct": CPU, "mem": "mem"}
    whole = source(prometheus, **queries).range(T0, T0 + 900, 15)
    parts = source(prometheus, {"max_samples": max_samples}, **queries).range(T0, T0 + 900, 15)
    np.testing.assert_array_equal(parts.values, whole.values)
    assert parts.servers == whole.servers and parts.profiles == whole.profiles


def test_a_range_of_more_points_than_prometheus_allows_works(prometheus, source):
    readings = source(prometheus, {"max_samples": 10**9}, cpu="cpu").range(T0, T0 + 3600, 0.25)
    assert readings.values.shape == (14_401, 2, 1) and np.isfinite(readings.values[:, 0]).all()
    web = readings.values[:, 1, 0]
    assert np.isfinite(web[:7000]).all() and np.isnan(web[-1]), "web1 ended half way"


def test_a_range_without_data_has_no_servers(prometheus, source):
    readings = source(prometheus, cpu=CPU, mem="mem").range(T0 - 7200, T0 - 6900, 15)
    assert readings.servers == () and readings.values.shape == (21, 0, 2)


def test_series_that_follow_each_other_in_time_are_one_server_of_the_newest_profile(prometheus, source):
    half = COUNT // 2
    step = 15 * half + 300  # beyond the five minutes in which Prometheus still sees the old one
    readings = source(prometheus, moved="moved").range(T0 - T0 % step, T0 + 3 * step, step)
    assert readings.servers == ("db1",) and readings.profiles == ("b",)
    np.testing.assert_array_equal(np.isfinite(readings.values[:, 0, 0]),
                                  [T0 <= t < T0 + 15 * COUNT + 285 for t in readings.instants])


def test_describe_shows_queries_as_sent_and_the_last_success(prometheus, source):
    asked = source(prometheus, cpu_pct=CPU)
    asked.latest(T0)
    assert asked.describe() == {
        "kind": "prometheus", "url": prometheus, "last_success": 4711.0, "last_error": None,
        "clock": None, "clock_offset_seconds": None,
        "signals": {"cpu_pct": {"query": "100 * avg_over_time(cpu[300s])", "series": 2, "error": None, "warnings": [],
                                "history": [], "basis": {}}}}



