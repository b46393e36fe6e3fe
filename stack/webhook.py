"""The body of a webhook of Alertmanager (version 4), with the fields that the pager reads.

Every text of an alert is bounded and free of control characters from here on. Of more than 64 labels or annotations
those that the pager shows are kept.
"""

from itertools import islice
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from serving.shown import cut, shown
from serving.web import RequestError

LARGEST = 32 << 20  # bytes; 20,000 alerts are 18 to 24 MB
ALERTS = 50_000
VALUES = 500_000  # 30 of an alert with 15 labels; one of 3 bytes takes hundreds while it is read
_TEXTS, _NAME, _TEXT = 64, 200, 4000  # number of labels or annotations, characters of a name and of a text
_ADDRESS = 1000  # characters; a longer one is not kept
_SHOWN = ("alertname", "server", "instance", "fleet", "job", "severity", "priority",
          "summary", "description", "time", "runbook_url", "dashboard_url")


def _bound(texts: dict[str, str]) -> dict[str, str]:
    if len(texts) > _TEXTS:
        first = (name for name in _SHOWN if name in texts)
        texts = {name: texts[name] for name in islice(dict.fromkeys((*first, *texts)), _TEXTS)}
    return {_line(name[:_NAME]): "\n".join(map(_line, text[:_TEXT].splitlines())) for name, text in texts.items()}


def _line(text: str) -> str:
    return shown(text)[:_TEXT]


Texts = Annotated[dict[str, str], AfterValidator(_bound)]
Instant = Annotated[str, Field(max_length=40), AfterValidator(shown)]
Address = Annotated[str, AfterValidator(lambda text: text if len(text) < _ADDRESS else "")]


class Alert(BaseModel):
    """An alert that fires or is resolved; the times are as Alertmanager writes them."""

    status: Literal["firing", "resolved"]
    labels: Texts
    annotations: Texts | None = None
    starts_at: Instant | None = Field(None, alias="startsAt")
    ends_at: Instant | None = Field(None, alias="endsAt")
    generator_url: Address = Field("", alias="generatorURL")

    def text(self, annotation: str) -> str:
        """An annotation on one line; empty without it."""
        return " ".join((self.annotations or {}).get(annotation, "").split())

    @property
    def size(self) -> int:
        """Characters of its labels and annotations."""
        texts = (self.labels, self.annotations or {})
        return sum(len(name) + len(text) for of in texts for name, text in of.items())

    @property
    def summary(self) -> str:
        """The summary, else the description."""
        return self.text("summary") or self.text("description")

    @property
    def links(self) -> dict[str, str]:
        """Its addresses: `runbook_url`, `dashboard_url`, and where its rule is, `generator_url`."""
        found = {name: self.text(name) for name in ("runbook_url", "dashboard_url")}
        found["generator_url"] = self.generator_url
        return {name: url for name, url in found.items()
                if url.isprintable() and url.startswith(("http://", "https://")) and len(url) < _ADDRESS}

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

    alerts: list[Alert] = Field(min_length=1, max_length=ALERTS)
    left_out: int = Field(0, alias="truncatedAlerts", ge=0, lt=1 << 31)
    group: str = Field("", alias="groupKey")


def parse(body: bytes) -> Webhook:
    """A webhook; RequestError names the first field that is none of it, with status 413 where there is too much."""
    if body.count(b",") > VALUES:
        raise too_large(f"{VALUES:,} values")
    try:
        return Webhook.model_validate_json(body)
    except ValidationError as error:
        expected = "a webhook of Alertmanager, version 4, as JSON"
        if (count := error.error_count()) > 1000:  # to list them takes much memory
            raise RequestError(f"body: {count:,} values are none of a webhook", "body", expected) from error
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "too_long" and first["loc"] == ("alerts",):
            raise too_large(f"{ALERTS:,} alerts") from error
        field = cut(".".join(map(str, first["loc"]))) or "body"
        raise RequestError(f"{field}: {first['msg']}", field, expected) from error


def too_large(what: str) -> RequestError:
    """The refusal of a notification of more than `what`."""
    expected = "fewer alerts: set max_alerts in Alertmanager"
    return RequestError(f"a notification of more than {what}", "body", expected, 413)
