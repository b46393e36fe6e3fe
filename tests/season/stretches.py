"""Stretches of time: (from, until) pairs in seconds, `until` infinite while one lasts."""

from collections.abc import Iterable, Sequence

Stretch = tuple[float, float]


def union(*lists: Iterable[Stretch]) -> list[Stretch]:
    """All moments of any of these, as stretches in order that do not touch."""
    joined: list[Stretch] = []
    for begin, end in sorted(one for stretches in lists for one in stretches):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def overlap(stretches: Sequence[Stretch], begin: float, end: float) -> list[Stretch]:
    """The parts of these inside begin .. end."""
    return [(max(a, begin), min(b, end)) for a, b in stretches if a < end and b > begin]


def without(stretches: Sequence[Stretch], hidden: Sequence[Stretch]) -> list[Stretch]:
    """The parts of these outside the hidden ones."""
    left = []
    for begin, end in stretches:
        for a, b in overlap(union(hidden), begin, end):
            left.append((begin, a))
            begin = b
        left.append((begin, end))
    return [one for one in left if one[0] < one[1]]


def covered(stretches: Sequence[Stretch], begin: float, end: float) -> bool:
    """Whether every moment of begin .. end is in one of them."""
    return any(a <= begin and end <= b for a, b in union(stretches))


def length(stretches: Sequence[Stretch]) -> float:
    """Their time together; they do not overlap."""
    return sum(b - a for a, b in stretches)
