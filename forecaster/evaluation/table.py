"""A backtest's figures as text for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from forecaster.evaluation.scoring import HORIZONS, SPANS


def table(report: Mapping) -> str:
    """The report as text: figures of every model by signal, then all models side by side."""
    lines = [
        f"{report['data']}: {report['windows']} windows of one server, 8 h each",
        "wql: weighted quantile loss, of one step or over all up to it; sql: loss over the day-ago error;",
        "inside: share within p10..p90, 0.8 is right; accuracy: 100 - MAPE of p50, – where the error is larger",
    ]
    for name, figures in report["models"].items():
        lines += ["", *_signals(name, figures), *_incidents(figures["incidents"])]
    return "\n".join([*lines, "", *_compared(report["models"])])


def _signals(name: str, figures: Mapping) -> list[str]:
    if figures["left_to_heuristic"]:
        name += f" ({figures['left_to_heuristic']} of {figures['windows']} windows left to the heuristic)"
    heads = (
        [("wql at", label) for label in HORIZONS]
        + [("wql to", label) for label in SPANS]
        + [("sql", "8h")]
        + [("inside", label) for label in SPANS]
        + [("accuracy", label) for label in SPANS]
    )
    lines = [name, *(f"{title:16}" + "".join(f"{head[k]:>9}" for head in heads) for k, title in enumerate(("", "signal")))]
    for signal, row in figures["signals"].items():
        cells = [row[f"wql_at_{label}"] for label in HORIZONS] + [row[f"wql_{label}"] for label in SPANS] + [row["sql"]]
        cells += [row[f"coverage80_{label}"] for label in SPANS]
        accuracies = [row[f"accuracy_{label}"] for label in SPANS]
        lines.append(f"{signal:16}" + "".join(f"{x:9.4f}" for x in cells) + "".join(f"{x:9.2f}" if x > 0 else f"{'–':>9}" for x in accuracies))
    return lines


def _incidents(found: Mapping) -> list[str]:
    lines = []
    for key, row in found.items():
        kind, _, span = key.rpartition("_")
        if "brier" in row:
            lines.append(
                f"incident within {span}, {kind}: base rate {row['base_rate']:.4f}, Brier {row['brier']:.4f}, skill "
                f"{row['skill']:.3f}, AUROC {row['auroc']:.3f}, calibration error {row['ece']:.4f}"
            )
        elif "alarms" in row:
            lines.append(
                f"{kind}{' or worse' * (kind != 'P1')} against incidents within {span}: {row['alarms']} alarms, "
                f"{row['incidents']} incidents, precision {row['precision']:.3f}, recall {row['recall']:.3f}, lead "
                f"{row['lead_minutes']:.0f} min"
            )
    return lines


def _compared(models: Mapping) -> list[str]:
    heads = {
        "wql 30m": "wql_mean_30m", "wql 8h": "wql_mean_8h", "sql": "sql_geo", "inside": "inside80",
        "cpu 30m": "cpu_wql_30m", "cpu 8h": "cpu_wql_8h",
    }  # fmt: skip
    width = max(16, *(len(name) + 1 for name in models))
    lines = [f"{'means of signals':{width}}" + "".join(f"{head:>9}" for head in heads)]
    for name, figures in models.items():
        lines.append(f"{name:{width}}" + "".join(f"{figures.get(key, math.nan):9.4f}" for key in heads.values()))
    return lines


def to_json(report: Mapping) -> str:
    """The report as JSON; what is not known (NaN) is null."""
    return json.dumps(_plain(report), indent=1, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
