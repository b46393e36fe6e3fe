"""The pager's page for people: what is open, the heartbeats, the last lines. It needs no JavaScript."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flask import Response
from jinja2 import Environment
from markupsafe import Markup

from serving.page.html import document
from stack.heartbeat import LOST, Beat
from stack.open_alerts import MOST, Open

REFRESH = 30  # seconds after which a browser reads the page anew; what is old must not look like now
_SUMMARIES = 10  # alerts of a group that are shown with their summary; the others are named
COLOURS = {"page": ("#ffffff", "#a8001c"), "ticket": ("#1c1c1c", "#ffb627"), "blind": ("#ffffff", "#565b61"),
           "quiet": ("#ffffff", "#1b5e3a")}  # text and ground; each pair also differs by its words
_STYLE = """h2 { margin: 2rem 0 .5rem } h3 { margin: 1rem 0 0 }
ul { margin: .25rem 0; padding-inline-start: 1.25rem }
.state { font-size: 1.4rem; font-weight: 600; padding: .75rem 1rem; border-radius: .4rem; margin: 1rem 0 .5rem }
.tag { font-size: .8rem; font-weight: 700; padding: .1rem .45rem; border-radius: .25rem }
li, .lines, summary { overflow-wrap: anywhere } .lines { list-style: none; padding: 0 }
""" + "\n".join(f".{name} {{ color: {text}; background: {ground} }}" for name, (text, ground) in COLOURS.items())

_BODY = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""<h1>Pager</h1>
<p class="state {{ state }}">{{ words }}</p>
<p>As of {{ view.now.strftime("%d %b %Y %H:%M:%S") }} ({{ view.now.tzname() }}). Read anew every {{ refresh }} s.</p>
<h2>Open now</h2>
{% if view.left_out %}
<p>Alertmanager left {{ "{:,}".format(view.left_out) }} more alerts out of its notifications.</p>
{% endif %}
{% if view.dropped %}
<p>{{ "{:,}".format(view.dropped) }} alerts that fired had to give way to newer ones.</p>
{% endif %}
{% for group in view.groups %}
<h3><span class="tag {{ group.kind.lower() }}">{{ group.kind }}</span> {{ group.name }}
{%- if group.fleet %}, fleet {{ group.fleet }}{% endif %}</h3>
<p>{{ "{:,}".format(group.alerts|length) }} alert{{ "s" if group.alerts|length > 1 }} since {{ since(group.since) }}
{%- if group.runbook %}, <a href="{{ group.runbook }}">runbook</a>{% endif %}</p>
<ul>
{% for one in group.alerts[:shown] %}
<li>
{%- if one.links.dashboard_url %}<a href="{{ one.links.dashboard_url }}">{{ one.where }}</a>
{%- else %}{{ one.where }}{% endif %}{{ rest(one) }}
{%- if group.alerts|length > 1 %}. Since {{ since(one.starts_at) }}{% endif %}</li>
{% endfor %}
</ul>
{% if group.alerts|length > shown %}
<details><summary>and {{ "{:,}".format(group.alerts|length - shown) }} more: all names</summary>
<p>{{ group.alerts[shown:]|map(attribute="where")|join(", ") }}</p></details>
{% endif %}
{% else %}
<p>No alert is open.</p>
{% endfor %}
<h2>Heartbeats</h2>
{% if view.beats %}
<p>A heartbeat proves that a fleet's forecasts are current, its rules are evaluated and its alerts arrive here.</p>
<table>
<thead><tr><th scope="col">Fleet</th><th scope="col">State</th><th scope="col">Last</th></tr></thead>
<tbody>
{% for beat, age, blind, reason in view.beats %}
<tr><th scope="row">{{ beat.fleet or "no fleet label" }}</th>
<td><span class="tag {{ "page" if beat.lost else "blind" if blind else "quiet" }}">
{{- "LOST" if beat.lost else "AWAITED" if blind else "ALIVE" }}</span>{{ " " + reason if blind }}</td>
<td>{{ "%.0f"|format(age) }} s ago</td></tr>
{% endfor %}
</tbody>
</table>
{% else %}
<p>None has been received since the pager started: that nothing is open does not prove that all is well.</p>
{% endif %}
<h2>Last notifications</h2>
<ul class="lines">
{% for line in view.lines %}
<li>{{ line }}</li>
{% else %}
<li>None since the pager started.</li>
{% endfor %}
</ul>""")


@dataclass
class Group:
    """Open alerts of one name and fleet, longest first."""

    kind: str
    name: str
    fleet: str
    alerts: list[Open] = field(default_factory=list)

    @property
    def since(self) -> str:
        """When the first began."""
        return self.alerts[0].starts_at

    @property
    def runbook(self) -> str:
        """The address of the runbook's entry; empty without one."""
        return next((one.links["runbook_url"] for one in self.alerts if "runbook_url" in one.links), "")


@dataclass(frozen=True)
class View:
    """What the page shows. beats: heartbeat, its age in seconds, whether it is late or lost, and why."""

    now: datetime
    groups: Sequence[Group]
    left_out: int
    beats: Sequence[tuple[Beat, float, bool, str]]
    lines: Sequence[str]  # newest first
    dropped: int = 0  # alerts that fired and are not kept


def grouped(alerts: Iterable[Open]) -> list[Group]:
    """Open alerts by kind, name and fleet: pages first, among them those of lost heartbeats, then the largest group."""
    groups: dict[tuple[str, str, str], Group] = {}
    for one in sorted(alerts, key=lambda one: (one.starts_at, one.where)):
        key = one.kind, one.name, one.fleet
        groups.setdefault(key, Group(*key)).alerts.append(one)
    return sorted(groups.values(), key=lambda group: (group.kind, group.name != LOST, -len(group.alerts)))


def page(view: View) -> Response:
    """The whole page."""
    state, words = headline(view)
    body = _BODY.render(view=view, state=state, words=words, shown=_SUMMARIES, refresh=REFRESH,
                        since=lambda text: _since(text, view.now), rest=_rest)
    return document(f"Pager: {words}", Markup(body), _STYLE, REFRESH)


def headline(view: View) -> tuple[str, str]:
    """The state (a name of COLOURS) and a sentence. Nothing open is good news only while all heartbeats are heard."""
    number = {"PAGE": 0, "TICKET": 0}
    for group in view.groups:
        number[group.kind] += len(group.alerts)
    told = [f"{count:,} {kind.lower()}{'s' if count > 1 else ''}" for kind, count in number.items() if count]
    if told:
        words = f"{' and '.join(told)} open" + (f" ({MOST:,} are kept)" if sum(number.values()) >= MOST else "")
        return "page" if number["PAGE"] else "ticket", words
    if not view.beats:
        return "blind", "Nothing is open, and no heartbeat has been received"
    if blind := [beat.fleet for beat, _, late, _ in view.beats if late]:
        return "blind", f"Nothing is open, and the heartbeat of {', '.join(blind)} is awaited"
    return "quiet", "Nothing is open, and every heartbeat is heard"


def _rest(one: Open) -> str:
    """The summary after the name of what it is about, with which most summaries begin."""
    rest = one.summary.removeprefix(one.where)
    return f": {rest}" if rest == one.summary != "" else rest


def _since(text: str, now: datetime) -> str:
    """A time of Alertmanager as a person reads it, with how long ago it was; as it is where it is no time."""
    try:
        then = datetime.fromisoformat(text).astimezone(now.tzinfo)
    except ValueError:
        return text
    minutes = max(0, (now - then) // timedelta(minutes=1))
    ago = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    return f"{then:%H:%M} ({ago})" if then.date() == now.date() else f"{then:%d %b %H:%M} ({ago})"
