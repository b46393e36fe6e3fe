"""A backtest's report as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from forecaster.evaluation.incidents import ANY
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

_CHANCES = {"base_rate": "base rate", "brier": "Brier", "skill": "skill", "auroc": "AUROC", "recall": "recall",
            "ece": "cal. err.", "begin": "begin"}


def table(report: Mapping[str, Any]) -> str:
    """The report as text: figures of every model by signal, then all models side by side."""
    lines = [
        f"{report['data']}: {report['windows']} windows of one server, 8 h each",
        "wql: weighted quantile loss, of one step or over all up to it; sql: loss over the day-ago error;",
        "inside: share within p10..p90, 0.8 is right; accuracy: 100 - MAPE of p50, – where the error is larger;",
        "recall: at a precision of 0.8; cal. err.: calibration error; begin: skill where it is not on at the origin",
    ]
    for name, figures in report["models"].items():
        lines += ["", *_signals(name, figures), *_alarms(figures["incidents"])]
    lines += ["", *_compared(report["models"])]
    if report.get("conditions"):
        lines += _chances(report)
    if "episodes" in report:
        lines += ["", *_episodes(report["episodes"])]
    return "\n".join(lines)


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


def _alarms(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, row in found.items():
        kind, _, span = key.rpartition("_")
        if "alarms" in row:
            lines.append(
                f"{kind}{' or worse' * (kind != 'P1')} against incidents within {span}: {row['alarms']} alarms, "
                f"{row['incidents']} incidents, precision {row['precision']:.3f}, recall {row['recall']:.3f}, lead "
                f"{row['lead_minutes']:.0f} min"
            )
    return lines


def _chances(report: Mapping[str, Any]) -> list[str]:
    """A block for each incident and window: every forecaster and rule; with several draws, means and spread."""
    models = report["models"]
    found = report["rules"] | {name: of["incidents"]["chances"] for name, of in models.items()}
    spread = report.get("draws", {}).get("spread", {})
    if not spread:  # of the weighted sums there is no spread
        found |= {f"{name}, weighted": {span: {ANY: row} for span in SPANS
                                        if (row := of["incidents"].get(f"weighted_{span}"))}
                  for name, of in models.items()}
    width, lines = max(22, *(len(name) + 1 for name in found)), list[str]()
    for span in SPANS:
        for incident in (ANY, *report["conditions"]):
            rows = {name: row for name, table in found.items() if (row := table.get(span, {}).get(incident))}
            if rows:
                of = {name: table.get(span, {}).get(incident, {}) for name, table in spread.items()}
                what = f"{incident} ({report['conditions'].get(incident, 'of these incidents')}) within {span}"
                what += ", counts of the first draw" if spread else ""
                lines += ["", *_block(what, rows, of, width)]
    return lines


def _block(what: str, rows: Mapping[str, Figures], spread: Mapping[str, Figures], width: int) -> list[str]:
    most = max(rows.values(), key=lambda row: row["windows"])
    head = (f"{what}: {most['windows']} windows, {most['incidents']} with an incident, on {most['servers']} servers; "
            f"{most['begin']['incidents']} begin")
    lines = [head, f"{'':{width}}" + "".join(f"{title:>10}" for title in _CHANCES.values())]
    for name, row in sorted(rows.items(), key=lambda item: -np.nan_to_num(item[1]["skill"], nan=-np.inf)):
        values = {key: row["begin"]["skill"] if key == "begin" else row[key] for key in _CHANCES}
        shown = {name: values}
        if of := spread.get(name):
            shown = {title: {key: of[key][place] for key in _CHANCES}
                     for place, title in enumerate((name, "  least of draws", "  most"))}
        lines += [f"{title:{width}}" + "".join(map(_number, of.values())) for title, of in shown.items()]
    return lines


def _number(value: float) -> str:
    return f"{value:10.4f}" if math.isfinite(value) else f"{'–':>10}"


def _episodes(found: Mapping[str, Any]) -> list[str]:
    heads = {"pages": 8, "a week": 9, "true": 8, "incidents": 11, "announced": 11, "minutes": 9, "noticed": 9}
    head = (f"pages of {found['model']}, {found['servers']} servers, {found['weeks']:.1f} weeks, every "
            f"{found['every_minutes']} minutes:")
    lines = [head, f"{'':22}" + "".join(f"{title:>{width}}" for title, width in heads.items())]
    for name, row in found["rules"].items():
        lines.append(f"{name:22}{row['pages']:8d}{row['pages_per_server_week']:9.3f}{row['true']:8.3f}"
                     f"{row['incidents']:11d}{row['announced']:11.3f}{row['lead_minutes']:9.0f}{row['noticed']:9.3f}")
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
