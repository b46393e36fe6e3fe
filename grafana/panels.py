"""What all panels share: units, thresholds, legends, and one function for each kind of panel."""

from collections.abc import Iterable, Mapping, Sequence

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models import text as words
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.states import PLAIN, QUIET, VERMILLION, States, Steps, grounded

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

# signal -> (title, Grafana's unit)
SIGNALS: Mapping[str, tuple[str, str]] = {
    "cpu_pct": ("CPU", "percent"),
    "mem_pct": ("Memory", "percent"),
    "disk_io_mb_s": ("Disk I/O", "MBs"),
    "latency_ms": ("Latency", "ms"),
    "net_in_mb_s": ("Network in", "MBs"),
    "net_out_mb_s": ("Network out", "MBs"),
    "error_rate": ("Error rate", "percentunit"),
    "gc_pause_ms": ("GC pause", "ms"),
}
# The bands of the risk points, with which the forecaster compares p90 (forecaster/presets/fleet.yml). A signal that
# gives no points has no limits.
RISK_LIMITS: Mapping[str, tuple[float, ...]] = {
    "cpu_pct": (90, 95, 98),
    "mem_pct": (90, 95, 98),
    "latency_ms": (100, 200, 500),
}

def query(expression: str, legend: str = "__auto", ref: str = "A") -> prometheus.Dataquery:
    """A range query, for panels with a time axis."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref).datasource(SOURCE).range()


def now(expression: str, legend: str = "__auto", ref: str = "A") -> prometheus.Dataquery:
    """An instant query: the value as it is now, wherever the time range ends."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref).datasource(SOURCE).instant()


def column(expression: str, ref: str) -> prometheus.Dataquery:
    """An instant query for a table."""
    return now(expression, "", ref).format(PromQueryFormat.TABLE)


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """The first step has no lower end."""
    made = [models.Threshold(value, colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def by_thresholds() -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)


def texts(states: States) -> list[models.ValueMapping]:
    """Value mappings: a word and its colour in place of a number."""
    options = {
        f"{value:g}": models.ValueMappingResult(text=word, color=colour, index=index)
        for index, (value, (word, colour)) in enumerate(states.items())
    }
    return [models.ValueMap(options=options)]


def at_least(value: float, text: str, colour: str) -> list[models.ValueMapping]:
    """A word and its colour in place of numbers from `value` on."""
    result = models.ValueMappingResult(text=text, color=colour)
    return [models.RangeMap(options=models.DashboardRangeMapOptions(from_val=value, to=None, result=result))]


def words_for(texts: Mapping[str, str]) -> list[models.ValueMapping]:
    """Value mappings: a text in place of another."""
    return [models.ValueMap(options={
        name: models.ValueMappingResult(text=text, index=index) for index, (name, text) in enumerate(texts.items())
    })]


def prop(name: str, value: object) -> models.DynamicConfigValue:
    """A property of an override."""
    return models.DynamicConfigValue(id_val=name, value=value)


def fixed(colour: str) -> models.DynamicConfigValue:
    return prop("color", {"mode": "fixed", "fixedColor": colour})


def link(title: str, url: str) -> dict[str, object]:
    """A data link, as an override's property takes it."""
    return {"title": title, "url": url, "targetBlank": False}


def _described(panel, title: str, description: str, unit: str):
    return panel.title(title).description(description).datasource(SOURCE).unit(unit)


def until_now(panel):
    """Lets the panel end now, for an instant query or for the past alone: a dashboard's range may end 8 h ahead."""
    return panel.time_from("6h").hide_time_override(True)


def _with(panel, targets: Iterable[prometheus.Dataquery]):
    for target in targets:
        panel.with_target(target)
    return panel


def lines(
    title: str, description: str, unit: str, *targets: prometheus.Dataquery, legend: bool = True
) -> timeseries.Panel:
    """Series over time, gaps shown as gaps."""
    shown = common.VizLegendOptions().display_mode(looks.LegendDisplayMode.LIST)
    shown = shown.placement(looks.LegendPlacement.BOTTOM).show_legend(legend)
    panel = _described(timeseries.Panel(), title, description, unit)
    panel.legend(shown).tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI))
    panel.line_width(2).fill_opacity(0).show_points(looks.VisibilityMode.NEVER).axis_soft_min(0)
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    panel.thresholds(thresholds(PLAIN))
    return _with(panel, targets)


def stacked(title: str, description: str, unit: str, *targets: prometheus.Dataquery) -> timeseries.Panel:
    """Parts of a whole over time."""
    panel = lines(title, description, unit, *targets).fill_opacity(60).line_width(1)
    return panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A")).decimals(0)


def marked(panel: timeseries.Panel, *steps: tuple[float, str]) -> timeseries.Panel:
    """Draws lines across a chart at these values."""
    style = common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.LINE)
    return panel.thresholds(thresholds([(None, QUIET), *steps])).thresholds_style(style)


def coloured(panel, colours: Mapping[str, str]):
    """Fixed colours by the name of the series."""
    for name, colour in colours.items():
        panel.override_by_name(name, [fixed(colour)])
    return panel


def titled(panel, titles: Mapping[str, str]):
    """Titles in place of the names of series, as legends and cells show them."""
    for name, title in titles.items():
        panel.override_by_name(name, [prop("displayName", title)])
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    target: prometheus.Dataquery,
    *,
    states: States | None = None,
    steps: Steps = PLAIN,
    nothing: str = "no forecast",
    shown: looks.BigValueTextMode = looks.BigValueTextMode.VALUE,
) -> stat.Panel:
    """One figure of now, or a tile for each series; `nothing` is what is written, on grey, where there is no value."""
    panel = until_now(_described(stat.Panel(), title, description, unit)).thresholds(thresholds(grounded(steps)))
    panel.color_scheme(by_thresholds()).no_value(nothing).with_target(target)
    panel.graph_mode(looks.BigValueGraphMode.NONE).color_mode(looks.BigValueColorMode.BACKGROUND_SOLID)
    panel.justify_mode(looks.BigValueJustifyMode.CENTER).text_mode(shown)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    return panel.mappings(texts(states)) if states else panel


def bars(
    title: str,
    description: str,
    unit: str,
    target: prometheus.Dataquery,
    *,
    steps: Steps,
    largest: float | None = None,
    nothing: str = "no forecast",
) -> bargauge.Panel:
    """A horizontal bar for each series."""
    panel = until_now(_described(bargauge.Panel(), title, description, unit)).with_target(target).min(0)
    panel.thresholds(thresholds(grounded(steps))).color_scheme(by_thresholds())
    panel.orientation(looks.VizOrientation.HORIZONTAL).display_mode(looks.BarGaugeDisplayMode.BASIC)
    panel.value_mode(looks.BarGaugeValueMode.TEXT).no_value(nothing)  # text in its own colour, which can be read
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    return panel if largest is None else panel.max(largest)


def rows(
    title: str,
    description: str,
    targets: Sequence[prometheus.Dataquery],
    names: Mapping[str, tuple[str, int]],
    *,
    unit: str = "none",
    nothing: str = "no data",
    empty: str = "–",
    sort: Mapping[str, bool] | None = None,
) -> table.Panel:
    """A table of instant queries joined by their labels. Fields without a name are hidden.

    names: field -> (heading, width in px), in order; nothing: what is written in place of rows; empty: in a cell
    without a value; sort: heading -> whether the largest comes first.
    """
    panel = until_now(_with(_described(table.Panel(), title, description, unit), targets)).no_value(nothing)
    headings = {name: heading for name, (heading, _) in names.items()}
    order = {name: index for index, name in enumerate(names)}
    for kind, options in {
        "merge": {},
        "filterFieldsByName": {"include": {"names": list(names)}},
        "organize": {"excludeByName": {}, "indexByName": order, "renameByName": headings},
    }.items():
        panel.with_transformation(models.DataTransformerConfig(id_val=kind, options=options))
    panel.thresholds(thresholds(PLAIN)).align(looks.FieldTextAlignment.AUTO).inspect(False)
    for heading, width in names.values():
        panel.override_by_name(heading, [prop("custom.width", width), prop("noValue", empty)])
    return panel.sort_by([common.TableSortByFieldState().display_name(heading).desc(largest)
                          for heading, largest in (sort or {}).items()])


def cells(
    panel: table.Panel,
    heading: str,
    unit: str,
    *,
    steps: Steps | None = None,
    states: States | None = None,
    decimals: int | None = None,
) -> table.Panel:
    """Unit, words and colours of one column. A cell without a value has the panel's own ground."""
    properties = [prop("unit", unit)]
    if states:
        properties.append(prop("mappings", texts(states)))
    if steps:
        colours = [{"value": value, "color": colour} for value, colour in steps]
        properties.append(prop("thresholds", {"mode": "absolute", "steps": colours}))
    if states or steps:
        properties.append(prop("custom.cellOptions", {"type": "color-background", "mode": "basic"}))
    if decimals is not None:
        properties.append(prop("decimals", decimals))
    return panel.override_by_name(heading, properties)


def heat_rows(title: str, description: str, unit: str, target: prometheus.Dataquery, largest: float) -> heatmap.Panel:
    """Time to the right, one row for each series, its value as brightness; the tooltip tells the number."""
    colours = heatmap.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Cividis").steps(32)
    colours = (
        colours.min(0).max(largest).reverse(False).exponent(0.5).fill(VERMILLION).scale(heat.HeatmapColorScale.LINEAR)
    )
    panel = _described(heatmap.Panel(), title, description, unit).with_target(target)
    panel.calculate(False).color(colours).cell_gap(1).show_legend()
    panel.hide_from(common.HideSeriesConfig().legend(False).tooltip(False).viz(False))
    return panel.rows_frame(heatmap.RowsHeatmapOptions().layout(looks.HeatmapCellLayout.AUTO).value("value"))


def timeline(title: str, description: str, *targets: prometheus.Dataquery) -> statetimeline.Panel:
    """Words over time. Older versions of Grafana do not have it: the same must be readable beside it."""
    panel = _described(statetimeline.Panel(), title, description, "none")
    panel.thresholds(thresholds(PLAIN)).color_scheme(by_thresholds()).fill_opacity(100).line_width(0)
    panel.row_height(0.8).show_value(looks.VisibilityMode.AUTO).merge_values(True)
    return _with(panel, targets)


def note(title: str, description: str, markdown: str) -> text.Panel:
    """A few words to the reader."""
    return text.Panel().title(title).description(description).mode(words.TextMode.MARKDOWN).content(markdown)
