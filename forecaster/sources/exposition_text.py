"""Text formats to readings: a /metrics page, and an OpenMetrics file with past samples.

Only the lines of the signals' metrics are parsed. S servers, C signals, N instants; values float32 in signal units.
"""

import os
from array import array
from collections.abc import Iterator, Sequence

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from forecaster.readings import Labels, Reading, Readings, SourceNonsense, milliseconds, numbers32


def page_reading(body: bytes, instant: float, metrics: Sequence[tuple[str, float]], signals: Sequence[str],
                 labels: Labels) -> Reading:
    """The reading (S, C) of a page, by (metric, scale) of each signal; SourceNonsense if it has none of the metrics."""
    names = {metric for metric, _ in metrics}
    found: dict[str, dict[str, tuple[dict[str, str], float]]] = {name: {} for name in names}
    profiles: dict[str, str] = {}
    for sample in _samples(_wanted(body, names)):
        what = f"metric {sample.name}"
        server = labels.server_of(what, sample.labels)
        if server in found[sample.name]:
            raise labels.ambiguous(what, server, found[sample.name][server][0], sample.labels)
        found[sample.name][server] = sample.labels, sample.value
        if profile := labels.profile_of(sample.labels):
            profiles.setdefault(server, profile)
    servers = tuple(sorted(set().union(*found.values())))
    if not servers:
        opening = body[:100].decode("utf-8", "replace").strip()
        raise SourceNonsense(f"the page holds none of the metrics {', '.join(sorted(names))}; it begins with "
                             f"{opening!r}: check the address")
    row = {server: number for number, server in enumerate(servers)}
    values = np.full((len(servers), len(signals)), np.nan, np.float32)
    for c, (metric, scale) in enumerate(metrics):
        given = found[metric]
        scaled = numbers32([value * scale for _, value in given.values()])
        values[[row[server] for server in given], c] = scaled
    return Reading(instant, servers, labels.profiles(servers, profiles), values)


def bootstrap_readings(path: str | os.PathLike[str], start: float, end: float, interval: float,
                       metrics: Sequence[tuple[str, float]], labels: Labels) -> tuple[Readings, int]:
    """Samples of an OpenMetrics file within start..end, on the grid of `interval` seconds (N, S, C), and their number.

    The file is streamed; name and labels of each series are parsed once. SourceNonsense names file and line.
    """
    signal_of: dict[str, list[int]] = {}
    for c, (metric, _) in enumerate(metrics):
        signal_of.setdefault(metric, []).append(c)
    heads: dict[bytes, tuple[list[int], int] | None] = {}  # signals and server; None: the metric of no signal
    rows: dict[str, int] = {}
    profiles: dict[str, str] = {}
    when, what, who, value = array("d"), array("q"), array("q"), array("d")
    line = b""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.startswith(b"#") or not line.strip():
                continue
            try:
                head, given, stamp = line.rsplit(b" ", 2)
                if head not in heads:
                    heads[head] = _head(head, signal_of, rows, profiles, labels)
                place, instant = heads[head], float(stamp)
                if place is None or not start <= instant <= end:
                    continue
                for c in place[0]:
                    when.append(instant)
                    what.append(c)
                    who.append(place[1])
                    value.append(float(given) * metrics[c][1])
            except (ValueError, SourceNonsense) as error:
                raise SourceNonsense(f"{path}, line {number}: expected name{{labels}} value timestamp, found "
                                     f"{line[:200]!r}: {error}") from error
    if line.strip() != b"# EOF":
        raise SourceNonsense(f"{path}: does not end with '# EOF', so a part of it is missing: write it again")
    step_ms = milliseconds("scrape_interval", interval)
    columns = np.round(np.frombuffer(when) * 1000).astype(np.int64) // step_ms
    slots, slot = np.unique(columns, return_inverse=True)
    values = np.full((len(slots), len(rows), len(metrics)), np.nan, np.float32)
    values[slot, np.frombuffer(who, np.int64), np.frombuffer(what, np.int64)] = numbers32(value)
    servers = tuple(rows)
    readings = Readings(slots * step_ms / 1000, servers, labels.profiles(servers, profiles), values)
    return readings, len(value)


def _wanted(body: bytes, names: set[str]) -> str:
    """The lines of a page whose metric is one of `names`. Without # TYPE lines the parser keeps their names."""
    starts = tuple(names)
    try:
        lines = [line for line in body.decode("utf-8").split("\n") if line.startswith(starts)]
    except UnicodeDecodeError as error:
        raise SourceNonsense(f"the page is not text: {error}") from error
    return "".join(f"{line}\n" for line in lines if line.partition("{")[0].split(None, 1)[0] in names)


def _samples(text: str) -> Iterator[Sample]:
    try:
        for family in text_string_to_metric_families(text):
            yield from family.samples
    except (ValueError, IndexError, KeyError) as error:
        raise SourceNonsense(f"the page is not in Prometheus' text format: {error}") from error


def _head(head: bytes, signal_of: dict[str, list[int]], rows: dict[str, int], profiles: dict[str, str],
          labels: Labels) -> tuple[list[int], int] | None:
    """Signals and row of the server of one series; None if no signal has its metric."""
    text = head.decode("utf-8")
    if (name := text.partition("{")[0]) not in signal_of:
        return None
    (sample,) = _samples(f"{text} 0\n")
    server = labels.server_of(f"metric {name}", sample.labels)
    if profile := labels.profile_of(sample.labels):
        profiles[server] = profile
    return signal_of[name], rows.setdefault(server, len(rows))
