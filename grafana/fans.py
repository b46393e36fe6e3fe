"""Actual values with a band of forecasts, and the limits of the risk drawn across them."""

from collections.abc import Callable

from grafana import panels, states

_LIMIT_COLOURS = (states.ORANGE, states.ORANGE, states.VERMILLION)
PERCENTILES = {"p90": "p90 (high)", "p50": "p50 (median)", "p10": "p10 (low)"}
_COLOURS = {"p90": states.PURPLE, "p50": states.BLUE, "p10": states.SKY}  # and drawn through, dashed and dotted


def limits(panel: panels.timeseries.Panel, signal: str) -> panels.timeseries.Panel:
    """Draws the signal's risk limits as lines, and keeps the lowest one in view."""
    values = panels.RISK_LIMITS[signal]
    return panels.marked(panel, *zip(values, _LIMIT_COLOURS, strict=True)).axis_soft_max(values[0] * 1.05)


def band(panel: panels.timeseries.Panel, expression: Callable[[str], str]) -> panels.timeseries.Panel:
    """Adds the queries of the percentiles, fills between p10 and p90 and draws p50 between them."""
    upper_half(panel, expression, low := PERCENTILES["p10"])
    panel.with_target(panels.query(expression("p10"), low, "D"))
    dots = panels.prop("custom.lineStyle", {"fill": "dot", "dash": [0, 6]})
    return panel.override_by_name(low, [panels.fixed(_COLOURS["p10"]), panels.prop("custom.lineWidth", 2), dots])


def upper_half(panel: panels.timeseries.Panel, expression: Callable[[str], str],
               low: str = PERCENTILES["p50"]) -> panels.timeseries.Panel:
    """Adds the queries of p90 and p50, which gauges have by default, and fills from p90 down to the series `low`."""
    high, middle = PERCENTILES["p90"], PERCENTILES["p50"]
    panel.with_target(panels.query(expression("p90"), high, "B"))
    panel.with_target(panels.query(expression("p50"), middle, "C"))
    panel.override_by_name(high, [panels.fixed(_COLOURS["p90"]), panels.prop("custom.lineWidth", 1),
                                  panels.prop("custom.fillBelowTo", low), panels.prop("custom.fillOpacity", 15)])
    dash = panels.prop("custom.lineStyle", {"fill": "dash", "dash": [10, 6]})
    return panel.override_by_name(middle, [panels.fixed(_COLOURS["p50"]), panels.prop("custom.lineWidth", 2), dash])
