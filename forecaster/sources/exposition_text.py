"""Text formats to readings: a /metrics page, and an OpenMetrics file with past samples.

Only the lines of the signals' metrics are parsed. S servers, C signals, N instants; values float32 in signal units.
"""

import codecs
import io
import os
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from forecaster.limits import Limits
from forecaster.readings import Labels, Reading, Readings, SourceNonsense, milliseconds
from forecaster.sources.bounds import Bounds
from forecaster.sources.naming import Named, Roster
from forecaster.sources.notes import Notes

LOOKBACK = 300.0  # s; as Prometheus, which does not show older samples either
OLD = "samples with a time stamp older than five minutes are left out"
UNREADABLE = "lines that are not in Prometheus' text format are left out"
NO_SAMPLE = "lines other than name{labels} value timestamp are left out"
TOO_LONG = "lines longer than limits.labels_length are left out"
TOO_MANY = "series of a metric beyond limits.series are left out"
_EXEMPLAR = re.compile(r" # \{[^{}]*\} \S+( \S+)?\s*$")


def page_reading(body: bytes, instant: float, metrics: Sequence[tuple[str, float]], signals: Mapping[str, Bounds],
                 labels: Labels, most: int = Limits().series) -> tuple[Reading, Notes]:
    """The reading (S, C) of a page, by (metric, scale) of each signal, of at most `most` series of a metric, and notes
    on what is left out of it.

    A line that cannot be used costs only itself. SourceNonsense where no line can be.
    """
    notes, left_out = Notes(), {}
    found: dict[str, tuple[list[dict[str, str]], list[float]]] = {metric: ([], []) for metric, _ in metrics}
    for sample, stamp in _page_samples(body, set(found), notes, labels.altogether, most):
        if stamp is not None and instant - stamp > LOOKBACK:
            notes.add(OLD, [f"{sample.name} of {sample.labels} is {instant - stamp:.0f} s old"], 1)
        else:
            found[sample.name][0].append(sample.labels)
            found[sample.name][1].append(sample.value)
    named = {metric: Named.of(given, labels) for metric, (given, _) in found.items()}
    numbers = []
    for metric, one in named.items():
        notes.join(one.notes, f"{metric}: ")
    for (signal, bounds), (metric, scale) in zip(signals.items(), metrics, strict=True):
        own, (given, values) = Notes(), found[metric]
        numbers.append(bounds.measured([value * scale for value in values], own, given.__getitem__))
        left_out[signal] = own.left_out + named[metric].notes.left_out
        notes.join(own, f"{signal}: ")
    roster = Roster.of([named[metric] for metric, _ in metrics], labels)
    if not roster.servers:
        opening = body[:100].decode("utf-8", "replace").strip()
        raise SourceNonsense("; ".join(notes.texts().values()) or
                             f"the page holds none of the metrics {', '.join(sorted(found))}; it begins with "
                             f"{opening!r}: check the address")
    return Reading(instant, roster.servers, roster.profiles, roster.values(numbers), left_out=left_out), notes


def bootstrap_readings(path: str | os.PathLike[str], start: float, end: float, interval: float,
                       metrics: Sequence[tuple[str, float]], signals: Mapping[str, Bounds],
                       labels: Labels, most: int = Limits().series) -> tuple[Readings, int, Notes]:
    """Samples of an OpenMetrics file within start..end, on the grid of `interval` seconds (N, S, C), their number, and
    notes on what is left out.

    The file is streamed; name and labels of each of at most `most` series are parsed once. A line that cannot be used
    costs only itself. SourceNonsense for a file that is cut off, or where no line can be used.
    """
    signal_of: dict[str, list[int]] = {}
    for c, (metric, _) in enumerate(metrics):
        signal_of.setdefault(metric, []).append(c)
    heads: dict[bytes, tuple[list[int], int] | None] = {}  # signals and series; None: not used
    series: list[dict[str, str]] = []
    profiles: dict[str, str] = {}
    notes = Notes()
    when, what, which, value = array("d"), array("q"), array("q"), array("d")
    line, usable = b"", False
    with open(path, "rb") as file:
        for number, line in enumerate(iter(partial(file.readline, 2 * labels.altogether), b""), 1):
            if line.startswith(b"#") or not line.strip():
                continue
            try:
                head, given, stamp = line.rsplit(b" ", 2)
                if head not in heads:
                    if len(series) >= most:
                        notes.add(TOO_MANY, [line[:100]], 1)
                        continue
                    heads[head] = _head(head, signal_of, series, labels, notes)
                found, instant, measured = heads[head], float(stamp), float(given)
                usable = usable or found is not None
                if found is None or not start <= instant <= end:
                    continue
                for c in found[0]:
                    when.append(instant)
                    what.append(c)
                    which.append(found[1])
                    value.append(measured * metrics[c][1])
            except (ValueError, SourceNonsense) as error:
                notes.add(NO_SAMPLE, [f"line {number}: {line[:100]!r} ({error})"], 1)
    if line.strip() != b"# EOF":
        raise SourceNonsense(f"{path}: does not end with '# EOF', so a part of it is missing: write it again")
    if not usable and notes.left_out:
        raise SourceNonsense(f"{path}: {'; '.join(notes.texts().values())}")
    servers = tuple(dict.fromkeys(one[labels.server] for one in series))
    row = {server: number for number, server in enumerate(servers)}
    for one in series:
        if profile := labels.profile_of(one):
            profiles[one[labels.server]] = profile
    step_ms = milliseconds("scrape_interval", interval)
    columns = np.round(np.frombuffer(when) * 1000).astype(np.int64) // step_ms
    slots, slot = np.unique(columns, return_inverse=True)
    signal, of, numbers = np.frombuffer(what, np.int64), np.frombuffer(which, np.int64), np.frombuffer(value)
    values = np.full((len(slots), len(servers), len(metrics)), np.nan, np.float32)
    rows, doubled = np.array([row[one[labels.server]] for one in series], np.int64), np.zeros(len(servers), bool)
    for c, bounds in enumerate(signals.values()):
        own = signal == c
        mine, place = np.unique(of[own], return_inverse=True)
        named = [series[n] for n in of[own]]
        each = np.full((len(slots), len(mine)), np.nan, np.float32)  # of several samples in a slot, the last
        each[slot[own], place] = bounds.measured(numbers[own], notes, named.__getitem__)
        np.fmax.at(values[:, :, c].T, rows[mine], each.T)  # of several series of a server, the largest
        several = np.zeros(values.shape[:2], np.int64)
        np.add.at(several.T, rows[mine], np.isfinite(each).T)
        doubled |= np.any(several > 1, axis=0)
    if doubled.any():
        notes.add(labels.doubled, (servers[n] for n in np.flatnonzero(doubled)), int(doubled.sum()), left_out=False)
    readings = Readings(slots * step_ms / 1000, servers, labels.profiles(servers, profiles), values)
    return readings, len(value), notes


def _page_samples(body: bytes, names: set[str], notes: Notes, longest: int,
                  most: int) -> Iterator[tuple[Sample, float | None]]:
    """The samples of a page whose metric is one of `names`, each with its time stamp (Unix s), if it has one; at most
    `most` of a metric, on lines of at most `longest` bytes."""
    openmetrics = body.rstrip().endswith(b"# EOF")
    second = 1000 if openmetrics else 1  # the parser takes stamps for milliseconds, as they are in the text format
    starts = tuple(opening + name.encode() for name in names for opening in (b"", b'{"'))
    lines, room = [], dict.fromkeys(names, most)
    for one in io.BytesIO(body.removeprefix(codecs.BOM_UTF8)):  # a list of all lines takes many times their bytes
        if one.startswith(starts):
            if len(one) > longest:
                notes.add(TOO_LONG, [one[:100]], 1)
                continue
            line = one.removesuffix(b"\n").decode("utf-8", "backslashreplace")
            name = line[2:].partition('"')[0] if line[0] == "{" else line.partition("{")[0].split(None, 1)[0]
            if name not in names:
                continue
            if room[name] <= 0:
                notes.add(TOO_MANY, [line[:100]], 1)
                continue
            room[name] -= 1
            lines.append(_EXEMPLAR.sub("", line) if openmetrics else line)
    try:
        samples = [*_samples("".join(f"{line}\n" for line in lines))]
    except SourceNonsense:  # one by one, to tell which
        samples = []
        for line in lines:
            try:
                samples += _samples(f"{line}\n")
            except SourceNonsense as error:
                notes.add(UNREADABLE, [f"{line[:100]!r} ({error.__cause__})"], 1)
    for sample in samples:
        if sample.name not in names:  # words between a name and its labels are part of the name to the parser
            notes.add(UNREADABLE, [sample.name[:100]], 1)
            continue
        yield sample, None if sample.timestamp is None else float(sample.timestamp) * second


def _samples(text: str) -> Iterator[Sample]:
    """The samples of these lines; without # TYPE lines the parser keeps their names."""
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                float(sample.value)  # of an integer of 400 digits there is none
                yield sample
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise SourceNonsense(f"not in Prometheus' text format: {error}") from error


def _head(head: bytes, signal_of: dict[str, list[int]], series: list[dict[str, str]], labels: Labels,
          notes: Notes) -> tuple[list[int], int] | None:
    """Signals and number of one series, which is added to `series`; None if no signal has its metric, or without a
    server."""
    text = head.decode("utf-8")
    if (name := text.partition("{")[0].strip()) not in signal_of:
        return None
    (sample,) = _samples(f"{text} 0\n")
    if (reason := labels.refusal(sample.labels)) is not None:
        notes.add(reason, [sample.labels], 1)
        return None
    series.append(sample.labels)
    return signal_of[name], len(series) - 1
