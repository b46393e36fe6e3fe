"""Small Results for tests, made by the real risk stage, and the web application that serves them."""

from zoneinfo import ZoneInfo

import numpy as np

from forecaster.board import Board
from forecaster.memory.episodes import RULES, TURNED
from forecaster.memory.record import Proof
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.result import Result
from forecaster.risk.incidents import Incidents
from forecaster.risk.known import named
from forecaster.risk.priority import PRIORITIES, by_chance, ranks
from forecaster.risk.recurring import Recurring
from forecaster.risk.score import assess
from forecaster.risk.state import by_risk
from forecaster.risk.thresholds import RiskConfig
from serving.web import Service, create_app

ISSUED = 1_760_000_000.0
SIGNALS = ("cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms", "error_rate")
HORIZONS = {"5m": 1, "30m": 6, "1h": 12, "4h": 48, "8h": 96}
WINDOWS = {"30m": 6, "8h": 96}
DESCRIBED = {"cpu_pct": ("CPU utilization", "percent"), "latency_ms": ("Request latency", "milliseconds")}


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, now: float = ISSUED):
        self.now = now

    def __call__(self) -> float:
        return self.now


def curves(servers: int, signals: int = len(SIGNALS), base: float = 10.0) -> np.ndarray:
    """float32 (S, C, 96, 3): rising with server, signal, step and percentile; none crosses a threshold."""
    s, c, k, q = np.ogrid[:servers, :signals, 1:97, :3]
    return (base + 7 * s + 3 * c + 0.125 * k + q).astype(np.float32)


def make_result(servers=("ppdb001", "ppdb002", "ppweb001"), profiles=("database", "database", "web_api"),
                signals=SIGNALS, issued=ISSUED, step=300.0, forecast=None, stale=(), samples=None,
                method=None, last_seen=None, observed=None, proven=True, horizons=HORIZONS, windows=WINDOWS,
                unforecast=None, incidents=None, by=None, any_server=0.5, optional=(), state=None,
                pending=None) -> Result:
    """A Result of these servers; `stale` names those that are, unknown to the risk stage as in a cycle. `unforecast`
    are further servers that are not forecast, with the reason; `pending` has since when and until when of those whose
    P1 or P2 has only begun, in seconds from `issued`, by name. Without `incidents` every server has a chance of 0.25 of
    any, with them that of theirs."""
    count = len(servers)
    forecast = curves(count, len(signals)) if forecast is None else np.array(forecast, np.float32)
    is_stale = np.array([server in stale for server in servers], dtype=bool)
    masked = np.where(is_stale[:, None, None, None], np.float32(np.nan), forecast)
    known = np.where(is_stale, np.nan, 0.25)
    levels = RiskConfig().incident
    config = RiskConfig(priorities={"by": by},
                        incident={window: levels.get(window, levels["30m"]) for window in windows})
    severe = {window: known if incidents is None or window not in incidents.chance else incidents.any(window)
              for window in windows}
    risk = assess(masked, signals, config, severe, any_server if isinstance(any_server, dict) else
                  dict.fromkeys(windows, any_server), incidents)
    figures = np.full((len(signals), len(horizons)), 0.8)
    proof = Proof(coverage=figures, loss=figures - 0.3, outcomes=figures * 1000, widening=figures + 0.2,
                  recent_coverage=figures - 0.1, recent_loss=figures, recent_outcomes=figures * 60)
    return Result(
        issued=issued, step=step, servers=tuple(servers), profiles=tuple(profiles), signals=tuple(signals),
        observed=forecast[:, :, 0, 1] - 1 if observed is None else np.array(observed, np.float32),
        trend=np.full((count, len(signals)), 0.125, np.float32), forecast=forecast,
        method=tuple(method or ["tft"] * count), risk=risk,
        samples=np.array(samples or [150] * count), required=150,
        last_seen=np.array(last_seen or [issued - 5.0] * count), stale=is_stale,
        state=np.array(by_risk(risk, config.priorities) if state is None else state),
        pending=issued + np.array([(pending or {}).get(server, (np.nan, np.nan)) for server in servers]).reshape(-1, 2),
        proof=proof if proven else None,
        pages=np.arange(len(RULES) * len(TURNED)).reshape(len(RULES), -1) if proven else None,
        unforecast=dict(sorted({**dict.fromkeys(stale, "stale"), **(unforecast or {})}.items())),
        optional=frozenset(optional))


def incidents_of(servers=3, on=(), chance=None, begins=None, recurring=(0, 0), conditions=None) -> Incidents:
    """The default incidents of so many servers, all known and none on.

    on: (server, incident) pairs. chance: within 30 minutes and 8 hours, of such a pair; elsewhere 0.01 and 0.04, or
    unknown where it is NaN. begins: seconds after ISSUED, of a pair. recurring: days on and held, of those in `begins`.
    """
    conditions = RiskConfig().conditions(SIGNALS) if conditions is None else conditions
    shape, zone = (servers, len(conditions)), ZoneInfo("UTC")
    chances = {"30m": np.full(shape, 0.01), "8h": np.full(shape, 0.04)}
    for place, both in (chance or {}).items():
        for window, value in zip(chances, both, strict=True):
            chances[window][place] = value
    expected, is_on, step = np.full(shape, np.nan), np.zeros(shape, bool), np.zeros(shape, np.int64)
    for place in on:
        is_on[place] = True
    for place, seconds in (begins or {}).items():
        expected[place], step[place] = np.nan if is_on[place] else ISSUED + seconds, seconds // 300
    days, held = (np.where(step > 0, of, 0) for of in recurring)
    limits = tuple(f"{'above' if one.sign > 0 else 'below'} {one.sign * one.limit:g}" for one in conditions.values())
    before = Recurring(step, days, held, limits)
    usual = np.zeros(shape, bool)
    of = tuple(conditions.values()), is_on, chances, usual, usual, before.ratio, RiskConfig().priorities
    rank, leading = by_chance(*of)
    known = np.ones(shape, bool)
    return Incidents(
        names=tuple(conditions), conditions=tuple(conditions.values()), known=known, on=is_on, chance=chances,
        expected=expected, days=np.zeros(shape, np.int64), recurring=before, priority=named(PRIORITIES, rank),
        ranks=np.where(is_on | np.isfinite(chances["30m"]), ranks(*of), -1), leading=leading,
        matters=np.ones(shape, bool),
        texts=tuple(f"{one.signal} {limit}" for one, limit in zip(conditions.values(), limits, strict=True)), zone=zone)


def board_with(result: Result | None, ttl: float = 120.0) -> Board:
    board = Board(ttl)
    if result is not None:
        board.publish(result)
    return board


def app_of(*blueprints):
    """The application with the service's common pages and JSON errors."""
    return create_app(Service("forecaster", "Forecasts for tests."), *blueprints)


def page(collector: ForecastCollector) -> bytes:
    """The collector's text as a scrape without compression gets it."""
    return b"".join(part.text for part in collector.exposition())
