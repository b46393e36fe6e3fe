"""A backtest's report as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from forecaster.evaluation.scoring import HORIZONS, SPANS, Figures

_COLUMNS = [
    *(("wql at", label, f"wql_at_{label}") for label in HORIZONS),
    *(("wql to", label, f"wql_{label}") for label in SPANS),
    ("sql", "8h", "sql"),
    *(("inside", label, f"coverage80_{label}") for label in SPANS),
    *(("accuracy", label, f"accuracy_{label}") for label in SPANS),
]
_MEANS = {"wql 30m": "wql_mean_30m", "wql 8h": "wql_mean_8h", "sql": "sql_geo", "inside": "inside80",
          "cpu 30m": "cpu_wql_30m", "cpu 8h": "cpu_wql_8h"}


def table(report: Mapping[str, Any]) -> str:
    """The report as text: figures of every model by signal, then all models side by side."""
    lines = [
        f"{report['data']}: {report['windows']} windows of one server, 8 h each",
        "wql: weighted quantile loss, of one step or over all up to it; sql: loss over the day-ago error;",
        "inside: share within p10..p90, 0.8 is right; accuracy: 100 - MAPE of p50, – where the error is larger",
    ]
    for name, figures in report["models"].items():
        lines += ["", *_signals(name, figures), *_incidents(figures["incidents"])]
    return "\n".join([*lines, "", *_compared(report["models"])])


def _signals(name: str, figures: Figures) -> list[str]:
    if figures["left_to_heuristic"]:
        name += f" ({figures['left_to_heuristic']} of {figures['windows']} windows forecast by the heuristic)"
    heads = [f"{title:16}" + "".join(f"{c[k]:>9}" for c in _COLUMNS) for k, title in enumerate(("", "signal"))]
    rows = [f"{signal:16}" + "".join(_cell(key, row[key]) for *_, key in _COLUMNS)
            for signal, row in figures["signals"].items()]
    return [name, *heads, *rows]


def _cell(key: str, value: float) -> str:
    if key.startswith("accuracy"):
        return f"{value:9.2f}" if value > 0 else f"{'–':>9}"
    return f"{value:9.4f}"


def _incidents(found: Mapping[str, Any]) -> list[str]:
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


def _compared(models: Mapping[str, Figures]) -> list[str]:
    width = max(16, *(len(name) + 1 for name in models))
    lines = [f"{'means of signals':{width}}" + "".join(f"{head:>9}" for head in _MEANS)]
    for name, figures in models.items():
        lines.append(f"{name:{width}}" + "".join(f"{figures.get(key, math.nan):9.4f}" for key in _MEANS.values()))
    return lines


def to_json(report: Mapping[str, Any]) -> str:
    """The report as JSON; unknown figures (NaN) are null."""
    return json.dumps(_plain(report), indent=1, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
