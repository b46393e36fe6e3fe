"""The essential gauges (`publish.gauges`): few enough for large fleets, and all that is used elsewhere in the tree."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.gauges import FAMILIES
from forecaster.risk.conditions import Condition
from forecaster.signals import HORIZON_STEPS
from grafana import queries as panel_queries
from stack.layout import ROOT
from tests.documents import DOCUMENTS
from tests.grafana_stack import load, panels
from tests.publish.test_gauges import names, samples_of, value
from tests.results import HORIZONS, WINDOWS, Clock, board_with, curves, incidents_of, make_result, page

FLEET = tuple(load_config("fleet").signals)
SCORED = ("cpu_pct", "mem_pct", "latency_ms")
LARGEST = 60  # series of one server
ONLY_OF_ALL = {"forecast_incident_begin_chance"}  # families with `publish.gauges: all` alone
EVERY = {f"{5 * steps}m": steps for steps in range(1, HORIZON_STEPS + 1)}
SERVERS = {"warm": ("tft", 150), "warming": ("heuristic", 3), "stale": ("heuristic", 150),
           "lacking": ("tft", 150), "nightly": ("tft", 150), "failing": ("tft", 150)}
CONDITIONS = {name: Condition(signal=signal, above=95) for name, signal in
              (("cpu_saturated", "cpu_pct"), ("memory_exhausted", "mem_pct"), ("latency_high", "latency_ms"))}
UNKNOWN = (float("nan"), float("nan"))


def shown(signals=FLEET, horizons=HORIZONS, windows=WINDOWS, scored=SCORED, conditions=CONDITIONS) -> dict:
    """The series of a warm, a warming and a stale server, of one that lacks the last signal, of one of which every
    incident is expected and of one of which every incident is on, both as on the days before."""
    method, samples = zip(*SERVERS.values(), strict=True)
    forecast = curves(len(SERVERS), len(signals))
    forecast[3, -1] = np.nan
    every = range(len(conditions))
    incidents = incidents_of(len(SERVERS), on=[(5, i) for i in every], chance={(1, i): UNKNOWN for i in every},
                             begins={(server, i): 3600 for server in (4, 5) for i in every}, recurring=(7, 7),
                             conditions=conditions)
    result = make_result(tuple(SERVERS), ("generic",) * len(SERVERS), signals, forecast=forecast, stale=["stale"],
                         method=method, samples=samples, horizons=horizons, windows=windows, incidents=incidents)
    return samples_of(page(ForecastCollector(board_with(result), horizons, windows, {}, Clock(), scored)))


def counted(samples: Iterable) -> Counter:
    """The series of each server."""
    return Counter(dict(labels)["server"] for _, labels in samples if "server" in dict(labels))


@pytest.mark.parametrize("scored", [SCORED, ("net_in_mb_s", "gc_pause_ms", "error_rate"), ("cpu_pct", "no_such", "x")])
@pytest.mark.parametrize("horizons", [HORIZONS, EVERY, {"5m": 1}, {"30m": 6}, {"10m": 2, "1h": 12, "4h": 48}], ids=list)
@pytest.mark.parametrize("windows", [WINDOWS, EVERY, {"30m": 6}], ids=list)
def test_eight_signals_have_at_most_60_series_a_server_whatever_is_configured(scored, horizons, windows):
    assert max(counted(shown(FLEET, horizons, windows, scored)).values()) <= LARGEST


def test_a_server_of_the_fleet_has_54_series_and_60_while_all_its_incidents_are_on_or_expected():
    assert counted(shown()) == {"warm": 54, "warming": 48, "stale": 5, "lacking": 52, "nightly": 60, "failing": 60}
    everything = {"warm": 206, "warming": 192, "stale": 5, "lacking": 185, "nightly": 212, "failing": 206}
    assert counted(shown(scored=None)) == everything


def test_a_further_signal_adds_three_series_and_a_further_incident_two_to_four():
    added = counted(shown((*FLEET, "swap_pct")))
    added.subtract(counted(shown()))
    assert {added[name] for name in ("warm", "nightly", "failing")} == {3}
    added = counted(shown(conditions=CONDITIONS | {"disk_busy": Condition(signal="disk_io_mb_s", above=400)}))
    added.subtract(counted(shown()))
    assert (added["warm"], added["nightly"], added["failing"]) == (2, 4, 4)


def test_every_family_of_servers_is_counted():
    declared = {name.replace("<signal>", SCORED[0]) for name, labels in ((of.name, of.labels) for of in FAMILIES)
                if labels[:1] == ("server",)}
    counted_of = {name for name, labels in shown() if "server" in dict(labels)}
    assert declared - counted_of == ONLY_OF_ALL


def test_an_essential_series_has_the_name_labels_and_value_that_it_has_among_all():
    everything, essential = shown(scored=None), shown()
    assert essential.items() <= everything.items()
    assert names(everything) - names(essential) >= ONLY_OF_ALL


def test_what_is_said_of_the_whole_fleet_is_the_same():
    of_fleet = [{key: number for key, number in shown(scored=scored).items() if "server" not in dict(key[1])}
                for scored in (None, SCORED)]
    assert of_fleet[0] == of_fleet[1]
    assert {dict(labels).get("horizon") for _, labels in of_fleet[1]} >= set(HORIZONS)


def label_values(samples: dict, name: str, label: str) -> set[str]:
    return {dict(labels)[label] for found, labels in samples if found == name}


@pytest.mark.parametrize(("horizons", "expected"), [
    (HORIZONS, "30m"), ({"5m": 1, "1h": 12, "4h": 48}, "1h"), ({"5m": 1, "10m": 2}, "10m"),
    ({"25m": 5, "35m": 7}, "35m")])
def test_the_horizon_is_the_first_from_half_an_hour_on_or_the_longest(horizons, expected):
    samples = shown(horizons=horizons)
    for signal in FLEET:
        assert label_values(samples, f"forecast_{signal}", "horizon") == {expected}
        assert label_values(samples, f"forecast_{signal}", "percentile") == {"p50", "p90"}


def test_windows_of_largest_values_and_probabilities_are_the_first_from_half_an_hour_on_and_the_longest():
    samples = shown(windows={"5m": 1, "30m": 6, "1h": 12, "4h": 48})
    for name in ("forecast_cpu_pct_max", "forecast_incident_probability", "forecast_severe_probability"):
        assert label_values(samples, name, "window") == {"30m", "4h"}
    largest = {(dict(labels)["percentile"], dict(labels)["window"])
               for name, labels in samples if name == "forecast_cpu_pct_max"}
    assert largest == {("p90", "30m"), ("p90", "4h"), ("p50", "4h")}
    assert "forecast_disk_io_mb_s_max" not in names(samples)


def test_windows_of_the_chances_of_incidents_are_30_minutes_and_8_hours_whatever_is_configured():
    assert label_values(shown(windows={"30m": 6, "1h": 12}), "forecast_incident_chance", "window") == {"30m", "8h"}


def test_the_warm_up_is_shown_until_the_model_forecasts_a_server():
    samples = shown()
    assert value(samples, "forecast_warmup_samples", server="warming", profile="generic") == 3
    assert value(samples, "forecast_warmup_required_samples", server="warming", profile="generic") == 150
    assert label_values(samples, "forecast_warmup_samples", "server") == {"warming", "stale"}


# what is used elsewhere in the tree exists by default

_SELECTOR = re.compile(r"([a-z_0-9]*)\{([^{}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
# labels whose values the layout chooses
_CHOSEN = {"__name__", "percentile", "horizon", "window", "component", "priority", "method", "incident"}


def used() -> Iterator[tuple[str, str]]:
    """(where, text) of every query of a dashboard, every rule with its annotations, and every document and example."""
    for file in sorted((ROOT / "grafana" / "dashboards").glob("*.json")):
        yield file.name, "\n".join(target["expr"] for panel in panels(load(file.name))
                                   for target in panel.get("targets", ()))
    for file in [*sorted((ROOT / "prometheus" / "rules").glob("*.yml")), ROOT / "examples" / "metrics.txt",
                 ROOT / "stack" / "ready.py"]:
        yield file.name, file.read_text()
    yield from ((name, text) for name, text in DOCUMENTS.items() if name != "CHANGELOG.md")


def filled(text: str) -> str:
    """The text once for each choice of a signal and a horizon, in place of the variables of dashboards and rules."""
    largest = [f"{signal}_max" for signal in SCORED]
    for variable, choices in (("$horizon", panel_queries.HORIZONS), ("${signal}", panel_queries.SIGNALS),
                              ("%s_max", largest), ("observed_%s", ["observed_cpu_pct"])):
        text = "\n".join({text.replace(variable, choice) for choice in choices})
    return text


def missing(text: str, samples: dict, everything: dict) -> set[str]:
    """The selectors in the text that select among all series and not among `samples`; curves are no gauges."""
    text, found = filled(text), set()
    for name, inside in set(_SELECTOR.findall(text)):
        matchers = _MATCHER.findall(inside)
        if ("source", "=", "curve") not in matchers:
            chosen = [one for one in matchers if one[0] in _CHOSEN] + [("__name__", "=", name)] * bool(name)
            if selects(chosen, everything) and not selects(chosen, samples):
                found.add(f"{name}{{{inside}}}")
    bare = set(re.findall(r"\w+(?!\w|\{)", text))
    said = ONLY_OF_ALL if "publish.gauges" in text else set()
    return found | bare & (names(everything) - names(samples) - said)


def selects(matchers: list[tuple[str, str, str]], samples: dict) -> bool:
    """Whether a series has labels that all matchers accept."""
    if not matchers:
        return True
    accepts = {"=": str.__eq__, "!=": str.__ne__, "=~": lambda of, pattern: re.fullmatch(pattern, of) is not None,
               "!~": lambda of, pattern: re.fullmatch(pattern, of) is None}
    return any(all(accepts[sign](({"__name__": name} | dict(labels)).get(label, ""), given)
                   for label, sign, given in matchers) for name, labels in samples)


@pytest.fixture(scope="module")
def both() -> tuple[dict, dict]:
    """The essential series and all of them."""
    return shown(), shown(scored=None)


@pytest.mark.parametrize(("where", "text"), [pytest.param(*one, id=one[0]) for one in used()])
def test_what_dashboards_rules_and_documents_ask_for_is_there_by_default(where, text, both):
    assert missing(text, *both) == set()


@pytest.mark.parametrize("text", [
    'forecast_cpu_pct{server="a",percentile="p10",horizon="30m"}', 'forecast_cpu_pct{horizon="$horizon"}',
    'max(forecast_${signal}{horizon="8h"})', "forecast_incident_begin_chance > 0.5",
    'forecast_cpu_pct_max{percentile="p50",window="30m"}', '{__name__=~"forecast_(cpu|mem)_pct",horizon="1h"}',
    '`forecast_%s_max{%s,percentile="p10",window="30m"}`', "forecast_net_in_mb_s_max > 80"])
def test_what_is_not_there_by_default_is_found(text, both):
    assert missing(text, *both)


def test_what_is_there_and_curves_are_not_complained_of(both):
    assert missing('forecast_cpu_pct{percentile="p90"} or forecast_x{percentile="p10",source="curve"}', *both) == set()
