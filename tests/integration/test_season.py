"""A season of misfortune in fast motion: real forecasters, Prometheus, Alertmanager and the pager, 40 incidents, every
kind of fault. An observer holds what the pager said against what was so. See tests/season."""

import pytest

from tests.season.__main__ import run
from tests.season.faults import KINDS

SEED, INCIDENTS = 14, 40


@pytest.mark.timeout(400)
def test_a_season_of_misfortune_brings_no_false_all_clear_no_false_page_and_no_silence(tmp_path):
    season, player = run(tmp_path, SEED, INCIDENTS)
    chronicle = "\n".join(player.lines)
    wrong = season.wrong()
    assert not wrong, "\n".join([*wrong, f"\nThe chronicle, also in {tmp_path}/chronicle.txt:", chronicle])
    assert {fault.kind.name for fault in player.plan.faults} == set(KINDS), "a kind of fault was not played"
    assert season.incidents() == INCIDENTS, chronicle
    assert season.announced() == INCIDENTS, chronicle
