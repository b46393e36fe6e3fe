"""The alerts that fire now, and what is news about them: Alertmanager sends a group again with every change of it."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from stack.webhook import Alert

MOST = 20_000  # alerts that are kept, the newest; of the others each notification is told, and they are not on the page
_CHARACTERS = 16 << 20  # of the summaries and links of all; the next are kept without, by name, place and time
_ENDED = 10_000  # ended alerts that are remembered, so that a notification that is sent twice is told once
_FORGOTTEN = 48 * 3600.0  # seconds; Alertmanager repeats a page every 4 h and a ticket every 24 h
LOST_SIGHT = "lost sight of"  # in the summary of an alert whose server is not forecast any more
UNWATCHED = "no longer watched"  # the end of an alert that is no recovery


@dataclass(slots=True)
class Open:
    """An alert that fires; first and last sent at `came` and `heard`, on the pager's clock that only moves forward."""

    kind: str
    name: str
    where: str
    fleet: str
    summary: str
    starts_at: str
    links: dict[str, str]
    came: float
    heard: float

    @property
    def size(self) -> int:
        """Characters of summary and links."""
        return len(self.summary) + sum(map(len, self.links.values()))


class OpenAlerts:
    """The alerts that fire, by their labels. Not safe to use from several threads."""

    def __init__(self) -> None:
        self.dropped = 0  # that still fired, as there were too many
        self._size = 0
        self._open: OrderedDict[bytes, Open] = OrderedDict()  # the one heard of last at the end
        self._ended: OrderedDict[bytes, str] = OrderedDict()

    def __iter__(self) -> Iterator[Open]:
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    def take(self, kind: str, alert: Alert, now: float, received: str, end: str) -> tuple[str, bool]:
        """Takes an alert and returns what to say of it, and whether it is news.

        `end` is what to say if it has ended. Where its last summary says that its server is lost, it has not recovered
        but is no longer watched.
        """
        key = blake2b(orjson.dumps(alert.labels, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
        known, summary = self._pop(key), alert.summary[:300]
        if alert.status == "firing":
            self._ended.pop(key, None)
            since = known.starts_at if known else alert.starts_at or received
            name, where, fleet = (text[:200] for text in (alert.name, alert.where, alert.labels.get("fleet", "")))
            came = known.came if known else now
            one = Open(kind, name, where, fleet, summary, since, alert.links, came, now)
            if self._size + one.size > _CHARACTERS:
                one.summary, one.links = LOST_SIGHT if LOST_SIGHT in summary else "", {}
            self._open[key] = one
            self._size += one.size
            if len(self._open) > MOST:
                self._pop(next(iter(self._open)))
                self.dropped += 1
            return summary, known is None or (LOST_SIGHT in known.summary) != (LOST_SIGHT in summary)
        if key in self._ended:
            return self._ended[key], False
        last = summary or (known.summary if known else "")
        self._ended[key] = UNWATCHED if LOST_SIGHT in last else end
        if len(self._ended) > _ENDED:
            self._ended.popitem(last=False)
        return self._ended[key], True

    def forget(self, now: float) -> None:
        """Drops alerts that were not repeated for so long that their end must have been missed."""
        for key in [key for key, one in self._open.items() if now - one.heard >= _FORGOTTEN]:
            self._pop(key)

    def _pop(self, key: bytes) -> Open | None:
        one = self._open.pop(key, None)
        self._size -= one.size if one else 0
        return one
