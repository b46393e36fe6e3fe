"""The exporter's page for people: the simulated fleet now, the scenario in force, and buttons that set another one.

Fragments (serving.page.view): the state of the fleet, the buttons, and the rows of three tables: profiles, mounts,
servers.
"""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import orjson
from flask import request
from numpy.typing import NDArray

from exporter.live import LiveFleet, View
from exporter.physics import Floats
from exporter.profiles import METRICS, STATES
from serving.page.site import environment
from serving.page.view import Shown
from serving.page.view import View as Page

_BY_TROUBLE = ("healthy", "morning_spike", "recovering", "heavy_load", "degraded", "critical")
_SERVERS = 50  # that have a row: the affected, then those that are not healthy
_HUES = {"healthy": "SAFE", "degraded": "LIKELY", "critical": "ACT NOW"}  # of page.css, for states; others: WATCH
_NAMED = 20  # affected servers that are named
_TTL = 30.0  # seconds after which what a page shows is old


def fleet_page(live: LiveFleet, version: str) -> Page:
    """The page at `/`; version: the exporter's."""
    pages = environment("exporter")
    pages.globals.update(figure=figure, hues=_HUES)
    parts = pages.get_template("exporter_parts.html").module

    def more(shown: Shown, query: Mapping[str, str]) -> Mapping[str, object]:
        view = live.view()
        columns = [(name, view.units[name]) for name in METRICS]
        return {"command": _command(view), "version": version, "columns": columns}

    return Page("exporter", "/", "Simulated fleet", "The fleet now, and buttons that set a scenario.",
                lambda asked: _Rendering(parts, live).shown(), live.version, more=more, scripts=("scenario.js",),
                styles=("exporter.css",))


class _Rendering:
    """The fragments of the fleet as it is now."""

    def __init__(self, parts: object, live: LiveFleet):
        self._parts, self._view, self._mounted = parts, live.view(), live.mounts()
        self._fragments: dict[str, str] = {}
        self._lists: dict[str, list[str]] = {name: [] for name in ("profiles", "mounts", "servers")}

    def shown(self) -> Shown:
        """All of it."""
        view = self._view
        values, state = view.snapshot.values, view.snapshot.state
        profiles = np.array(view.profiles)
        for profile in dict.fromkeys(view.profiles):
            of = profiles == profile
            self._row("profiles", profile, int(of.sum()), _states(state[of]), values[of].mean(axis=0))
        for mount, share, fullest, size in _mounts(*self._mounted):
            self._row("mounts", mount, len(share), share.mean(), fullest, share.max(), size)
        for index in _worst(view):
            self._row("servers", view.servers[index], view.profiles[index], STATES[state[index]],
                      bool(view.affected[index]), values[index])
        now = datetime.fromtimestamp(view.snapshot.instant).astimezone()
        since = view.in_force_from
        begins = None if since is None else datetime.fromtimestamp(since, now.tzinfo)
        affected = view.affected_servers
        names = ", ".join(affected[:_NAMED]) + ", ..." * (len(affected) > _NAMED)
        self._put("fleet", "fleet", view, now, begins, len(affected), names, _states(state))
        self._put("scenarios", "scenarios", view)
        self._put("servers-note", "servers_note", len(self._lists["servers"]), len(view.servers))
        return Shown(now.timestamp(), _TTL, self._fragments, self._lists)

    def _row(self, name: str, of: str, *given: object) -> None:
        key = f"{name}-{of}"
        self._put(key, f"{name}_row", key, of, *given)
        self._lists[name].append(key)

    def _put(self, key: str, macro: str, *given: object) -> None:
        self._fragments[key] = str(getattr(self._parts, macro)(*given)).strip()


def figure(value: float) -> str:
    """A number with as many digits as a person reads."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.3f}"


def _states(state: NDArray[np.int8]) -> str:
    """How many servers are in which state, in words, the worst first."""
    number = dict(zip(STATES, np.bincount(state, minlength=len(STATES)).tolist(), strict=True))
    return ", ".join(f"{number[name]} {name}" for name in reversed(_BY_TROUBLE) if number[name])


def _worst(view: View) -> Sequence[int]:
    """The servers that have a row, by name within their state."""
    trouble = np.array([_BY_TROUBLE.index(name) for name in STATES])[view.snapshot.state]
    order = np.argsort(-(view.affected * len(STATES) + trouble), kind="stable")
    return [int(index) for index in order[:_SERVERS]]


def _mounts(entities: Sequence[tuple[str, str, str]], used: Floats, size: Floats
            ) -> list[tuple[str, Floats, str, float]]:
    """(mountpoint, used shares 0 to 1, the server where it is fullest, size in bytes in all) of each mountpoint."""
    points, share = np.array([mount for _, _, mount in entities]), used / size
    found = []
    for mount in dict.fromkeys(points.tolist()):
        of = np.flatnonzero(points == mount)
        found.append((mount, share[of], entities[of[share[of].argmax()]][0], float(size[of].sum())))
    return found


def _command(view: View) -> str:
    """The command that sets a scenario from a terminal."""
    name = next((name for name in view.scenarios if name != view.scenario), view.scenario)
    given = request.authorization
    login = f" -u {shlex.quote(given.username or '')}" if given is not None and given.type == "basic" else (
        " -H 'Authorization: Bearer TOKEN'" if given is not None else "")
    return (f"curl{login} -X POST {shlex.quote(request.host_url + 'scenario/set')} "
            f"-H 'Content-Type: application/json' -d {shlex.quote(orjson.dumps({'scenario': name}).decode())}")
