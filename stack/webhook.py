"""The body of a webhook of Alertmanager (version 4), with the fields that the pager reads.

Texts are cut at 4,000 characters and labels at 64, so that what is kept of an alert has a bound.
"""

from itertools import islice
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from serving.web import RequestError


def _cut(texts: dict[str, str]) -> dict[str, str]:
    return {name[:200]: text[:4000] for name, text in islice(texts.items(), 64)}


Texts = Annotated[dict[str, str], AfterValidator(_cut)]


class Alert(BaseModel):
    """An alert that fires or is resolved; the times are as Alertmanager writes them."""

    status: Literal["firing", "resolved"]
    labels: Texts
    annotations: Texts | None = None
    starts_at: str | None = Field(None, alias="startsAt", max_length=40)
    ends_at: str | None = Field(None, alias="endsAt", max_length=40)

    def text(self, annotation: str) -> str:
        """An annotation on one line; empty without it."""
        return " ".join((self.annotations or {}).get(annotation, "").split())

    @property
    def summary(self) -> str:
        """The summary, else the description."""
        return self.text("summary") or self.text("description")

    @property
    def links(self) -> dict[str, str]:
        """Its addresses: `runbook_url` and `dashboard_url`."""
        found = {name: self.text(name) for name in ("runbook_url", "dashboard_url")}
        return {name: url for name, url in found.items()
                if url.startswith(("http://", "https://")) and len(url) < 1000}

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels.get("alertname", "?")

    @property
    def where(self) -> str:
        """What it is about: a server, an instance, a fleet."""
        return self.labels.get("server") or self.labels.get("instance") or self.labels.get("fleet") or "the fleet"


class Webhook(BaseModel):
    """A notification: the alerts of a group, and how many more of the group Alertmanager left out (`max_alerts`)."""

    alerts: list[Alert] = Field(min_length=1)
    left_out: int = Field(0, alias="truncatedAlerts", ge=0)
    group: str = Field("", alias="groupKey")


def parse(body: bytes) -> Webhook:
    """A webhook; RequestError names the first field that is none of it."""
    try:
        return Webhook.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "body"
        expected = "a webhook of Alertmanager, version 4, as JSON"
        raise RequestError(f"{field}: {first['msg']}", field, expected) from error
