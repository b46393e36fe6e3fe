"""The record: whether forecasts and chances have come true, on these servers."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecaster.memory.outcomes import CAME, COUNTED, DAYS, SAID
from forecaster.memory.pages import DAYS as PAGE_DAYS
from forecaster.memory.record import Proof
from forecaster.memory.scores import WANTED
from forecaster.pages import pages, words
from forecaster.pages.seen import Look, Seen
from serving.page.site import environment
from serving.page.view import Asked, Shown, View

WIDE, NARROW = 0.9, 0.7  # coverage beyond which a band is called too wide, too narrow
NEWEST = 20  # pages that are listed
SIDE = 300  # units of the reliability diagram
WORDS = {"30m": "30 minutes", "8h": "8 hours"}

_PARTS: Any = environment("forecaster.pages").get_template("record_parts.html").module


def view(look: Look) -> View:
    """The view at /ui/record."""
    return View("record", "/ui/record", "Record",
                "Whether forecasts and chances have come true.",
                lambda asked: show(look.seen(asked.viewer), asked), look.version,
                styles=("charts.css",))


def show(seen: Seen, _: Asked) -> Shown:
    """The record of all servers of this forecaster."""
    last = seen.last
    proof = last.proof if last is not None else None
    titles = [seen.signals[name].title or name for name in last.signals] if last is not None else []
    said = reliability(seen)
    fragments = {
        "rec-head": _PARTS.head(sentence(proof), seen.model),
        "rec-day": _PARTS.table("rec-day", "The last day", rows(proof, titles, recent=False), [*seen.horizons],
                                "From 6 hours and enough outcomes on.", words),
        "rec-hour": _PARTS.table("rec-hour", "The last hour", rows(proof, titles, recent=True), [*seen.horizons],
                                 "From 12 outcomes of a horizon on.", words),
        "rec-chances": _PARTS.reliability(said, DAYS, SIDE, words, seen.model.get("chances_problem")),
        "rec-pages": sent(seen),
    }
    return Shown(last.issued if last is not None else None, seen.ttl, {key: str(of) for key, of in fragments.items()})


def sent(seen: Seen) -> str:
    """The fragment of pages and how they turned out."""
    found = pages.of(seen)
    if found is None:
        why = "there is no forecaster yet" if seen.memory is None else "live.enabled is false"
        return str(_PARTS.pages([], [], PAGE_DAYS, seen.zone, words, why))
    episodes, weeks = found
    newest = pages.lines(episodes, pages.known(seen), NEWEST)
    tallies = pages.tallies(episodes, weeks, seen.watched is not None)
    return str(_PARTS.pages(tallies, newest, PAGE_DAYS, seen.zone, words, pages.limited() if np.isnan(weeks) else ""))


def sentence(proof: Proof | None) -> str:
    """Whether the bands hold."""
    if proof is None or not np.isfinite(proof.coverage).any():
        return "Not known yet: forecasts are compared with what comes"
    inside = float(np.nansum(proof.coverage * proof.outcomes) / proof.outcomes[np.isfinite(proof.coverage)].sum())
    said = "as they should" if NARROW <= inside <= WIDE else (
        "fewer than should" if inside < NARROW else "more than should")
    return f"{inside:.0%} of the outcomes lay between p10 and p90, {said} ({WANTED:.0%})"


def rows(proof: Proof | None, titles: list[str], recent: bool) -> list[tuple[str, list[dict[str, object]]]]:
    """(title, by horizon the coverage and loss in 0.., outcomes and a word) of signals with anything scored."""
    if proof is None:
        return []
    coverage, loss, outcomes = ((proof.recent_coverage, proof.recent_loss, proof.recent_outcomes) if recent else
                                (proof.coverage, proof.loss, proof.outcomes))
    found = []
    for c, title in enumerate(titles):
        if np.isfinite(coverage[c]).any():
            cells = [{"coverage": float(coverage[c, k]), "loss": float(loss[c, k]), "outcomes": float(outcomes[c, k]),
                      "word": word(float(coverage[c, k])), "widening": float(proof.widening[c, k])}
                     for k in range(coverage.shape[1])]
            found.append((title, cells))
    return found


def word(coverage: float) -> str:
    """What is wrong with a coverage, in a word."""
    return "narrow" if coverage < NARROW else "wide" if coverage > WIDE else ""


def reliability(seen: Seen) -> list[dict[str, object]]:
    """By window, the bins with anything counted: mean chance said, share that came, and how many."""
    kept = seen.memory.outcomes if seen.memory is not None and seen.whole else None
    if seen.memory is None or kept is None:
        return []
    with seen.memory.lock:
        total = kept.total().sum(1)
    found = []
    for window, of in zip(kept.windows, total, strict=True):
        bins = [{"counted": int(one[COUNTED]), "said": float(one[SAID] / one[COUNTED]),
                 "came": float(one[CAME] / one[COUNTED])} for one in of if one[COUNTED]]
        found.append({"window": WORDS.get(window, window), "key": window, "bins": bins,
                      "counted": int(of[:, COUNTED].sum()), "came": int(of[:, CAME].sum()),
                      "said": float(of[:, SAID].sum())})
    return found
