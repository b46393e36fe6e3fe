"""What the pager prints of a notification: a line for each alert, and of many a line that counts and names them."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from stack.webhook import Alert

_ONE_BY_ONE = 5  # alerts with a line of their own
_NAMED = 10  # of the others, named on the line that counts them
_LONGEST = 500  # characters of a line

News = tuple[Alert, str]  # an alert and what to say of it


def lines(kind: str, time: str, news: Sequence[News]) -> Iterator[str]:
    """Lines with kind, time, status, name, server and summary."""
    for (status, end), same in groupby(sorted(news, key=_status), key=_status):
        told, start = list(same), f"{kind} {time} {status}"
        for alert, words in told[:_ONE_BY_ONE]:
            yield _short(f"{start} {alert.name} {alert.where}{f': {words}' if words else ''}")
        if more := [alert for alert, _ in told[_ONE_BY_ONE:]]:
            named = [alert.where for alert in more[:_NAMED]] + ["..."] * (len(more) > _NAMED)
            count = f"... and {len(more):,} more{f', {end}' if end else ''}"
            yield _short(f"{start} {_name(more)} {count}: {', '.join(named)}")


def left_out(kind: str, time: str, sent: Sequence[Alert], more: int) -> str:
    """The line about those of a group that Alertmanager did not send."""
    return f"{kind} {time} firing {_name(sent)} ... and {more:,} more that Alertmanager left out"


def _status(one: News) -> tuple[str, str]:
    """Its status and, of an alert that ended, how."""
    alert, words = one
    return alert.status, words if alert.status == "resolved" else ""


def _name(alerts: Sequence[Alert]) -> str:
    """Their common name."""
    names = {alert.name for alert in alerts}
    return names.pop() if len(names) == 1 else "alerts"


def _short(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
