"""How early P1 rings is measured from half an hour before incidents of simulated fleets."""

import numpy as np
import pytest

from exporter.profiles import load_fleet
from forecaster.config import load_config
from forecaster.evaluation import leads
from forecaster.evaluation.backtest import Forecaster
from forecaster.risk.conditions import Condition
from forecaster.training.dataset import DAY, History
from forecaster.training.simulation import scheduled, simulate_fleet

CPU = {"cpu": Condition(signal="cpu_pct", above=95)}


def test_the_lead_is_counted_from_the_first_alarm_on():
    raised = np.zeros((4, leads.INSTANTS), bool)
    raised[0, 2], raised[1, -2:], raised[2, -1] = True, True, True
    found = leads.judge(raised)
    assert found == {"events": 4, "announced": 0.5, "lead_minutes": (20 + 5) / 4}


def test_incidents_begin_where_none_was_on_for_half_an_hour():
    values = np.full((400, 1, 1), 10, np.float32)
    values[[5, 100, 103, 200]] = 99
    history = History(0.0, 300.0, ("cpu_pct",), ("a",), ("x",), values)
    assert leads.begins(history, 1, CPU, 10) == [(0, 100), (0, 200)]


@pytest.mark.slow
def test_the_oracle_rings_before_a_forecaster_that_only_sees_the_limit():
    config = load_config("fleet")
    start = 20_000 * DAY
    small = load_fleet().model_copy(update={"seed": 5, "servers": {"database": 2, "web_api": 2}})
    fleet = scheduled(small, start, 2.0, None, seed=5)
    fleet.set_scenario("critical", start + 1.3 * DAY)
    history = simulate_fleet(fleet, start, 1.6, config.step)
    conditions = config.risk.conditions(config.signals)
    events = leads.gather(fleet, history, 5, conditions, 288, 2, 20, seed=1)
    assert events is not None and events.chance.shape == (1, leads.INSTANTS)
    assert len(events.windows) == events.chance.size and events.chance[0, -1] > 0.5 > events.chance[0, 0]
    heuristic = Forecaster("heuristic", config.signals, "heuristic", config)
    found = leads.compare([heuristic], [events], 0.8)
    assert list(found) == ["oracle", "heuristic"] and found["oracle"]["events"] == 1
    assert found["oracle"]["lead_minutes"] >= found["heuristic"]["lead_minutes"] == 0
