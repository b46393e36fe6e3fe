"""What every dashboard has: variables, annotations, links, and panels laid out in rows."""

from collections.abc import Iterable, Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.models import dashboard as models

from grafana import panels, queries, states

TAG = "fleetcast"
OVERVIEW, SERVER, CAPACITY, QUALITY, OPERATIONS = (
    "fleetcast-overview",
    "fleetcast-server",
    "fleetcast-capacity",
    "fleetcast-quality",
    "fleetcast-operations",
)
PAST, AHEAD, DAYS_AHEAD = ("now-6h", "now"), ("now-6h", "now+8h"), ("now-14d", "now+14d")
_SPANS = {OVERVIEW: AHEAD, SERVER: AHEAD, CAPACITY: DAYS_AHEAD, QUALITY: PAST, OPERATIONS: PAST}
WIDTH = 24  # columns of Grafana's grid
SIGNAL_CHOICES = ",".join(f"{title} : {signal}" for signal, (title, _) in panels.SIGNALS.items())

# panels, whose width and height are set, below a heading
Placed = cog.Builder[models.Panel]
Section = tuple[str, Sequence[Placed]]


class Annotation(models.AnnotationQuery):
    """An annotation out of Prometheus: the SDK's class knows none of these fields."""

    def __init__(self, name: str, colour: str, expression: str, title: str, text: str, tags: str = ""):
        super().__init__(name=name, datasource=panels.SOURCE, enable=True, hide=True, icon_color=colour,
                         expr=expression)
        self._more = {
            "step": "60s",
            "titleFormat": title,
            "textFormat": text,
            "tagKeys": tags,
            "useValueForTime": False,
        }

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), **self._more}


class _Made(cog.Builder[Any]):
    """Hands an object that is there already to a builder."""

    def __init__(self, made: Any):
        self._made = made

    def build(self) -> Any:
        return self._made


def annotations() -> list[Annotation]:
    """The marks on every time axis. Their switches are hidden: they are always on."""
    return [Annotation("Scenario", states.PURPLE, queries.SCENARIO_CHANGED, "Scenario {{scenario}}",
                       "The simulated fleet changed its scenario.", "scenario"),
            Annotation("Model", states.BLUE, queries.MODEL_CHANGED, "Model {{model}} {{weights}}",
                       "Another model makes the forecasts from now on.", "method"),
            Annotation("Config reload", states.SKY, queries.CONFIG_RELOADED, "Config reload",
                       "The forecaster started or was reloaded.", "instance"),
            Annotation("Now", states.GREY, queries.NOW, "Now", "Actual values to the left, forecasts to the right.")]


def source_variable() -> models.VariableModel:
    return models.VariableModel(type_val=models.VariableType.DATASOURCE, name="datasource", label="Data source",
                                query="prometheus", regex="", description="The Prometheus to ask.",
                                hide=models.VariableHide.HIDE_VARIABLE,  # one toolbar row; ?var-datasource= sets it
                                refresh=models.VariableRefresh.ON_DASHBOARD_LOAD,
                                current=models.VariableOption(text="Prometheus", value="fleetcast-prometheus"))


def query_variable(name: str, label: str, query: str, description: str, several: bool = False,
                   regex: str = "") -> models.VariableModel:
    """A choice among the values of a label of real series; with `regex`, what it finds in the series, as they come."""
    made = models.VariableModel(type_val=models.VariableType.QUERY, name=name, label=label, datasource=panels.SOURCE,
                                description=description, query={"query": query, "refId": f"variable-{name}"},
                                refresh=models.VariableRefresh.ON_DASHBOARD_LOAD if regex
                                else models.VariableRefresh.ON_TIME_RANGE_CHANGED,
                                sort=models.VariableSort.DISABLED if regex else models.VariableSort.ALPHABETICAL_ASC,
                                multi=several, include_all=several, regex=regex)
    if several:
        made.all_value = ".*"
        made.current = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    return made


def choice(name: str, label: str, options: str, text: str, value: str, description: str) -> models.VariableModel:
    """A choice among fixed values, written as Grafana takes them: `Text : value,Text : value`."""
    return models.VariableModel(type_val=models.VariableType.CUSTOM, name=name, label=label, query=options,
                                description=description,
                                current=models.VariableOption(selected=True, text=text, value=value))


FLEET = ("fleet", "Fleet", queries.FLEETS, "The fleet: all servers that one group of forecasters forecasts.")
PROFILE = ("profile", "Profile", queries.PROFILES, "Only servers of these profiles.", True)
ONE_SERVER = ("server", "Server", queries.SERVERS, "The server to look at; the riskiest first.", False, queries.NAMES)


def links(uid: str) -> list[models.DashboardLink]:
    """To the other dashboards, with variables, and to the alerts.

    The time range goes along where the other dashboard has the same: one about the past needs no hours ahead. The icons
    are some of the seven that Grafana has for links.
    """
    titles = {OVERVIEW: "Fleet", SERVER: "Server", CAPACITY: "Capacity", QUALITY: "Quality", OPERATIONS: "Operations"}
    made = [
        models.DashboardLink(
            title=title,
            type_val=models.DashboardLinkType.LINK,
            icon="dashboard",
            url=f"/d/{other}",
            tooltip=f"{title}, with these variables",
            include_vars=True,
            keep_time=_SPANS[uid] == _SPANS[other],
        )
        for other, title in titles.items()
        if other != uid
    ]
    if _SPANS[uid] == AHEAD:
        made.append(models.DashboardLink(title="8 h ahead", type_val=models.DashboardLinkType.LINK, icon="cloud",
                                         url=f"/d/{uid}?from=now-6h&to=now%2B8h", include_vars=True,
                                         tooltip="The last 6 hours and the next 8"))
    made.append(models.DashboardLink(title="Alerts", type_val=models.DashboardLinkType.LINK, icon="bolt",
                                     url="/alerting/groups?alertmanager=Alertmanager",
                                     tooltip="Alerts in Alertmanager, to silence them"))
    return made


def server_link(variable: str, title: str = "Open this server") -> dict[str, object]:
    """A data link to a server's dashboard; `variable` is what Grafana replaces by the server's name."""
    return panels.link(title, f"/d/{SERVER}?${{datasource:queryparam}}&${{fleet:queryparam}}"
                              f"&var-server={variable}&from=now-6h&to=now%2B8h")


def build(
    uid: str,
    title: str,
    description: str,
    variables: Iterable[models.VariableModel],
    span: tuple[str, str],
    refresh: str,
    sections: Iterable[Section],
) -> models.Dashboard:
    """A dashboard whose sections stand below each other; the panels of one flow from left to right."""
    made = dashboard.Dashboard(f"Fleetcast / {title}").uid(uid).description(description).tags([TAG])
    made.time(*span).timezone("browser").refresh(refresh).readonly()
    made.tooltip(models.DashboardCursorSync.CROSSHAIR)
    made.variables([_Made(variable) for variable in (source_variable(), *variables)])
    made.annotations([_Made(annotation) for annotation in annotations()])
    made.links([_Made(one) for one in links(uid)])
    result = made.build()
    result.panels = place(sections)
    return result


def row(height: int, *members: tuple[int, Placed]) -> list[Placed]:
    """Panels of one height beside each other, each after its width."""
    return [panel.span(width).height(height) for width, panel in members]


def place(sections: Iterable[Section]) -> list[models.Panel | models.RowPanel]:
    """Panels with ids and positions; a section without a heading has no row of its own."""
    placed: list[models.Panel | models.RowPanel] = []
    top = 0
    for heading, members in sections:
        if heading:
            row = models.RowPanel(title=heading, id_val=len(placed) + 1, collapsed=False, panels=[])
            row.grid_pos = models.GridPos(h=1, w=WIDTH, x=0, y=top)
            placed.append(row)
            top += 1
        left, tallest = 0, 0
        for builder in members:
            panel = builder.build()
            width, height = panel.grid_pos.w, panel.grid_pos.h
            if left + width > WIDTH:
                left, top, tallest = 0, top + tallest, 0
            panel.id_val = len(placed) + 1
            panel.grid_pos = models.GridPos(h=height, w=width, x=left, y=top)
            placed.append(panel)
            left, tallest = left + width, max(tallest, height)
        top += tallest
    return placed
