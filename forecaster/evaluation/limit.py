"""`backtest --oracle`: forecasts of simulated fleets compared with the best possible forecast (oracle.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exporter.profiles import METRICS, FleetConfig
from forecaster.config import ForecasterConfig
from forecaster.evaluation import oracle, scoring
from forecaster.evaluation.backtest import Forecaster
from forecaster.evaluation.scoring import Figures, Floats
from forecaster.evaluation.windows import Windows
from forecaster.training.dataset import DatasetError, Progress
from forecaster.training.simulation import SCENARIO_DAYS, backtest_fleet, simulate_fleet

CORE = ("cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms")  # the ratios' mean is over these
WARM_DAYS = 1.0  # before the first origin
LEAST_ROLLOUTS = 10  # below, p10 and p90 are single rollouts
LENGTHS = (3, 12)  # encoder steps to compare with the full encoder
STRANGER = "never-seen-{}"


def gather(
    config: ForecasterConfig, fleet: FleetConfig, seed: int, fleets: int, days: float, origins: int, rollouts: int,
    progress: Progress,
) -> tuple[list[Windows], Floats, dict[str, Floats]]:
    """(windows of every fleet, the oracle's quantiles (N, C, 96, 3), its incident probabilities (N,) by span) at
    ``origins`` instants of each fleet, for all its servers. Raises DatasetError for numbers too small."""
    if days <= WARM_DAYS + 1 or rollouts < LEAST_ROLLOUTS or origins < 1:
        raise DatasetError(f"--oracle needs --days above {WARM_DAYS + 1:g}, --rollouts from {LEAST_ROLLOUTS} and "
                           f"--origins from 1; found {days:g}, {rollouts} and {origins}")
    columns, severe = _columns(config, METRICS), dict(config.risk.severe)
    cuts, best = [], []
    chances: dict[str, list[Floats]] = {label: [] for label in scoring.SPANS}
    for i in progress(range(fleets)):
        one, start = backtest_fleet(fleet, i, days, seed)
        history = simulate_fleet(one, start, days, config.step)
        place = []
        for instant in oracle.origins(start, days, origins, WARM_DAYS, seed + i):
            futures = oracle.rollouts(one, instant, rollouts, SCENARIO_DAYS, seed + i)
            best.append(oracle.quantiles(futures))
            for label, steps in scoring.SPANS.items():
                chances[label].append(oracle.chances(futures, columns, severe, steps))
            now = round((instant - start) / history.resolution)
            place += [(server, now) for server in range(len(history.servers))]
        cuts.append(Windows(history, np.array(place, np.int64), history.stride(config.step)))
    return cuts, np.concatenate(best), {label: np.concatenate(part) for label, part in chances.items()}


def _columns(config: ForecasterConfig, signals: Sequence[str]) -> dict[str, int]:
    return {role: list(signals).index(name) for role, name in config.risk.roles if role in dict(config.risk.severe)}


def compare(
    forecasters: Sequence[Forecaster], cuts: Sequence[Windows], best: Floats, chances: Mapping[str, Floats],
    config: ForecasterConfig,
) -> dict[str, Figures]:
    """Figures of the oracle and of every forecaster; of models also with short encoders, as forecasts of unknown
    servers, and of their calibrated incident probabilities."""
    truth = np.concatenate([cut.truth() for cut in cuts])
    signals = list(cuts[0].history.signals)
    columns, severe = _columns(config, signals), dict(config.risk.severe)

    def judged(forecast: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
        return {
            label: scoring.probability_figures(p, np.isfinite(scoring.crossing(truth, columns, severe, steps)))
            for label, steps in scoring.SPANS.items() if (p := forecast.get(label)) is not None
        }

    def found(forecaster: Forecaster, **changes: Any) -> Figures:
        return scoring.figures(_run(forecaster, cuts, **changes), truth, None, signals)

    out = {"oracle": scoring.figures(best, truth, None, signals) | {"chances": judged(chances)}}
    for one in forecasters:
        row = out[one.name] = found(one)
        row |= {"chances": judged(one.chances), "ratio": ratios(row, out["oracle"])}
        if one.is_model:
            row["encoder"] = {str(steps): ratios(found(one, steps=steps), out["oracle"]) for steps in LENGTHS}
            row["stranger"] = ratios(found(one, stranger=True), row)
    return out


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
    lines += ["", "chance of an incident   base rate   Brier   skill   AUROC   calibration error"]
    for name, row in report.items():
        lines += [
            f"{name + ', ' + label:24}{of['base_rate']:9.4f}{of['brier']:8.4f}{of['skill']:8.3f}{of['auroc']:8.3f}"
            f"{of['ece']:20.4f}"
            for label, of in row["chances"].items()
        ]
    return "\n".join(lines)
