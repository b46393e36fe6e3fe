"""`backtest --oracle`: forecasts of simulated fleets against the best that anyone could have made (oracle.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from forecaster.config import ForecasterConfig
from forecaster.evaluation import oracle, scoring
from forecaster.evaluation.backtest import Forecaster, Windows
from forecaster.training.dataset import DAY, SCENARIO_DAYS, scheduled, simulate_fleet

CORE = ("cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms")  # the ratios' mean is over these
WARM_DAYS = 1.0  # before the first origin
LENGTHS = (3, 12)  # encoder steps to compare with all there is
STRANGER = "never-seen-{}"


def gather(
    config: ForecasterConfig, fleet_file: Path | None, seed: int, fleets: int, days: float, origins: int, rollouts: int,
    end: float, progress: Callable,
) -> tuple[list[Windows], np.ndarray, dict[str, np.ndarray]]:
    """(windows of every fleet, the oracle's quantiles (N, C, 96, 3), its chances of a crossing (N,) by span) at ``origins``
    instants of each fleet, for all its servers."""
    from exporter.profiles import METRICS, load_fleet

    columns = _columns(config, METRICS)
    cuts, best, chances = [], [], {label: [] for label in scoring.SPANS}
    for i in progress(range(fleets)):
        start = end - days * DAY - i * 41 * DAY
        fleet = scheduled(load_fleet(fleet_file).model_copy(update={"seed": seed + i}), start, days, SCENARIO_DAYS, seed + i)
        history = simulate_fleet(fleet, start, days, config.step)
        stride, place = round(config.step / history.resolution), []
        for instant in oracle.origins(start, days, origins, WARM_DAYS, seed + i):
            futures = oracle.rollouts(fleet, instant, rollouts, SCENARIO_DAYS, seed + i)
            best.append(oracle.quantiles(futures))
            for label, steps in scoring.SPANS.items():
                chances[label].append(oracle.chances(futures, columns, dict(config.risk.severe), steps))
            now = round((instant - start) / history.resolution)
            place += [(server, now) for server in range(len(history.servers))]
        cuts.append(Windows(history, np.array(place, np.int64), stride))
    return cuts, np.concatenate(best), {label: np.concatenate(part) for label, part in chances.items()}


def _columns(config: ForecasterConfig, signals: Sequence[str]) -> dict[str, int]:
    return {role: list(signals).index(name) for role, name in config.risk.roles if role in dict(config.risk.severe)}


def compare(
    forecasters: Sequence[Forecaster], cuts: Sequence[Windows], best: np.ndarray, chances: Mapping[str, np.ndarray],
    config: ForecasterConfig,
) -> dict[str, dict]:
    """Figures of the oracle and of every forecaster; models also with short encoders and as strangers' forecasts, and where
    they are calibrated the figures of their chances of an incident."""
    truth = np.concatenate([cut.truth() for cut in cuts])
    signals = list(cuts[0].history.signals)
    columns = _columns(config, signals)
    came = {label: np.isfinite(scoring.crossing(truth, columns, dict(config.risk.severe), steps)) for label, steps in scoring.SPANS.items()}

    def judged(said: Mapping[str, np.ndarray]) -> dict[str, dict]:
        return {label: scoring.probability_figures(said[label], came[label]) for label in said}

    out = {"oracle": scoring.figures(best, truth, None, signals) | {"chances": judged(chances)}}
    for forecaster in forecasters:
        found = scoring.figures(_run(forecaster, cuts), truth, None, signals)
        found["chances"] = judged(forecaster.chances)
        found["ratio"] = ratios(found, out["oracle"])
        if forecaster.is_model:
            found["encoder"] = {
                str(steps): ratios(scoring.figures(_run(forecaster, cuts, steps), truth, None, signals), out["oracle"])
                for steps in LENGTHS
            }
            found["stranger"] = ratios(
                scoring.figures(_run(forecaster, cuts, stranger=True), truth, None, signals), found
            )
        out[forecaster.name] = found
    return out


def ratios(found: dict, limit: dict) -> dict[str, float]:
    """Weighted quantile loss over the limit's, mean over CORE, for every span."""
    return {
        label: float(np.mean([found["signals"][s][f"wql_{label}"] / limit["signals"][s][f"wql_{label}"] for s in CORE]))
        for label in scoring.SPANS
    }


def _run(forecaster: Forecaster, cuts: Sequence[Windows], steps: int | None = None, stranger: bool = False) -> np.ndarray:
    parts = []
    for cut in cuts:
        servers = len(cut.history.servers)
        for begin in range(0, len(cut), 8 * servers):
            rows = slice(begin, begin + 8 * servers)
            context, (names, profiles) = cut.context(rows), cut.names(rows)
            if steps is not None:
                context[..., :-steps] = np.nan
            if stranger:
                names = tuple(STRANGER.format(name) for name in names)
            parts.append(forecaster.forecast(context, cut.instants(rows), names, profiles, cut.earlier(rows)))
    return np.concatenate(parts)


def table(report: dict[str, dict], windows: int) -> str:
    """What people read."""
    lines = [f"{windows} windows of simulated servers no model was trained on; loss over the oracle's, mean of {len(CORE)} signals", ""]
    lines.append(f"{'':16}{'30m':>8}{'8h':>8}{'cover 30m':>11}{'cover 8h':>10}{'cpu acc 30m':>13}{'cpu acc 8h':>12}")
    for name, row in report.items():
        ratio = row.get("ratio", {"30m": 1.0, "8h": 1.0})
        cpu = row["signals"]["cpu_pct"]
        cover = {s: np.mean([row["signals"][c][f"coverage80_{s}"] for c in CORE]) for s in scoring.SPANS}
        lines.append(
            f"{name:16}{ratio['30m']:8.3f}{ratio['8h']:8.3f}{cover['30m']:11.3f}{cover['8h']:10.3f}"
            f"{cpu['accuracy_30m']:13.2f}{cpu['accuracy_8h']:12.2f}"
        )
        for steps, short in row.get("encoder", {}).items():
            lines.append(f"  {steps + ' steps':14}{short['30m']:8.3f}{short['8h']:8.3f}")
        if "stranger" in row:
            lines.append(f"  {'stranger/known':14}{row['stranger']['30m']:8.3f}{row['stranger']['8h']:8.3f}")
    lines += ["", "chance of an incident   base rate   Brier   skill   AUROC   calibration error"]
    for name, row in report.items():
        for label, of in row.get("chances", {}).items():
            lines.append(
                f"{name + ', ' + label:24}{of['base_rate']:9.4f}{of['brier']:8.4f}{of['skill']:8.3f}{of['auroc']:8.3f}{of['ece']:20.4f}"
            )
    return "\n".join(lines)


