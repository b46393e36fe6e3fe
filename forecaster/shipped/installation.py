"""The values by which an installation of Fleetcast differs from the demonstration stack."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from forecaster.addresses import HttpUrl
from serving.settings import Settings

Severity = Literal["info", "warning", "critical"]


def _name(text: str) -> str:
    if not re.fullmatch(r"[\w.:/-]+", text):  # it goes into PromQL, Grafana's variables and relabelling as it is
        raise ValueError("expected a name of letters, digits and _ . : / -")
    return text


def _link(text: str) -> str:
    if re.search(r'[\s"\\{}<>#]', text):  # {{ starts a template of an annotation, and # the section of the runbook
        raise ValueError("expected an address such as https://example.org without spaces, quotes or \\ { } < > #")
    return text


Name = Annotated[str, AfterValidator(_name)]
Link = Annotated[HttpUrl, AfterValidator(_link)]


class Installation(Settings):
    """Addresses and labels; the defaults are those of the files that ship. A description says what a value is for."""

    job: Name = Field("forecaster", description="job of the forecaster's scrapes [rules, dashboards, kubernetes]")
    fleet: Name | None = Field(None, description="label `fleet` of these scrapes [rules, dashboards, kubernetes]")
    forecaster_url: Link = Field(
        "http://127.0.0.1:8000", description="the forecaster, for alerts' links to its page [rules, kubernetes]"
    )
    grafana_url: Link | None = Field(
        None, description="Grafana, to whose dashboards alerts link in place of that page [rules, kubernetes]"
    )
    runbook_url: Link | None = Field(
        None,
        description="page of the runbook, to which each alert links as #its-name; else the one that the forecaster "
        "serves [rules, kubernetes]",
    )
    min_severity: Severity = Field(
        "info", description="lowest severity of alerts, info, warning or critical [rules, alertmanager, kubernetes]"
    )
    datasource: Name | None = Field(None, description="uid of Prometheus in Grafana, else the default one [dashboards]")
    pager_url: Link = Field("http://127.0.0.1:8003/page", description="webhook that takes P1 [alertmanager]")
    ticket_url: Link = Field("http://127.0.0.1:8003/ticket", description="webhook that takes P2 [alertmanager]")
    heartbeat_url: Link = Field(
        "http://127.0.0.1:8003/heartbeat",
        description="webhook that takes each fleet's heartbeat and reports when it stops [alertmanager]",
    )
