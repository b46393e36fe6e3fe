"""Actual values with a band of forecasts, and the limits of the risk drawn across them."""

from collections.abc import Callable

from grafana import panels

_LIMIT_COLOURS = {2: (panels.ORANGE, panels.VERMILLION), 3: (panels.SKY, panels.ORANGE, panels.VERMILLION)}
PERCENTILES = {"p90": "p90 (high)", "p50": "p50 (most likely)", "p10": "p10 (low)"}


def limits(panel: panels.timeseries.Panel, signal: str) -> panels.timeseries.Panel:
    """Draws the signal's risk limits as lines, and keeps the lowest one in view."""
    values = panels.RISK_LIMITS[signal]
    colours = _LIMIT_COLOURS[len(values)]
    return panels.marked(panel, *zip(values, colours, strict=True)).axis_soft_max(values[0] * 1.05)


def band(panel: panels.timeseries.Panel, expression: Callable[[str], str], colour: str) -> panels.timeseries.Panel:
    """Adds the queries of the percentiles, fills between p10 and p90 and draws p50 between them."""
    edge = [panels.fixed(colour), panels.prop("custom.lineWidth", 1), panels.prop("custom.fillOpacity", 0)]
    upper_half(panel, expression, colour, low := PERCENTILES["p10"])
    panel.with_target(panels.query(expression("p10"), low, "D"))
    return panel.override_by_name(low, edge)


def upper_half(panel: panels.timeseries.Panel, expression: Callable[[str], str], colour: str,
               low: str = PERCENTILES["p50"]) -> panels.timeseries.Panel:
    """Adds the queries of p90 and p50, which gauges have by default, and fills from p90 down to the series `low`."""
    high, middle = PERCENTILES["p90"], PERCENTILES["p50"]
    panel.with_target(panels.query(expression("p90"), high, "B"))
    panel.with_target(panels.query(expression("p50"), middle, "C"))
    edge = [panels.fixed(colour), panels.prop("custom.lineWidth", 1)]
    panel.override_by_name(high, [*edge, panels.prop("custom.fillBelowTo", low), panels.prop("custom.fillOpacity", 25)])
    dash = panels.prop("custom.lineStyle", {"fill": "dash", "dash": [10, 6]})
    return panel.override_by_name(middle, [panels.fixed(colour), panels.prop("custom.lineWidth", 2), dash])
