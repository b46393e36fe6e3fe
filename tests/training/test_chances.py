"""Fitting chances of incidents: what was put into outcomes is found again, on groups that a network has not seen."""

from dataclasses import replace

import numpy as np
import pytest

from forecaster.risk.evidence import INPUTS
from forecaster.training import chances
from forecaster.training.chances import Examples, fit
from forecaster.training.dataset import DatasetError

pytestmark = pytest.mark.slow

GROUPS, SERVERS, INSTANTS = 10, 20, 40  # each group is one fleet, every server at every instant


def examples(seed: int = 1, common: float = 0.0) -> Examples:
    """Rows whose first input is the log odds of an incident within 30 minutes, and half a unit less than those within 8
    hours; ``common``: the chance of an instant that hits all its servers."""
    rng = np.random.default_rng(seed)
    rows = GROUPS * SERVERS * INSTANTS
    inputs = np.zeros((rows, INPUTS), np.float32)
    inputs[:, 0] = 2 * rng.normal(size=rows) - 2
    instant = np.arange(rows) // SERVERS
    hit = (rng.random(GROUPS * INSTANTS) < common)[instant]
    odds = np.stack([inputs[:, 0], inputs[:, 0] + 0.5], 1)
    outcome = (rng.random((rows, 1)) < 1 / (1 + np.exp(-odds))) | hit[:, None]
    calm = rng.random(rows) < 0.25
    outcome[calm] = rng.random((int(calm.sum()), 2)) < (0.001, 0.01)
    group, asked = np.arange(rows) // 800, np.ones(rows, bool)
    return Examples(inputs, outcome, outcome[:, 0] & False, calm, asked, group, np.arange(rows), instant)


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chances, "STEPS", 200)
        patch.setattr(chances, "ROWS", 256)
        yield


@pytest.fixture(scope="module")
def fitted():
    return fit(examples(), 3)


def test_the_chances_that_outcomes_were_drawn_with_are_found_again(fitted):
    made, _ = fitted
    new = examples(9)
    truth = 1 / (1 + np.exp(-np.stack([new.inputs[:, 0], new.inputs[:, 0] + 0.5], 1)))
    assert np.abs(made.calibrated(made.log_odds(new.inputs)) - truth).mean() < 0.03


def test_every_row_is_judged_by_the_network_that_did_not_see_its_group(fitted):
    made, unseen = fitted
    rows = examples()
    reached = ~rows.calm
    assert np.abs(unseen[reached].mean(0) - rows.outcome[reached].mean(0)).max() < 0.01, "calibrated on unseen groups"
    alone = np.stack([made.log_odds(rows.inputs[:800])[reached[:800]]])[0]
    assert not np.allclose(made.calibrated(alone), unseen[:800][reached[:800]]), "serving uses the mean of all networks"


def test_calm_rows_have_the_rate_of_calm_rows(fitted):
    made, unseen = fitted
    rows = examples()
    assert made.calm == pytest.approx(rows.outcome[rows.calm].mean(0), rel=0.1, abs=5e-4)
    assert (unseen[rows.calm] == made.calm).all()


def test_the_same_seed_gives_the_same_chances(fitted):
    again, _ = fit(examples(), 3)
    assert again.to_bytes("a" * 64) == fitted[0].to_bytes("a" * 64)


def test_servers_that_are_hit_together_are_less_separate_than_independent_ones(fitted):
    together, _ = fit(examples(common=0.3), 3)
    assert together.separate[1] < 0.6 <= fitted[0].separate[1]


def test_rows_without_incidents_are_refused_with_the_remedy():
    rows = examples()
    with pytest.raises(DatasetError, match="0 incidents within 30 minutes in 6[0-9]* rows .* at least 20: use more"):
        fit(replace(rows, outcome=rows.outcome & False), 3)
