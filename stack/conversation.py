"""An alert as a conversation: it fired, its summary changed, it was sent again, it ended."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from stack.webhook import Alert

FIRED, CHANGED = "fired", "changed"  # what an event says; that of the end has the words of the end
LOST_SIGHT = "lost sight of"  # in the summary of an alert whose server is not forecast any more
_EVENTS = 8  # of one conversation: the first and the newest
SUMMARY, _NAME, _PRIORITY = 300, 200, 20  # characters that are kept


class Event(NamedTuple):
    """What a notification said that arrived at `at` (Unix seconds); text: the summary, where it is another."""

    at: float
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said of an alert since it fired.

    began: Unix seconds from which on it fires, as Alertmanager says, or else when it arrived. came, heard: when it was
    first and last sent, on the pager's clock that only moves forward. events: oldest first, `left_out` of them after
    the first are not kept. sent: notifications while it fired. end: how it ended, empty while it fires; ended: Unix
    seconds. bare: its texts and links are not kept.
    """

    id: str
    kind: str
    name: str
    where: str
    fleet: str
    priority: str
    began: float
    came: float
    heard: float
    events: tuple[Event, ...]
    links: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    sent: int = 1
    end: str = ""
    ended: float = 0.0
    bare: bool = False

    @classmethod
    def begin(cls, key: str, kind: str, alert: Alert, now: float, at: datetime) -> "Conversation":
        """The conversation of an alert that was not known before."""
        name, where, fleet = (text[:_NAME] for text in (alert.name, alert.where, alert.labels.get("fleet", "")))
        priority = (alert.labels.get("priority") or alert.labels.get("severity", ""))[:_PRIORITY]
        began = (instant(alert.starts_at or "") or at).timestamp()
        fired = (Event(at.timestamp(), FIRED, alert.summary[:SUMMARY]),) if alert.status == "firing" else ()
        return cls(key, kind, name, where, fleet, priority, began, now, now, fired, alert.links, sent=len(fired))

    @property
    def summary(self) -> str:
        """The last summary; empty where none is kept."""
        texts = [event.text for event in self.events if event.text or not self.end]
        return texts[-1] if texts else ""

    @property
    def size(self) -> int:
        """Characters of summaries and links."""
        return sum(len(event.text) for event in self.events) + sum(map(len, self.links.values()))

    def again(self, kind: str, alert: Alert, now: float, at: datetime) -> "Conversation":
        """After another notification that it fires."""
        summary = alert.summary[:SUMMARY]
        known = replace(self, kind=kind, heard=now, links=alert.links, sent=self.sent + 1)
        if self.bare:
            *events, last = self.events
            return replace(known, bare=False, events=(*events, last._replace(text=summary)))
        return known if summary == self.summary else known._and(Event(at.timestamp(), CHANGED, summary))

    def over(self, words: str, summary: str, ends_at: str | None, at: datetime) -> "Conversation":
        """After its end. ends_at: when, as Alertmanager says."""
        text = "" if summary == self.summary else summary[:SUMMARY]
        now = at.timestamp()
        ended = (instant(ends_at or "") or at).timestamp()
        return replace(self._and(Event(now, words, text)), end=words,
                       ended=ended if self.began <= ended <= now else now)

    def stripped(self) -> "Conversation":
        """Without its texts and links, except for what decides how it ends."""
        kept = (event._replace(text=LOST_SIGHT if LOST_SIGHT in event.text else "") for event in self.events)
        return replace(self, bare=True, links={}, events=tuple(kept))

    def _and(self, event: Event) -> "Conversation":
        events, left_out = (*self.events, event), self.left_out
        if len(events) > _EVENTS:
            events, left_out = (events[0], *events[2:]), left_out + 1
        return replace(self, events=events, left_out=left_out)


def instant(text: str) -> datetime | None:
    """A time as Alertmanager writes it; None where it is none, or none with a zone of our time."""
    try:
        then = datetime.fromisoformat(text)
        return then if then.tzinfo is not None and 1970 < then.year < 9000 else None
    except ValueError:
        return None
