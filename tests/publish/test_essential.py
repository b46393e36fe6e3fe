"""The essential gauges (`publish.gauges`): few enough for large fleets, and all that is used elsewhere in the tree."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.gauges import FAMILIES
from forecaster.risk.recurring import Recurring
from forecaster.signals import HORIZON_STEPS
from grafana import queries as panel_queries
from stack.layout import ROOT
from tests.documents import DOCUMENTS
from tests.grafana_stack import load, panels
from tests.publish.test_gauges import names, samples_of, value
from tests.results import HORIZONS, WINDOWS, Clock, board_with, curves, make_result, page

FLEET = tuple(load_config("fleet").signals)
HOST = tuple(load_config("node_exporter").signals)
SCORED = ("cpu_pct", "mem_pct", "latency_ms")
LARGEST = 60  # series of one server
EVERY = {f"{5 * steps}m": steps for steps in range(1, HORIZON_STEPS + 1)}
SERVERS = {"warm": ("tft", 150), "warming": ("heuristic", 3), "stale": ("heuristic", 150),
           "lacking": ("tft", 150), "nightly": ("tft", 150)}


def shown(signals=FLEET, horizons=HORIZONS, windows=WINDOWS, scored=SCORED) -> dict:
    """The series of a warm, a warming and a stale server, of one that lacks the last signal, and of one of which every
    incident is expected."""
    method, samples = zip(*SERVERS.values(), strict=True)
    forecast, days = curves(len(SERVERS), len(signals)), np.zeros((len(SERVERS), 3), np.int64)
    forecast[3, -1], days[4] = np.nan, 7
    result = make_result(tuple(SERVERS), ("generic",) * len(SERVERS), signals, forecast=forecast, stale=["stale"],
                         method=method, samples=samples, horizons=horizons, windows=windows,
                         recurring=Recurring(days, days, days, ("95%", "95%", "200 ms")))
    return samples_of(page(ForecastCollector(board_with(result), horizons, windows, {}, Clock(), scored)))


def counted(samples: Iterable) -> Counter:
    """The series of each server."""
    return Counter(dict(labels)["server"] for _, labels in samples if "server" in dict(labels))


@pytest.mark.parametrize("scored", [SCORED, ("net_in_mb_s", "gc_pause_ms", "error_rate"), ("cpu_pct", "no_such", "x")])
@pytest.mark.parametrize("horizons", [HORIZONS, EVERY, {"5m": 1}, {"30m": 6}, {"10m": 2, "1h": 12, "4h": 48}], ids=list)
@pytest.mark.parametrize("windows", [WINDOWS, EVERY, {"30m": 6}], ids=list)
def test_eight_signals_have_at_most_60_series_a_server_whatever_is_configured(scored, horizons, windows):
    assert max(counted(shown(FLEET, horizons, windows, scored)).values()) <= LARGEST


def test_a_server_of_the_fleet_has_57_series_up_to_three_more_while_it_warms_up_or_has_an_incident_ahead():
    assert counted(shown()) == {"warm": 57, "warming": 59, "stale": 5, "lacking": 55, "nightly": 60}
    everything = {"warm": 193, "warming": 193, "stale": 5, "lacking": 172, "nightly": 196}
    assert counted(shown(scored=None)) == everything


def test_a_host_of_five_signals_has_42_series():
    assert counted(shown(HOST))["warm"] == 42
    assert counted(shown(HOST, scored=None))["warm"] == 127


def test_every_family_of_servers_is_counted():
    declared = {name.replace("<signal>", SCORED[0]) for name, labels in ((of.name, of.labels) for of in FAMILIES)
                if labels[:1] == ("server",)}
    assert declared <= {name for name, labels in shown() if "server" in dict(labels)}


def test_an_essential_series_has_the_name_labels_and_value_that_it_has_among_all():
    everything, essential = shown(scored=None), shown()
    assert essential.items() <= everything.items()


def test_what_is_said_of_the_whole_fleet_is_the_same():
    of_fleet = [{key: number for key, number in shown(scored=scored).items() if "server" not in dict(key[1])}
                for scored in (None, SCORED)]
    assert of_fleet[0] == of_fleet[1]
    assert {dict(labels).get("horizon") for _, labels in of_fleet[1]} >= set(HORIZONS)


def label_values(samples: dict, name: str, label: str) -> set[str]:
    return {dict(labels)[label] for found, labels in samples if found == name}


@pytest.mark.parametrize(("horizons", "expected"), [
    (HORIZONS, {"30m", "8h"}), ({"5m": 1, "1h": 12, "4h": 48}, {"1h", "4h"}), ({"5m": 1, "10m": 2}, {"10m"}),
    ({"25m": 5, "35m": 7}, {"35m"})])
def test_horizons_are_the_first_from_half_an_hour_on_and_the_longest(horizons, expected):
    samples = shown(horizons=horizons)
    assert label_values(samples, "forecast_cpu_pct", "horizon") == expected
    assert label_values(samples, "forecast_cpu_pct", "percentile") == {"p50", "p90"}
    assert label_values(samples, "forecast_disk_io_mb_s", "horizon") == {min(expected, key=horizons.get)}


def test_windows_of_largest_values_and_of_chances_are_the_first_from_half_an_hour_on_and_the_longest():
    samples = shown(windows={"5m": 1, "30m": 6, "1h": 12, "4h": 48})
    for name in ("forecast_cpu_pct_max", "forecast_incident_probability", "forecast_severe_probability"):
        assert label_values(samples, name, "window") == {"30m", "4h"}
    assert "forecast_disk_io_mb_s_max" not in names(samples)


def test_the_warm_up_is_shown_until_the_model_forecasts_a_server():
    samples = shown()
    assert value(samples, "forecast_warmup_samples", server="warming", profile="generic") == 3
    assert value(samples, "forecast_warmup_required_samples", server="warming", profile="generic") == 150
    assert label_values(samples, "forecast_warmup_samples", "server") == {"warming", "stale"}


# what is used elsewhere in the tree exists by default

_SELECTOR = re.compile(r"([a-z_0-9]*)\{([^{}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_CHOSEN = {"__name__", "percentile", "horizon", "window", "component", "priority", "method"}  # by the layout


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
    return found | bare & (names(everything) - names(samples))


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
    'max(forecast_${signal}{horizon="8h"})', '{__name__=~"forecast_(cpu|mem)_pct",horizon="1h"}',
    '`forecast_%s_max{%s,percentile="p10",window="30m"}`', "forecast_net_in_mb_s_max > 80"])
def test_what_is_not_there_by_default_is_found(text, both):
    assert missing(text, *both)


def test_what_is_there_and_curves_are_not_complained_of(both):
    assert missing('forecast_cpu_pct{percentile="p90"} or forecast_x{percentile="p10",source="curve"}', *both) == set()
