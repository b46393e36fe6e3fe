"""What all panels share: colours, units, thresholds, legends, and one function for each kind of panel.

The colours can be told apart by colour-blind readers and on a dark as on a light background, and nothing is said by
a colour alone: every coloured state is a word or a number as well.
"""

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

# Okabe and Ito's palette without its yellow, which nobody sees on white
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILLION, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#8C8C8C"

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
# What the forecaster's risk stage compares p90 with (forecaster/presets/fleet.yml): for cpu, memory and latency the
# bands that give points, for the disk, which gives none, the limits of the incident probability.
RISK_LIMITS: Mapping[str, tuple[float, ...]] = {
    "cpu_pct": (90, 95, 98),
    "mem_pct": (90, 95, 98),
    "latency_ms": (100, 200, 500),
    "disk_io_mb_s": (95, 98),
}

# value -> (text, colour)
States = Mapping[float, tuple[str, str]]
VERDICT: States = {
    -1: ("UNKNOWN", GREY),
    0: ("SAFE", GREEN),
    1: ("POSSIBLE TROUBLE", ORANGE),
    2: ("LIKELY TROUBLE", VERMILLION),
    3: ("ACT NOW", PURPLE),
}
FIRST: States = {  # beside the seconds until the first incident is expected
    -3: ("unknown", GREY),
    -2: ("no time known", GREY),
    -1: ("not likely in 8 h", GREEN),
    0: ("NOW", VERMILLION),
}
HEALTH: States = {0: ("Healthy", GREEN), 1: ("Warning", ORANGE), 2: ("Critical", VERMILLION)}
PRIORITY: States = {1: ("P1 critical", VERMILLION), 2: ("P2 warning", ORANGE), 3: ("P3 info", SKY)}
ON: States = {0: ("off", GREEN), 1: ("on", VERMILLION)}
METHOD: States = {0: ("Model", GREEN), 1: ("Heuristic", ORANGE)}
YES_IS_BAD: States = {0: ("no", GREEN), 1: ("YES", VERMILLION)}
UP: States = {0: ("DOWN", VERMILLION), 1: ("up", GREEN)}

RISK_STEPS = ((None, SKY), (40, ORANGE), (70, VERMILLION))  # risk.priorities of forecaster/presets/fleet.yml
AGE_STEPS = ((None, GREEN), (60, ORANGE), (120, VERMILLION))  # seconds; the forecaster's ttl is 120
CHANCE_STEPS = ((None, GREEN), (0.5, ORANGE), (0.8, VERMILLION))  # p2_chance and p1_chance of risk.priorities
ANY_IS_BAD = ((None, GREEN), (1, VERMILLION))
PLAIN = ((None, BLUE),)
HEALTH_LIMITS = ((0.4, ORANGE), (0.7, VERMILLION))  # risk.health, likewise

Steps = Sequence[tuple[float | None, str]]


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


def _at_now(panel):
    """Lets the panel end now: an instant query asks for the end of the range, which may lie 8 h ahead."""
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
    return panel.thresholds(thresholds([(None, "transparent"), *steps])).thresholds_style(style)


def coloured(panel, colours: Mapping[str, str]):
    """Fixed colours by the name of the series."""
    for name, colour in colours.items():
        panel.override_by_name(name, [fixed(colour)])
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
    names: bool = False,
    course: bool = False,
) -> stat.Panel:
    """One figure, or with `names` a tile for each series; `nothing` is what is written where there is no value.

    `course` draws how it came to it below, which takes a range query.
    """
    panel = _at_now(_described(stat.Panel(), title, description, unit)).thresholds(thresholds(steps))
    panel.color_scheme(by_thresholds()).no_value(nothing).with_target(target)
    panel.graph_mode(looks.BigValueGraphMode.AREA if course else looks.BigValueGraphMode.NONE)
    panel.justify_mode(looks.BigValueJustifyMode.CENTER)
    panel.color_mode(looks.BigValueColorMode.BACKGROUND if states or len(steps) > 1 else looks.BigValueColorMode.VALUE)
    panel.text_mode(looks.BigValueTextMode.VALUE_AND_NAME if names else looks.BigValueTextMode.VALUE)
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
    panel = _at_now(_described(bargauge.Panel(), title, description, unit)).with_target(target).min(0)
    panel.thresholds(thresholds(steps)).color_scheme(by_thresholds()).orientation(looks.VizOrientation.HORIZONTAL)
    panel.display_mode(looks.BarGaugeDisplayMode.BASIC).no_value(nothing)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    return panel if largest is None else panel.max(largest)


def rows(
    title: str,
    description: str,
    targets: Sequence[prometheus.Dataquery],
    names: Mapping[str, str],
    *,
    unit: str = "none",
    sort: str | None = None,
) -> table.Panel:
    """A table of instant queries joined by their labels. `names`: field -> heading, in order; others are hidden.

    sort: the heading of a column, smallest first.
    """
    panel = _at_now(_with(_described(table.Panel(), title, description, unit), targets)).no_value("none")
    order = {name: index for index, name in enumerate(names)}
    for kind, options in {
        "merge": {},
        "filterFieldsByName": {"include": {"names": list(names)}},
        "organize": {"excludeByName": {}, "indexByName": order, "renameByName": dict(names)},
    }.items():
        panel.with_transformation(models.DataTransformerConfig(id_val=kind, options=options))
    panel.thresholds(thresholds(PLAIN)).align(looks.FieldTextAlignment.AUTO).inspect(False)
    if sort is not None:
        panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(False)])
    return panel


def cells(
    panel: table.Panel,
    heading: str,
    unit: str,
    *,
    steps: Steps | None = None,
    states: States | None = None,
    width: int | None = None,
    decimals: int | None = None,
) -> table.Panel:
    """Unit, words and colours of one column."""
    properties = [prop("unit", unit)]
    if states:
        properties.append(prop("mappings", texts(states)))
    if steps:
        colours = [{"value": value, "color": colour} for value, colour in steps]
        properties.append(prop("thresholds", {"mode": "absolute", "steps": colours}))
    if states or steps:
        properties.append(prop("custom.cellOptions", {"type": "color-background", "mode": "basic"}))
    if width is not None:
        properties.append(prop("custom.width", width))
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
    panel.thresholds(thresholds(PLAIN)).color_scheme(by_thresholds()).fill_opacity(80).line_width(0)
    panel.row_height(0.8).show_value(looks.VisibilityMode.AUTO).merge_values(True)
    return _with(panel, targets)


def note(title: str, description: str, markdown: str) -> text.Panel:
    """A few words to the reader."""
    return text.Panel().title(title).description(description).mode(words.TextMode.MARKDOWN).content(markdown)
