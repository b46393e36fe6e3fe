"""What must hold of a dashboard's JSON so that Grafana shows no all-clear without data, and everything can be read.

Each check yields one line for each fault. What is said here of Grafana holds for versions 10 to 12.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from grafana.states import UNKNOWN
from tests.grafana_stack import panels

TILES = {"stat", "bargauge", "gauge"}
OVER_TIME = {"timeseries", "heatmap", "state-timeline", "status-history"}
# the icons that Grafana has for links of dashboards
ICONS = {"external link", "dashboard", "question", "info", "bolt", "doc", "cloud"}
CONTRAST = 4.5
MENU, PAGE, SCROLLBAR, GAP, PADDING = 300, 32, 18, 8, 18  # px: docked menu, both margins of the page, of a panel
_DARK, _LIGHT = "#202226", "#f7f8fa"


def linear(colour: str) -> list[float]:
    """Red, green and blue of #rrggbb as shares of light, 0 to 1."""
    parts = (int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5))
    return [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it, 0 to 1."""
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))


def contrast(ground: str) -> float:
    """Contrast of a ground with the text that Grafana writes on it: dark where its brightness is above 180."""
    red, green, blue = (int(ground[at:at + 2], 16) for at in (1, 3, 5))
    text = _DARK if (299 * red + 587 * green + 114 * blue) / 1000 > 180 else _LIGHT
    dark, light = sorted(map(luminance, (ground, text)))
    return (light + 0.05) / (dark + 0.05)


def inner_width(columns: int, screen: int = 1600, beside: int = MENU + SCROLLBAR) -> int:
    """px inside a panel that is so many of the grid's 24 columns wide; a phone has nothing `beside` the page."""
    grid = screen - beside - PAGE
    return int((grid - 23 * GAP) / 24 * columns + (columns - 1) * GAP) - PADDING


def faults(dashboard: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong, with the panel's title."""
    found = [f"{panel['title']}: {fault}" for panel in panels(dashboard)
             for check in (_tile, _table, _grounds, _course) for fault in check(panel, dashboard)]
    return [*found, *_board(dashboard)]


def _properties(panel: Mapping, name: str) -> dict[str, Any]:
    """Heading or series -> a property that overrides give it."""
    return {override["matcher"]["options"]: one["value"] for override in panel["fieldConfig"]["overrides"]
            for one in override["properties"] if one["id"] == name}


def _tile(panel: Mapping, dashboard: Mapping) -> Iterator[str]:
    if panel["type"] not in TILES:
        return
    defaults, options = panel["fieldConfig"]["defaults"], panel["options"]
    base, *steps = defaults["thresholds"]["steps"]
    # Grafana takes no value for minus infinity, so it has the colour of the first step
    if base["value"] is not None or base["color"] != UNKNOWN:
        yield f"no value has the colour {base['color']}, not grey"
    if not steps or steps[0]["value"] > -1e6:
        yield "values below all steps would be grey"
    if not defaults.get("noValue"):
        yield "nothing is written where there is no value"
    yield from _instant(panel)
    wanted = {"stat": {"colorMode": "background_solid", "graphMode": "none"}, "bargauge": {"valueMode": "text"}}
    for option, value in wanted.get(panel["type"], {}).items():
        if options[option] != value:
            yield f"{option} is {options[option]}, not {value}"


def _instant(panel: Mapping) -> Iterator[str]:
    for target in panel["targets"]:
        if not target.get("instant") or target.get("range"):
            yield f"query {target['refId']} asks for a range: its last value may be old"


def _table(panel: Mapping, dashboard: Mapping) -> Iterator[str]:
    if panel["type"] != "table":
        return
    yield from _instant(panel)
    headings = panel["transformations"][-1]["options"]["renameByName"].values()
    widths, room = _properties(panel, "custom.width"), inner_width(panel["gridPos"]["w"])
    yield from (f"column {heading} has no width" for heading in headings if heading not in widths)
    if sum(widths.values()) > room:
        yield f"columns are {sum(widths.values())} px wide, there are {room}"


def _grounds(panel: Mapping, dashboard: Mapping) -> Iterator[str]:
    """Colours that text is written on; the panel's own ground, which is transparent, is Grafana's."""
    config = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
    cells = _properties(panel, "custom.cellOptions") if panel["type"] == "table" else {}
    parts = [config["defaults"]] if panel["type"] == "stat" and panel["options"]["textMode"] != "none" else []
    parts += [{one["id"]: one["value"] for one in override["properties"]} for override in config["overrides"]
              if override["matcher"]["options"] in cells]
    for part in parts:
        colours = [step["color"] for step in part.get("thresholds", {}).get("steps", ())]
        for mapping in part.get("mappings", ()):
            results = [mapping["options"]["result"]] if mapping["type"] == "range" else mapping["options"].values()
            colours += [result["color"] for result in results if "color" in result]
        for colour in colours:
            if colour != "transparent" and contrast(colour) < CONTRAST:
                yield f"text on {colour} has a contrast of {contrast(colour):.1f}"


def _course(panel: Mapping, dashboard: Mapping) -> Iterator[str]:
    if panel["type"] not in OVER_TIME:
        return
    if len(panel["targets"]) > 1 and "noValue" in panel["fieldConfig"]["defaults"]:
        yield "its tooltip says at every point what is written in place of an empty chart"
    ahead = any(re.search(r'source="curve"', target["expr"]) for target in panel["targets"])
    if "+" in dashboard["time"]["to"] and not ahead and not panel.get("timeFrom"):
        yield "shows the past on an axis that is half future"


def _board(dashboard: Mapping) -> Iterator[str]:
    titles = sorted(panel["title"] for panel in panels(dashboard))
    yield from (f"two panels are called {one}" for one, other in pairwise(titles) if one == other)
    asked = sorted(target["expr"] for panel in panels(dashboard) for target in panel.get("targets", ())
                   if target.get("instant"))
    yield from (f"asked twice: {one}" for one, other in pairwise(asked) if one == other)
    yield from (f"annotation {one['name']} has a switch" for one in dashboard["annotations"]["list"]
                if not one.get("hide"))
    yield from (f"link {one['title']}: Grafana has no icon {one['icon']}" for one in dashboard["links"]
                if one["icon"] not in ICONS)
