"""`backtest --oracle`: forecasts of simulated fleets compared with the best possible forecast (oracle.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporter.profiles import METRICS, FleetConfig
from forecaster.config import ForecasterConfig
from forecaster.evaluation import incidents, leads, oracle, scoring
from forecaster.evaluation.backtest import Forecaster
from forecaster.evaluation.incidents import Wide
from forecaster.evaluation.leads import Events
from forecaster.evaluation.scoring import Figures, Floats
from forecaster.evaluation.windows import Windows
from forecaster.training.dataset import DatasetError, Progress
from forecaster.training.simulation import SCENARIO_DAYS, backtest_fleet, simulate_fleet

CORE = ("cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms")  # the ratios' mean is over these
WARM_DAYS = 1.0  # before the first origin
LEAST_ROLLOUTS = 10  # below, p10 and p90 are single rollouts
LENGTHS = (3, 12)  # encoder steps to compare with the full encoder
STRANGER = "never-seen-{}"


@dataclass(frozen=True)
class Best:
    """The oracle's answers to the windows of several fleets."""

    cuts: list[Windows]
    quantiles: Floats  # (N, C, 96, 3)
    chances: dict[str, Wide]  # by window (N, I + 1): of each incident, then of any
    events: list[Events]  # incidents followed from before they begin


def gather(
    config: ForecasterConfig, fleet: FleetConfig, seed: int, fleets: int, days: float, origins: int, rollouts: int,
    progress: Progress,
) -> Best:
    """At ``origins`` instants of each fleet, for all its servers, and before as many incidents. Raises DatasetError for
    numbers too small."""
    if days <= WARM_DAYS + 1 or rollouts < LEAST_ROLLOUTS or origins < 1:
        raise DatasetError(f"--oracle needs --days above {WARM_DAYS + 1:g}, --rollouts from {LEAST_ROLLOUTS} and "
                           f"--origins from 1; found {days:g}, {rollouts} and {origins}")
    conditions = incidents.conditions_of(config.risk.conditions(METRICS), METRICS)
    before = max([one.steps for one in conditions.values()], default=1)
    cuts, best, events = [], [], []
    chances: dict[str, list[Wide]] = {label: [] for label in scoring.SPANS}
    for i in progress(range(fleets)):
        one, start = backtest_fleet(fleet, i, days, seed)
        history = simulate_fleet(one, start, days, config.step)
        stride, servers, place = history.stride(config.step), len(history.servers), list[tuple[int, int]]()
        for instant in oracle.origins(start, days, origins, WARM_DAYS, seed + i):
            futures = oracle.rollouts(one, instant, rollouts, SCENARIO_DAYS, seed + i)
            best.append(oracle.quantiles(futures))
            now = [(server, round((instant - start) / history.resolution)) for server in range(servers)]
            past = Windows(history, np.array(now, np.int64), stride).context(slice(None), before)
            for label, steps in scoring.SPANS.items() if conditions else ():
                chances[label].append(oracle.chances(futures, past, history.signals, conditions, steps))
            place += now
        cuts.append(Windows(history, np.array(place, np.int64), stride))
        if conditions:
            events.append(leads.gather(one, history, stride, conditions, scoring.DAY, origins, rollouts, seed + i))
    return Best(cuts, np.concatenate(best), {label: np.concatenate(part) for label, part in chances.items() if part},
                [one for one in events if one])


def compare(forecasters: Sequence[Forecaster], best: Best, config: ForecasterConfig) -> dict[str, Figures]:
    """Figures of the oracle and of every forecaster; of models also with short encoders, as forecasts of unknown
    servers. "chances" are those of any incident, "incidents" those of each, "events" as from ``leads.compare``."""
    truth = np.concatenate([cut.truth() for cut in best.cuts])
    signals = list(best.cuts[0].history.signals)
    came = incidents.outcomes(best.cuts, forecasters[0].conditions)
    events = leads.compare(forecasters, best.events, config.risk.priorities.p1_chance)

    def found(forecaster: Forecaster, **changes: Any) -> Figures:
        made = scoring.figures(_run(forecaster, best.cuts, **changes), truth, None, signals)
        said = forecaster.said()
        return made if changes or said is None else made | _chances(incidents.figures(said.chance, came))

    own = {label: incidents.figures({label: chance[:, :-1]}, came)[label] | {
        incidents.ANY: incidents.of_any(label, chance[:, -1], came)} for label, chance in best.chances.items()}
    out = {"oracle": scoring.figures(best.quantiles, truth, None, signals) | _chances(own)}
    for one in forecasters:
        row = out[one.name] = found(one)
        row["ratio"] = ratios(row, out["oracle"])
        if one.is_model:
            row["encoder"] = {str(steps): ratios(found(one, steps=steps), out["oracle"]) for steps in LENGTHS}
            row["stranger"] = ratios(found(one, stranger=True), row)
    for name, lead in events.items():
        out[name]["events"] = lead
    return out


def _chances(table: Mapping[str, Mapping[str, Figures]]) -> Figures:
    return {"chances": {label: rows[incidents.ANY] for label, rows in table.items()},
            "incidents": {label: {name: row for name, row in rows.items() if name != incidents.ANY}
                          for label, rows in table.items()}}


def ratios(found: Figures, limit: Figures) -> dict[str, float]:
    """Weighted quantile loss over the limit's, mean over CORE, for every span."""
    return {
        label: float(np.mean([found["signals"][s][f"wql_{label}"] / limit["signals"][s][f"wql_{label}"] for s in CORE]))
        for label in scoring.SPANS
    }


def _run(forecaster: Forecaster, cuts: Sequence[Windows], steps: int | None = None, stranger: bool = False) -> Floats:
    """All forecasts, with an encoder of ``steps``, or with server names that no model knows."""
    parts = []
    for cut in cuts:
        for rows in cut.batches(8 * len(cut.history.servers)):
            context, (names, profiles) = cut.context(rows), cut.names(rows)
            if steps is not None:
                context[..., :-steps] = np.nan
            if stranger:
                names = tuple(STRANGER.format(name) for name in names)
            parts.append(forecaster.forecast(context, cut.instants(rows), names, profiles, cut.earlier(rows)))
    return np.concatenate(parts)


def table(report: Mapping[str, Figures], windows: int) -> str:
    """The report as text."""
    lines = [f"{windows} windows of simulated servers unseen in training; loss over the oracle's, {len(CORE)} signals",
             "", f"{'':16}{'30m':>8}{'8h':>8}{'cover 30m':>11}{'cover 8h':>10}{'cpu acc 30m':>13}{'cpu acc 8h':>12}"]
    for name, row in report.items():
        ratio = row.get("ratio", {"30m": 1.0, "8h": 1.0})
        cpu = row["signals"]["cpu_pct"]
        cover = {s: np.mean([row["signals"][c][f"coverage80_{s}"] for c in CORE]) for s in scoring.SPANS}
        lines.append(f"{name:16}{ratio['30m']:8.3f}{ratio['8h']:8.3f}{cover['30m']:11.3f}{cover['8h']:10.3f}"
                     f"{cpu['accuracy_30m']:13.2f}{cpu['accuracy_8h']:12.2f}")
        more = {f"{steps} steps": short for steps, short in row.get("encoder", {}).items()}
        if "stranger" in row:
            more["stranger/known"] = row["stranger"]
        lines += [f"  {head:14}{short['30m']:8.3f}{short['8h']:8.3f}" for head, short in more.items()]
    lines += ["", "chance of any incident  base rate   Brier   skill   AUROC   calibration error"]
    for name, row in report.items():
        lines += [
            f"{name + ', ' + label:24}{of['base_rate']:9.4f}{of['brier']:8.4f}{of['skill']:8.3f}{of['auroc']:8.3f}"
            f"{of['ece']:20.4f}"
            for label, of in row.get("chances", {}).items()
        ]
    followed = {name: row["events"] for name, row in report.items() if "events" in row}
    if followed:
        lines += ["", f"P1 before {followed['oracle']['events']} incidents    announced   lead, minutes"]
        lines += [f"{name:24}{of['announced']:15.3f}{of['lead_minutes']:16.1f}" for name, of in followed.items()]
    return "\n".join(lines)
