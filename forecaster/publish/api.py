"""The forecaster's JSON: forecasts, alerts and status, keyed by signal names.

    GET /predictions/current   every live server's curves, alerts, fleet risk; ?server=<name>, repeatable
    GET /alerts                servers with a risk or an incident, most urgent first
    GET /status                warm-up, incidents, unforecast servers, model, source, ages and errors; always 200

The first two answer 503 and the reason where there is no current forecast.
Values are in signal units, rounded as in values.py; null where unknown.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from flask import Blueprint, Response, request

from forecaster.board import Board
from forecaster.capacity.outlook import Outlook
from forecaster.models.unforecast import REASONS
from forecaster.publish.alerts import alerts, environment, pending
from forecaster.publish.result import PERCENTILES, Result
from forecaster.publish.values import iso, number, numbers
from forecaster.risk.state import State, counts, of_fleet
from forecaster.risk.thresholds import Roles
from serving.shown import cut
from serving.web import RequestError

SHOWN = 50  # names in a list of /status and of the landing page


def api_blueprint(board: Board[Result], roles: Roles, more: Callable[[], Mapping[str, Any]],
                  clock: Callable[[], float] = time.time, capacity: Board[Outlook] | None = None) -> Blueprint:
    """The three endpoints over the board's latest Result.

    `more` returns further keys of /status: model and source (dicts), errors (stage -> message or None), and others.
    `roles` names the signals of cpu, mem and latency in an alert; `capacity` has what fills up, for the alerts.
    """
    blueprint = Blueprint("api", __name__)
    rendered = _Predictions()

    @blueprint.get("/predictions/current")
    def predictions() -> Response:
        """All curves, alerts and the fleet's risk, as JSON; `?server=NAME`, repeatable, selects servers."""
        now = clock()
        result = current(board, now)
        servers = _asked_for(result, request.args.getlist("server"), now)
        asked = set(servers)
        found = alerts(result, roles, capacity.current(now) if capacity else None)
        alerts_shown = [alert for alert in found if alert["server_name"] in asked]
        parts = {"predictions": rendered.of(result, servers), "alerts": _json(alerts_shown),
                 "environment": _json(environment(result)),
                 "metadata": _json({**metadata(result, board.ttl, now), "model": more().get("model")})}
        return _answer("{" + ",".join(f'"{key}":{text}' for key, text in parts.items()) + "}\n")

    @blueprint.get("/alerts")
    def list_alerts() -> Response:
        """Servers of P1 or P2, with a score above 0, with an incident that is on or possible, or with something that
        fills up as P1 or P2, most urgent first, each with message, driving component, incidents and what of it fills up
        first, as JSON."""
        now = clock()
        result = current(board, now)
        found = alerts(result, roles, capacity.current(now) if capacity else None)
        body = {"alerts": found, "metadata": metadata(result, board.ttl, now)}
        return _answer(_json(body) + "\n")

    @blueprint.get("/status")
    def status() -> Response:
        """Warm-up per server, incidents, servers without forecasts and missing signals, model, source, what fills up,
        ages and errors, as JSON."""
        return _answer(_json({**state(board, clock()), **more()}) + "\n")

    return blueprint


def current(board: Board[Result], now: float) -> Result:
    """The current Result; RequestError 503 saying why where there is none."""
    result = board.current(now)
    if result is not None:
        return result
    last = board.last
    if last is None:
        raise RequestError("there is no forecast yet", "forecast",
                           "a forecast after the first cycle; see /status", 503)
    raise RequestError(f"the latest forecast is {last.age(now):.0f} s old and no longer shown", "forecast",
                       f"one of at most {board.ttl:.0f} s; /status shows which stage fails", 503,
                       issued=iso(last.issued), age_seconds=number(last.age(now)))


def _asked_for(result: Result, names: list[str], now: float) -> list[str]:
    """The servers to answer with: those named, else all live ones. RequestError: 404 unknown, 503 stale."""
    if not names:
        return [name for name, live in zip(result.servers, result.live, strict=True) if live]
    known = {name: position for position, name in enumerate(result.servers)}
    missing = [name for name in names if name not in known]
    for name in missing:
        if reason := result.unforecast.get(name):
            raise RequestError(f"{name} is not forecast: {reason}, {REASONS[reason]}", "server",
                               "a server that is forecast", 503)
    if missing:
        raise RequestError(f"there is no server {cut(', '.join(map(repr, missing)))}", "server",
                           f"a server of /status, such as {min(known, default='')!r}", 404)
    for name in names:
        if result.stale[known[name]]:
            seen = _seen(result, known[name], now)
            raise RequestError(f"{name} is stale and not forecast: last seen {seen['last_seen'] or 'never'}", "server",
                               "a server that still sends samples", 503, **seen)
    return list(dict.fromkeys(names))


class _Predictions:
    """The JSON text of each server's curves, rendered on demand and kept until the next Result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: dict[Result, dict[str, str]] = {}  # of one cycle: all servers', and those of tenants

    def of(self, result: Result, servers: Iterable[str]) -> str:
        """{"<server>": {"<signal>": {"p10": [H], "p50": [H], "p90": [H], "current": , "trend": }}}"""
        with self._lock:
            if result not in self._texts:
                self._texts = {of: kept for of, kept in self._texts.items() if of.issued == result.issued}
            texts = self._texts.setdefault(result, {})
            missing = [name for name in servers if name not in texts]
            if missing:
                positions = {name: position for position, name in enumerate(result.servers)}
                for name in missing:
                    texts[name] = f"{json.dumps(name)}:{_json(_curves(result, positions[name]))}"
            return "{" + ",".join([texts[name] for name in servers]) + "}"


def _curves(result: Result, server: int) -> dict[str, dict[str, Any]]:
    """One server's signals; trend is the change per step."""
    curves = numbers(result.forecast[server].transpose(0, 2, 1))  # (C, 3, H)
    observed, trend = numbers(result.observed[server]), numbers(result.trend[server])
    return {signal: {**dict(zip(PERCENTILES, curves[c], strict=True)), "current": observed[c], "trend": trend[c]}
            for c, signal in enumerate(result.signals)}


def metadata(result: Result, ttl: float, now: float) -> dict[str, Any]:
    """When and how the forecast was made, the signals that live servers lack, and the servers that it leaves out."""
    live = [s for s, stale in enumerate(result.stale) if not stale]
    states = {name: State(state).word for name, state in zip(result.servers, result.state.tolist(), strict=True)}
    return {**_times(result, ttl, now), "state": states, "step_seconds": result.step, "steps": result.horizon,
            "percentiles": list(PERCENTILES), "method": {result.servers[s]: result.method[s] for s in live},
            "missing_signals": missing_signals(result), "stale": _stale(result, now), "unforecast": result.unforecast}


def missing_signals(result: Result) -> dict[str, list[str]]:
    """Server -> the signals without a forecast, of live servers that lack some."""
    missing = result.missing
    return {result.servers[s]: [result.signals[c] for c in np.flatnonzero(missing[s])]
            for s in np.flatnonzero(missing.any(axis=1)).tolist()}


def first(names: Iterable[str]) -> list[str]:
    """At most SHOWN of the names, then how many more there are."""
    listed = list(names)
    more = len(listed) - SHOWN
    return [*listed[:SHOWN], f"and {more} more"] if more > 0 else listed


def state(board: Board[Result], now: float) -> dict[str, Any]:
    """The board's part of /status: forecast (its ages), warmup, servers, state, incidents, priorities."""
    last = board.last
    if last is None:
        return {"forecast": {"current": False, "reason": "no cycle has succeeded yet"},
                "warmup": warmup(None), "servers": {"total": 0, "stale": 0, "stale_servers": {}, "seen": 0,
                                                    "unforecast": {}, "missing_signals": {}},
                "state": {"fleet": State.BLIND.word, "servers": {}, "pending": {}}, "incidents": {},
                "priorities": {"by": None}}
    forecast = {"current": board.current(now) is last, **_times(last, board.ttl, now)}
    if not forecast["current"]:
        forecast["reason"] = "the latest forecast is older than ttl_seconds"
    return {"forecast": forecast, "warmup": warmup(last), "servers": servers(last, now),
            "state": states(last, board.current(now) is last), "incidents": incidents(last),
            "priorities": {"by": last.risk.by}}


def states(result: Result, shown: bool) -> dict[str, Any]:
    """The fleet's state, the number of servers in each, and how many have a P1 or P2 that has only begun; all BLIND
    where the forecast is not shown any more."""
    state = result.state if shown else np.full_like(result.state, State.BLIND)
    return {"fleet": of_fleet(state).word, "servers": counts(state), "pending": pending(result) if shown else {}}


def incidents(result: Result) -> dict[str, dict[str, Any]]:
    """The configured incidents by name: condition, severity, and the number of servers that it is meant for and have a
    value (servers), of which its chance is known, and where it is on."""
    found = result.risk.incidents
    if found is None:
        return {}
    counts = (of.sum(axis=0).tolist() for of in (found.known, np.isfinite(found.chance["30m"]), found.on))
    return {name: {"signal": one.signal, "limit": limit, "for_seconds": number(one.lasting), "severity": one.severity,
                   "servers": servers, "chance_known": known, "on": on}
            for name, one, limit, servers, known, on in zip(found.names, found.conditions, found.recurring.limits,
                                                            *counts, strict=True)}


def servers(result: Result, now: float) -> dict[str, Any]:
    """Known servers (total), those and the ones that are up (seen), and what is not forecast: counts, and at most SHOWN
    names of each reason and of each missing signal."""
    lacking = [(signal, name) for name, signals in missing_signals(result).items() for signal in signals]
    return {"total": len(result.servers), "stale": int(result.stale.sum()), "stale_servers": _stale(result, now),
            "seen": len({*result.servers, *result.unforecast}),
            "unforecast": _by_word((reason, name) for name, reason in result.unforecast.items()),
            "missing_signals": _by_word(lacking)}


def _by_word(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """word -> number of servers, and the first of their names; of (word, server)."""
    found: dict[str, list[str]] = {}
    for word, name in pairs:
        found.setdefault(word, []).append(name)
    return {word: {"servers": len(names), "names": first(names)} for word, names in sorted(found.items())}


def warmup(result: Result | None) -> dict[str, Any]:
    """How many samples the live servers have of those the model needs: the fewest of any server."""
    if result is None:
        return {"is_warmed_up": False, "progress_percent": 0, "current_size": 0, "required_size": None,
                "message": "No server has been seen yet", "servers": {}}
    servers = dict(zip(result.servers, result.samples.tolist(), strict=True))
    if not result.live.any():
        return {"is_warmed_up": False, "progress_percent": 0, "current_size": 0,
                "required_size": result.required, "message": "No server sends samples", "servers": servers}
    samples, required = result.samples[result.live], result.required
    size, waiting = min(int(samples.min()), required), int((samples < required).sum())
    trending = sum(m != "tft" for m, live in zip(result.method, result.live, strict=True) if live)
    if waiting:
        message = f"Model warming up: {size}/{required} samples, {waiting} of {samples.size} servers not ready"
    elif trending:
        message = f"Warm; the trend heuristic forecasts {trending} of {samples.size} servers"
    else:
        message = "Model ready for predictions"
    return {"is_warmed_up": not waiting, "progress_percent": 100 * size // required if required else 100,
            "current_size": size, "required_size": required, "message": message, "servers": servers}


def _times(result: Result, ttl: float, now: float) -> dict[str, Any]:
    return {"issued": iso(result.issued), "issued_unix": result.issued,
            "age_seconds": number(result.age(now)), "ttl_seconds": ttl}


def _stale(result: Result, now: float) -> dict[str, dict[str, Any]]:
    return {result.servers[s]: _seen(result, s, now) for s in np.flatnonzero(result.stale).tolist()}


def _seen(result: Result, server: int, now: float) -> dict[str, Any]:
    seen = float(result.last_seen[server])
    ago = None if math.isnan(seen) else number(max(0.0, now - seen))
    return {"last_seen": iso(seen), "last_seen_seconds_ago": ago}


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=str)


def _answer(body: str) -> Response:
    return Response(body, mimetype="application/json", headers={"Cache-Control": "no-store"})
