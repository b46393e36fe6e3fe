"""Chances of incidents of every forecaster beside those of rules, on the same windows, and their spread over draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from forecaster.evaluation import boosted, chances, incidents
from forecaster.evaluation.backtest import Forecaster, said_of
from forecaster.evaluation.boosted import Boosted
from forecaster.evaluation.incidents import Wide
from forecaster.evaluation.scoring import Figures
from forecaster.evaluation.windows import Windows
from forecaster.risk.conditions import Condition
from forecaster.signals import STEP_MINUTES
from forecaster.training.dataset import Progress


def compare(
    forecasters: Sequence[Forecaster], measured: Mapping[str, Figures], parts_of: Callable[[int], Sequence[Windows]],
    draws: int, trained: Boosted | None, progress: Callable[[str], Progress],
) -> dict[str, Any]:
    """{"conditions": {incident: words}, "rules": {rule: ``incidents.figures``}} of the first draw, and with several
    "draws": {"count", "spread": {forecaster or rule: ``incidents.spread``}}; empty without incidents.

    measured: the forecasters' figures of the first draw. parts_of: the windows of a draw. """
    conditions, found = forecasters[0].conditions, []
    if not conditions:
        return {}
    for draw in range(draws):
        parts = parts_of(draw)
        came = incidents.outcomes(parts, conditions)
        said: dict[str, Mapping[str, Wide]] = {**chances.of_rules(parts, conditions)}
        if trained:
            said[boosted.NAME] = trained.chances(parts, progress(boosted.NAME))
        rules = [*said]
        if draw:
            said |= {one.name: said_of(one, parts, progress(one.name)).chance for one in forecasters}
        rows = {name: incidents.figures(chance, came) for name, chance in said.items()}
        found.append(rows if draw else rows | {name: of["incidents"]["chances"] for name, of in measured.items()})
    out: dict[str, Any] = {"conditions": {name: in_words(one) for name, one in conditions.items()},
                           "rules": {name: found[0][name] for name in rules}}
    if draws > 1:
        out["draws"] = {"count": draws, "spread": {
            name: incidents.spread([rows[name] for rows in found]) for name in found[0]}}
    return out


def in_words(one: Condition) -> str:
    """Such as "cpu_pct above 95 for 5m"."""
    return (f"{one.signal} {'above' if one.sign > 0 else 'below'} {one.sign * one.limit:g} "
            f"for {one.steps * STEP_MINUTES}m")
