"""Risk stage: forecast percentiles in, points, priorities and incident probabilities out.

Letters: S servers, C signals, H horizon steps; the last axis of a forecast is p10, p50, p90.

Points come from the signals in the roles cpu, memory and latency within the next 30 minutes, incident probabilities
from all four roles (thresholds.py). Comparisons are strict: a value exactly on a threshold does not cross it.

    score       = min(100, cpu points + memory points + latency points), each by the largest p90 of 30 minutes
    probability = min(1, sum over roles of the weight of the level crossed by the largest p50 or p90)
    fleet       = mean of the servers' probabilities; its health follows the 30 minute one

Unknown values stay unknown: a signal without a forecast has NaN points and adds nothing; a server without any forecast
has a NaN score and no priority, and the fleet's mean leaves it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from forecaster.risk.incidents import Incidents
from forecaster.risk.known import largest, mean_known, named
from forecaster.risk.priority import priorities
from forecaster.risk.thresholds import RISK_WINDOW, ROLES, Health, Incident, Points, RiskConfig, Role
from forecaster.signals import STEP_MINUTES, steps_of

COMPONENTS = ROLES[:3]  # the roles that earn points, in the order of Risk.points
RISK_STEPS = steps_of(RISK_WINDOW)  # steps 1..6: points look at the same 30 minutes

_SHOWN = {"cpu": ("CPU", "{:.1f}%"), "memory": ("Memory", "{:.1f}%"), "latency": ("Latency", "{:.0f} ms")}
_P50, _P90 = 1, 2       # positions on a forecast's last axis


@dataclass(frozen=True, eq=False)
class Risk:
    """Risk of each server and of the fleet; NaN where unknown."""

    points: np.ndarray                   # float64 (S, 3) by COMPONENTS; 0 for a missing role, NaN without forecast
    score: np.ndarray                    # float64 (S,) 0..100, NaN without forecast
    priority: tuple[str | None, ...]     # S, "P1" | "P2" | "P3", None without forecast
    component: tuple[str | None, ...]    # S, the component with most points, None without points
    probability: dict[str, np.ndarray]   # window -> float64 (S,) 0..1, NaN without forecast
    fleet_probability: dict[str, float]  # window -> 0..1, NaN when no server has a forecast
    health: str                          # "healthy" | "warning" | "critical", "unknown" without any forecast
    high_risk: int                       # servers of priority P1
    worst: np.ndarray                    # float32 (S, 3) largest p90 of 30 minutes, in the signal's unit
    worst_step: np.ndarray               # int64 (S, 3) first 1-based step of that value, 0 for one that is now
    severe: dict[str, np.ndarray]        # window -> float64 (S,) calibrated chance of an incident, NaN where unknown
    severe_any: dict[str, float]         # window -> chance that any server has one, NaN where unknown
    by_points: np.ndarray                # bool (S,): P1 or P2, while no incident has a chance of p2_chance
    missing: tuple[str, ...]             # roles whose signal is not forecast
    incidents: Incidents | None = None   # the configured incidents
    by: str = "score"                    # what decides the priority: "score" or "chance"
    limits: Health = field(default_factory=Health)  # of the fleet's health

    def only(self, rows: np.ndarray) -> "Risk":
        """That of the servers at these rows, int64 (N,), as a fleet of their own."""
        kept = rows.tolist()
        priority = tuple(self.priority[row] for row in kept)
        probability = {window: chance[rows] for window, chance in self.probability.items()}
        fleet = {window: mean_known(chance) for window, chance in probability.items()}
        incidents = self.incidents.only(rows) if self.incidents is not None else None
        any_server = incidents.any_server() if incidents is not None else {}
        high_risk = priority.count("P1")
        return replace(
            self, points=self.points[rows], score=self.score[rows], priority=priority, probability=probability,
            component=tuple(self.component[row] for row in kept), fleet_probability=fleet, high_risk=high_risk,
            health=_health(fleet[RISK_WINDOW], self.limits, high_risk), worst=self.worst[rows],
            worst_step=self.worst_step[rows], severe={window: of[rows] for window, of in self.severe.items()},
            severe_any={window: any_server.get(window, float("nan")) for window in self.severe_any},
            by_points=self.by_points[rows], incidents=incidents)

    def message(self, server: int) -> str:
        """One sentence for an on-call person about the server at this index."""
        if self.priority[server] is None:
            return (self.incidents and self.incidents.message(server)) or "No forecast"
        incident = self.incidents.message(server) if self.incidents is not None else ""
        component = self.component[server]
        if self.incidents is not None and self.by == "chance":
            return incident or self.incidents.nothing(server)
        if component is None:
            return incident or f"No threshold predicted to be crossed within {RISK_STEPS * STEP_MINUTES} minutes"
        position = COMPONENTS.index(component)
        name, form = _SHOWN[component]
        value, minutes = form.format(self.worst[server, position]), self.worst_step[server, position] * STEP_MINUTES
        said = f"{name} predicted to reach {value} in {minutes} minutes" if minutes else f"{name} at {value} now"
        if self.by_points[server]:  # or it would contradict the chance
            incident = incident or self.chance(server)
            said += f"{' (p90)' if minutes else ''}, risk score {self.score[server]:.0f}"
        return f"{said}{incident and '; '}{incident}"

    def chance(self, *servers: int) -> str:
        """What is said of the chance of an incident of servers of one priority, within the window of that."""
        window, words = ("30m", "30 minutes") if self.priority[servers[0]] == "P1" else ("8h", "8 hours")
        largest = np.fmax.reduce(self.severe[window][list(servers)]) if window in self.severe else np.nan
        if np.isnan(largest):
            return "no calibrated chance"
        return f"chance of an incident within {words} {largest:.0%}{' at most' if len(servers) > 1 else ''}"


def assess(values: np.ndarray, signals: Sequence[str], config: RiskConfig,
           severe: Mapping[str, np.ndarray] | None = None, severe_any: Mapping[str, float] | None = None,
           incidents: Incidents | None = None, by_model: np.ndarray | None = None) -> Risk:
    """Risk of a forecast: values float32 (S, C, H, 3) in signal units, `signals` the C names.

    severe, severe_any: chances of any incident by window, of each server and of any server, where known. incidents: of
    the same forecast. by_model: bool (S, C), the signals that a model forecasts, None for all. The trend's band is no
    forecast of trouble, so that of the other signals only the value now counts, the trend's first p50.
    """
    unknown = np.full(len(values), np.nan)
    chances = {window: (severe or {}).get(window, unknown) for window in config.incident}
    any_server = {window: (severe_any or {}).get(window, float("nan")) for window in config.incident}
    columns = {role: signals.index(name) for role in ROLES if (name := getattr(config.roles, role)) in signals}
    trend = np.zeros(values.shape[:2], bool) if by_model is None else ~by_model
    if trend.any():
        values = values.copy()
        values[trend] = values[trend][:, :1, _P50, None]
    worst, worst_step = _worst(values, columns)
    for position, role in enumerate(COMPONENTS):
        if role in columns:
            worst_step[trend[:, columns[role]], position] = 0
    points = _points(worst, columns, config.points)
    scored = ~np.isnan(worst).all(axis=1)
    score = np.where(scored, np.minimum(100.0, np.nansum(points, axis=1)), np.nan)
    by = config.priorities.by or ("score" if all(role in columns for role in COMPONENTS) else "chance")
    if incidents is None:
        by = "score"
    priority = incidents.priority if incidents is not None and by == "chance" else priorities(score, config.priorities)
    ranked, limit = np.array(priority, object), config.priorities.p2_chance
    unlikely = ~(chances[RISK_WINDOW] >= limit), ~(chances.get("8h", unknown) >= limit)
    by_points = (by == "score") & ((ranked == "P1") & unlikely[0] | (ranked == "P2") & unlikely[1])
    earned = np.nan_to_num(points)
    component = named(COMPONENTS, np.where(earned.any(axis=1), earned.argmax(axis=1), -1))
    probability = {window: chances[window] if config.method == "calibrated" and window in (severe or {}) else
                   _probability(values[:, :, :steps_of(window)], columns, incident)
                   for window, incident in config.incident.items()}
    fleet = {window: mean_known(chances) for window, chances in probability.items()}
    high_risk = priority.count("P1")
    return Risk(points=points, score=score, priority=priority, component=component, probability=probability,
                fleet_probability=fleet, health=_health(fleet[RISK_WINDOW], config.health, high_risk),
                high_risk=high_risk, worst=worst, worst_step=worst_step,
                severe=chances, severe_any=any_server, by_points=by_points,
                missing=tuple(role for role in ROLES if role not in columns), incidents=incidents, by=by,
                limits=config.health)


def _worst(values: np.ndarray, columns: Mapping[Role, int]) -> tuple[np.ndarray, np.ndarray]:
    """Largest p90 of the risk steps float32 (S, 3), its first step int64 (S, 3); NaN and 0 without forecast."""
    worst = np.full((len(values), len(COMPONENTS)), np.nan, np.float32)
    step = np.zeros(worst.shape, np.int64)
    for position, role in enumerate(COMPONENTS):
        if role in columns:
            p90 = values[:, columns[role], :RISK_STEPS, _P90]
            worst[:, position] = np.fmax.reduce(p90, axis=1)
            first = np.where(np.isnan(p90), -np.inf, p90).argmax(axis=1) + 1
            step[:, position] = np.where(np.isnan(worst[:, position]), 0, first)
    return worst, step


def _points(worst: np.ndarray, columns: Mapping[Role, int], bands: Points) -> np.ndarray:
    """float64 (S, 3): points of the highest band crossed by each component."""
    points = np.zeros(worst.shape)
    for position, role in enumerate(COMPONENTS):
        if role in columns:
            for band in reversed(getattr(bands, role)):
                points[worst[:, position] > band.above, position] = band.points
            points[np.isnan(worst[:, position]), position] = np.nan
    return points


def _probability(values: np.ndarray, columns: Mapping[Role, int], incident: Incident) -> np.ndarray:
    """float64 (S,): weights of the levels crossed, summed over roles, at most 1; values (S, C, steps of the window,
    3)."""
    total, known = np.zeros(len(values)), np.zeros(len(values), bool)
    peaks = largest(values[:, [*columns.values()], :, _P50:], axis=2)  # (S, roles, 2)
    for role, (p50, p90) in zip(columns, peaks.transpose(1, 2, 0), strict=True):
        levels = incident.overrides.get(role, incident)
        severe, moderate = ((p50 > level.p50) | (p90 > level.p90) for level in (levels.severe, levels.moderate))
        total += np.where(severe, levels.severe.weight, np.where(moderate, levels.moderate.weight, 0.0))
        known |= ~np.isnan(p50) & ~np.isnan(p90)
    # rounded, since sums of decimal weights are not exact in binary and thresholds are
    return np.where(known, np.minimum(1.0, total.round(12)), np.nan)


def _health(probability: float, limits: Health, high_risk: int) -> str:
    """At least "warning" while a server is P1: a mean over a large fleet does not show one server."""
    if probability > limits.critical:
        return "critical"
    if probability > limits.warning or high_risk:
        return "warning"
    return "unknown" if np.isnan(probability) else "healthy"
