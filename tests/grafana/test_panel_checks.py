"""The committed dashboards have none of the faults that the checks know, and each check finds its own."""

import copy
import itertools
import math
from collections.abc import Callable

import pytest

from grafana import render, states
from tests.grafana.panel_checks import CONTRAST, contrast, faults, inner_width, linear
from tests.grafana_stack import load, panels


@pytest.mark.parametrize("name", sorted(render.DASHBOARDS))
def test_a_dashboard_has_no_fault(name: str):
    assert faults(load(name)) == []


def named(dashboard: dict, title: str) -> dict:
    (found,) = (panel for panel in panels(dashboard) if panel["title"] == title)
    return found


def _override(dashboard: dict, title: str, heading: str) -> dict:
    return next(one for one in named(dashboard, title)["fieldConfig"]["overrides"]
                if one["matcher"]["options"] == heading)


def _steps(dashboard: dict) -> list[dict]:
    return named(dashboard, "Alert chain")["fieldConfig"]["defaults"]["thresholds"]["steps"]


BREAKS: dict[str, Callable[[dict], object]] = {
    "no value has the colour #007A59, not grey": lambda made: _steps(made)[0].update(color=states.GOOD),
    "values below all steps would be grey": lambda made: _steps(made).pop(1),
    "nothing is written": lambda made: named(made, "Forecast age")["fieldConfig"]["defaults"].pop("noValue"),
    "query A asks for a range": lambda made: named(made, "Risk map")["targets"][0].update(instant=False, range=True),
    "Firing alerts: query A asks": lambda made: named(made, "Firing alerts")["targets"][0].update(instant=False),
    "colorMode is background, not": lambda made: named(made, "Alert chain")["options"].update(colorMode="background"),
    "column Server has no width": lambda made: _override(made, "Active alerts", "Server")["properties"].pop(0),
    "columns are 1": lambda made: _override(made, "Active alerts", "Why")["properties"][0].update(value=500),
    "text on #009E73": lambda made: named(made, "State of the fleet")["fieldConfig"]["defaults"]["mappings"][0]
                                    ["options"]["0"].update(color=states.GREEN),
    "axis that is half future": lambda made: named(made, "Weighted probability").pop("timeFrom"),
    "its tooltip says": lambda made: named(made, "Servers above a limit")["fieldConfig"]["defaults"].update(
        noValue="none"),
    "two panels are called Risk map": lambda made: named(made, "Alert chain").update(title="Risk map"),
    "asked twice: ": lambda made: named(made, "Alert chain")["targets"].append(named(made, "Risk map")["targets"][0]),
    "annotation Now has a switch": lambda made: made["annotations"]["list"][-1].update(hide=False),
    "Grafana has no icon clock-nine": lambda made: made["links"][0].update(icon="clock-nine"),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_fault_is_found(fault: str):
    made = copy.deepcopy(load("overview.json"))
    BREAKS[fault](made)
    assert any(fault in one for one in faults(made))


def test_a_phone_shows_state_server_chance_and_when_of_the_active_alerts():
    table = named(load("overview.json"), "Active alerts")
    places, headings = (table["transformations"][-1]["options"][part] for part in ("indexByName", "renameByName"))
    order = [headings[field] for field in sorted(places, key=places.get)]
    assert order[:4] == ["State", "Server", "8 h", "From"]
    widths = [_override(load("overview.json"), "Active alerts", heading)["properties"][0]["value"]
              for heading in order[:4]]
    assert sum(widths) <= inner_width(24, screen=375, beside=0)


# What is seen without the cones for red, for green (Machado, Oliveira and Fernandes 2009, severity 1.0), and with all.
SEEN = {"protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
        "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
        "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1))}
XYZ = ((0.434, 0.376, 0.190), (0.213, 0.715, 0.072), (0.018, 0.109, 0.873))  # of sRGB, relative to D65 white


def lab(colour: str, eyes: str) -> tuple[float, float, float]:
    """CIELAB of a colour as these eyes see it."""
    seen = linear(colour)
    for matrix in (SEEN[eyes], XYZ):
        seen = [sum(weight * part for weight, part in zip(row, seen, strict=True)) for row in matrix]
    x, y, z = (max(part, 0) ** (1 / 3) for part in seen)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("eyes", SEEN)
def test_the_grounds_of_states_differ_also_for_who_is_colour_blind(eyes: str):
    grounds = [lab(colour, eyes) for _, colour in states.STATE.values()]
    assert min(math.dist(*pair) for pair in itertools.combinations(grounds, 2)) > 14  # BLIND is not taken for SAFE


def test_every_state_has_a_word_and_a_ground_of_its_own_that_can_be_read():
    words, colours = zip(*states.STATE.values(), strict=True)
    assert len(set(words)) == len(set(colours)) == 6
    assert min(map(contrast, colours)) >= CONTRAST
    assert states.STATE[-1] == ("BLIND", states.UNKNOWN)
