"""The report of `backtest --capacity` as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from forecaster.evaluation.capacity.proof import BEST, PRODUCT
from forecaster.evaluation.scoring import Figures

AFTER, WITHIN = ("1d", "36h", "3d", "7d"), ("24h", "7d")
PAGES = {"P1": "P1", "P2": "P2", "P3": "P3", "node-mixin warning": "warning", "node-mixin critical": "critical"}


def table(report: Mapping[str, Any]) -> str:
    """Forecasts, alerts, and both by pattern, of a Prometheus by resource."""
    forecasts = report["forecasts"]
    first = forecasts[PRODUCT]
    lines = [
        f"{report['data']}: {report['entities']} entities, {report['hours'] / 168:.1f} weeks",
        "loss: mean pinball loss, in thousandths of the size; over oracle: over the best possible forecast's;",
        "inside: share within p10..p90, 0.8 is right; skill: of the chance of full within, over the base rate;",
        "date: median error of the date of full, of fills within 7 days",
        "",
        _row(f"{first['windows']} windows", [
            *(f"loss {d}" for d in AFTER), *(f"inside {d}" for d in AFTER), *(f"skill {w}" for w in WITHIN), "date, h",
            "date, %"]),
    ]
    lines += [_row(name, [
        *(_number(1000 * row["loss"][d], 2) for d in AFTER), *(_number(row["inside"][d]) for d in AFTER),
        *(_number(row["skill"][w]) for w in WITHIN), _number(row["date"]["median_hours"], 1),
        _number(100 * row["date"]["median_ratio"], 1)]) for name, row in forecasts.items()]
    if BEST in forecasts:
        lines += ["", _row("loss over oracle", AFTER)]
        lines += [_row(name, [_number(row["loss"][d] / forecasts[BEST]["loss"][d]) for d in AFTER])
                  for name, row in forecasts.items()]
    lines += ["", *_alerts(report["alerts"])]
    if report["patterns"]:
        lines += ["", *_patterns(report["patterns"], BEST in forecasts)]
    return "\n".join(lines)


def _alerts(alerts: Mapping[str, Figures]) -> list[str]:
    one = next(iter(alerts.values()))
    return [
        f"{one['fills']} fills, of which the course of {one['foreseeable']} allowed 4 h of notice",
        "precision: true of true and false; recall: of those fills, the share with an alert at least 4 h before",
        _row("alerts", ["alerts", "true", "prevented", "false", "precision", "recall", "lead, h"]),
        *(_row(name, [*(str(row[key]) for key in ("alerts", "true", "prevented", "false")), _number(row["precision"]),
                      _number(row["recall"]), _number(row["lead_hours"], 1)]) for name, row in alerts.items()),
    ]


def _patterns(patterns: Mapping[str, Any], oracle: bool) -> list[str]:
    lines = [
        "by pattern: loss over oracle, share inside" if oracle else "by resource: loss, share inside",
        "fills: all, with a course that allowed notice, with notice by P2; alerts: all, false",
        _row("", ["entities", *(f"loss {d}" for d in AFTER), *(f"inside {d}" for d in AFTER), "fills",
                  *PAGES.values()]),
    ]
    for name, of in patterns.items():
        own, limit = (of["forecasts"].get(who) for who in (PRODUCT, BEST))
        page = of["alerts"]["P2"]
        lines.append(_row(name, [
            str(of["entities"]),
            *(_number(own["loss"][d] / limit["loss"][d]) if limit else _number(1000 * own["loss"][d], 2)
              for d in AFTER),
            *(_number(own["inside"][d]) for d in AFTER), f"{page['fills']}, {page['foreseeable']}, {page['noticed']}",
            *(f"{row['alerts']}, {row['false']}" for row in (of["alerts"][name] for name in PAGES))]))
    return lines


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:20}" + "".join(f"{cell:>12}" for cell in cells)


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"
