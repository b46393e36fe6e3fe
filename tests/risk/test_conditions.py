"""Settings of incidents: a condition on a signal, for how long, how urgent, and for whom."""

import numpy as np
import pytest
from pydantic import ValidationError

from forecaster.risk.conditions import Condition
from forecaster.risk.thresholds import INCIDENTS, ROLES, RiskConfig
from forecaster.signals import Signal
from serving.settings import SettingsError, load

CPU = {"signal": "cpu_pct", "above": 95}
PERCENT, MILLISECONDS = Signal(query="a", unit="percent"), Signal(query="b", unit="milliseconds")


def test_a_condition_is_above_or_below_a_limit_and_below_is_above_of_the_negated_signal():
    above, below = Condition(**CPU), Condition(signal="free_pct", below=5)
    assert (above.sign, above.limit, below.sign, below.limit) == (1, 95.0, -1, -5.0)


@pytest.mark.parametrize(("given", "steps"), [("5m", 1), ("15m", 3), ("7m", 2), ("1s", 1), ("8h", 96), (900, 3)])
def test_for_counts_in_whole_steps_of_five_minutes(given, steps):
    assert Condition.model_validate(CPU | {"for": given}).steps == steps


def test_what_is_not_given_is_one_step_of_p1_for_every_server():
    one = Condition(**CPU)
    assert (one.steps, one.severity, one.alone) == (1, "P1", None)
    assert one.meant(("a", "b"), ("web", "db")).tolist() == [True, True]


@pytest.mark.parametrize(("settings", "message"), [
    ({"signal": "cpu_pct"}, "no limit, or two; expected one of above and below"),
    (CPU | {"below": 5}, "no limit, or two; expected one of above and below"),
    (CPU | {"above": float("nan")}, "finite number"),
    (CPU | {"for": "0s"}, "expected a duration such as"),
    (CPU | {"for": "8h5m"}, "expected at most 8h, the horizon of the forecasts"),
    (CPU | {"lasting": "5m"}, "lasting"),
    (CPU | {"severity": "P4"}, "'P1', 'P2' or 'P3'"),
    (CPU | {"severity": "P2", "alone": "P1"}, r"expected at most severity \(P2\): lower alone or raise severity"),
    (CPU | {"servers": "web["}, r"not a regular expression of RE2 \(missing \]: \[\): correct it"),
    (CPU | {"profiles": "(?<=a)b"}, "not a regular expression of RE2 .*correct it"),
])
def test_what_a_condition_cannot_be_is_refused_with_what_was_expected(settings, message):
    with pytest.raises(ValidationError, match=message):
        Condition.model_validate(settings)


@pytest.mark.parametrize(("severity", "alone"), [("P1", "P1"), ("P1", "P3"), ("P2", "P2"), ("P3", "P3"), ("P2", None)])
def test_alone_is_at_most_severity(severity, alone):
    assert Condition.model_validate(CPU | {"severity": severity, "alone": alone}).alone == alone


def test_matchers_read_whole_names_as_in_promql_and_both_must_match():
    servers, profiles = ("web1", "web12", "db1", "xweb1"), ("web", "db", "web", "web")
    one = Condition(**CPU, servers="web.|db1", profiles="web")
    assert one.meant(servers, profiles).tolist() == [True, False, True, False]
    assert one.meant((), ()).tolist() == []
    assert Condition(**CPU, servers="").meant(servers, profiles).sum() == 0


def test_a_file_names_the_key_and_the_value_of_a_wrong_incident(tmp_path):
    path = tmp_path / "risk.yml"
    path.write_text("incidents: {hot: {signal: cpu_pct, above: 95, for: soon}}")
    with pytest.raises(SettingsError, match=r"incidents\.hot\.for: got 'soon'; expected a duration"):
        load(RiskConfig, path)
    path.write_text("incidents: {hot: {signal: cpu_pct, above: 95, sevrity: P2}}")
    with pytest.raises(SettingsError, match=r"incidents\.hot\.sevrity: .*severity"):
        load(RiskConfig, path)


@pytest.mark.parametrize("name", ["Hot", "too-hot", "1st", "", 'a"b', "cpu"])
def test_names_of_incidents_are_values_of_a_label_that_need_no_quotes(name):
    with pytest.raises(ValidationError, match="expected lower case letters with digits and _, and no name of a"):
        RiskConfig.model_validate({"incidents": {name: CPU}})


def test_without_incidents_those_of_the_roles_stand_whose_signals_are_configured():
    made = RiskConfig().conditions(("cpu_pct", "mem_pct", "latency_ms", "disk_io_mb_s"))
    assert {name: (one.signal, one.above, one.steps) for name, one in made.items()} == {
        "cpu_saturated": ("cpu_pct", 95, 1), "memory_exhausted": ("mem_pct", 95, 1),
        "latency_high": ("latency_ms", 200, 1)}
    assert [*RiskConfig().conditions(("latency_ms", "other"))] == ["latency_high"]
    assert tuple(INCIDENTS) == ROLES[:3], "in the order of the score's components"


def test_severe_still_moves_their_limits_and_roles_their_signals():
    config = RiskConfig.model_validate({"severe": {"cpu": 80}, "roles": {"cpu": "load_pct"}})
    made = config.conditions(("load_pct", "mem_pct"))
    assert (made["cpu_saturated"].signal, made["cpu_saturated"].above) == ("load_pct", 80)
    assert made["memory_exhausted"].above == 95


def test_configured_incidents_replace_them_and_none_at_all_is_none():
    assert [*RiskConfig.model_validate({"incidents": {"hot": CPU}}).conditions(("cpu_pct", "mem_pct"))] == ["hot"]
    assert RiskConfig(incidents={}).conditions(("cpu_pct",)) == {}


def test_an_incident_of_a_signal_that_is_not_configured_is_refused():
    config = RiskConfig.model_validate({"incidents": {"hot": CPU}})
    config.check({"cpu_pct": PERCENT})
    with pytest.raises(ValueError, match=r"incidents.hot.signal is 'cpu_pct', which is not a signal of this file; "
                                         r"expected one of mem_pct, rtt: correct it, or remove the incident"):
        config.check({"mem_pct": PERCENT, "rtt": MILLISECONDS})


def test_names_are_matched_anew_when_servers_come():
    one = Condition(**CPU, servers="web.*")
    np.testing.assert_array_equal(one.meant(("web1",), ("a",)), [True])
    np.testing.assert_array_equal(one.meant(("web1", "db1"), ("a", "a")), [True, False])
