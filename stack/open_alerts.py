"""The alerts that fire and those that ended, and what is news: Alertmanager sends a group again with every change."""

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from hashlib import blake2b

import orjson

from stack.conversation import LOST_SIGHT, SUMMARY, Conversation
from stack.kept import Newest
from stack.webhook import Alert

MOST = 20_000  # alerts that are kept, the newest; of the others each notification is told, and they are not on the page
OVER = 100  # conversations that ended, the newest
_CHARACTERS = 16 << 20  # of the summaries and links of all; the next are kept without, by name, place and time
_OVER_CHARACTERS = 1 << 20
_ENDED = 10_000  # ended alerts that are remembered, so that a notification that is sent twice is told once
_FORGOTTEN = 48 * 3600.0  # seconds; Alertmanager repeats a page every 4 h and a ticket every 24 h
ENDED = "over"
UNWATCHED = "no longer watched"  # the end of an alert that is no recovery
UNHEARD = "no longer heard of"  # an end that was missed


class OpenAlerts:
    """The alerts that fire, by their labels, and in `over` those that ended last. Not safe to use from several threads.
    """

    def __init__(self) -> None:
        self.dropped = 0  # that still fired, as there were too many
        self.over: Newest[Conversation] = Newest(OVER, _OVER_CHARACTERS)
        self._size = 0
        self._open: OrderedDict[bytes, Conversation] = OrderedDict()  # the one heard of last at the end
        self._ended: OrderedDict[bytes, str] = OrderedDict()

    def __iter__(self) -> Iterator[Conversation]:
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    def take(self, kind: str, alert: Alert, now: float, at: datetime, end: str) -> tuple[str, bool]:
        """Takes an alert that arrived at `at` and returns what to say of it, and whether it is news.

        `end` is what to say if it has ended. Where its last summary says that its server is lost, it has not recovered
        but is no longer watched.
        """
        key = blake2b(orjson.dumps(alert.labels, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
        known, summary = self._pop(key), alert.summary[:SUMMARY]
        if alert.status == "firing":
            self._ended.pop(key, None)
            one = known.again(kind, alert, now, at) if known else self._begin(key, kind, alert, now, at)
            if self._size + one.size > _CHARACTERS:
                one = one.stripped()
            self._open[key] = one
            self._size += one.size
            if len(self._open) > MOST:
                self._pop(next(iter(self._open)))
                self.dropped += 1
            return summary, known is None or (LOST_SIGHT in known.summary) != (LOST_SIGHT in summary)
        if key in self._ended:
            return self._ended[key], False
        last = summary or (known.summary if known else "")
        self._ended[key] = words = UNWATCHED if LOST_SIGHT in last else end
        if len(self._ended) > _ENDED:
            self._ended.popitem(last=False)
        self._end(known or self._begin(key, kind, alert, now, at), words, summary, alert.ends_at, at)
        return words, True

    def forget(self, now: float, at: datetime) -> None:
        """Ends alerts that were not repeated for so long that their end must have been missed."""
        for key in [key for key, one in self._open.items() if now - one.heard >= _FORGOTTEN]:
            if one := self._pop(key):
                self._end(one, UNHEARD, "", None, at)

    def _begin(self, key: bytes, kind: str, alert: Alert, now: float, at: datetime) -> Conversation:
        return Conversation.begin(key.hex()[:16], kind, alert, now, at)

    def _end(self, one: Conversation, words: str, summary: str, ends_at: str | None, at: datetime) -> None:
        ended = one.over(words, summary, ends_at, at)
        self.over.add(ended, ended.size)

    def _pop(self, key: bytes) -> Conversation | None:
        one = self._open.pop(key, None)
        self._size -= one.size if one else 0
        return one
