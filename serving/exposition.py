"""Prometheus text of gauge families, rendered fast from arrays.

A series' name and labels never change between scrapes, so `series_prefixes` renders them once
and the caller keeps the result; a scrape then only joins prefixes and values. A `Page` does so for
many families at once, with a template that holds everything but the numbers.
"""

import gzip
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, groupby

import numpy as np
import orjson
from flask import Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_EOF = b"# EOF\n"


def escape_label_value(value: str) -> str:
    """A label value as it stands between quotes in the text format."""
    return value.translate(_ESCAPES)


def series_prefixes(name: str, label_names: Sequence[str], label_rows: Iterable[Sequence[str]]) -> list[str]:
    """One 'name{label="value",…} ' per row of label values, ready for a value to follow.

    Raises ValueError for a name Prometheus refuses or a row of the wrong length.
    """
    if not _METRIC_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no metric name; expected letters, digits, _ or :, no digit first")
    for label in label_names:
        if not _LABEL_NAME.fullmatch(label):
            raise ValueError(
                f"{label!r} is no label name; expected letters, digits or _, no digit or __ first"
            )
    if not label_names:
        return [f"{name} " for _ in label_rows]
    starts = [f'{label}="' for label in label_names]
    return [
        f"{name}{{"
        + ",".join([f'{start}{escape_label_value(value)}"' for start, value in zip(starts, row, strict=True)])
        + "} "
        for row in label_rows
    ]


def family_header(name: str, help_text: str, kind: str = "gauge") -> str:
    """The HELP and TYPE lines of a family, valid in the text format and in OpenMetrics."""
    if '"' in help_text:  # the two formats disagree on how to escape it
        raise ValueError(f"the help of {name} has a double quote; use single quotes")
    return f"# HELP {name} {help_text.translate(_ESCAPES)}\n# TYPE {name} {kind}\n"


def render_family(name: str, help_text: str, prefixes: Sequence[str], values: np.ndarray) -> str:
    """One gauge family; `values` (N,) float belong to the N prefixes, in any real dtype.

    NaN means "not known" and gives no series; a family without any value gives no text at all.
    """
    flat = np.asarray(values).ravel()
    if flat.size != len(prefixes):
        raise ValueError(
            f"{name}: {len(prefixes)} series but {flat.size} values; expected one value a series"
        )
    known = ~np.isnan(flat)
    if not known.all():
        flat, prefixes = flat[known], list(compress(prefixes, known))
    if not flat.size:
        return ""
    return family_header(name, help_text) + "\n".join(map(str.__add__, prefixes, render_values(flat))) + "\n"


def render_values(values: np.ndarray) -> list[str]:
    """Values (N,) without NaN as text: the shortest that reads back as the same float32 or float64; infinities as +Inf and
    -Inf."""
    return _render(values).decode().split(",") if values.size else []


def _render(values: np.ndarray) -> bytes:
    """As render_values, with commas between the numbers of values (N,)."""
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    infinite = np.isinf(values)
    if not infinite.any():
        return text
    numbers = text.split(b",")
    for index in np.flatnonzero(infinite).tolist():
        numbers[index] = b"+Inf" if values[index] > 0 else b"-Inf"
    return b",".join(numbers)


class Page:
    """The text of many gauge families at once, again and again: of each its header and its series' prefixes.

    All that stays is one template, made anew only where other values than before are known: putting the numbers into it
    costs a tenth of joining prefixes and numbers series by series.
    """

    def __init__(self, families: Iterable[tuple[str, Sequence[str]]]):
        self._families = [(_literal(header), _literal("\n".join(prefixes)), len(prefixes)) for header, prefixes in families]
        self._known: np.ndarray | None = None
        self._template = b""

    def render(self, values: Sequence[np.ndarray]) -> bytes:
        """The text of one array for each family, with as many numbers as it has series, in any real dtype and shape.

        NaN means "not known" and gives no series; a family without any value gives no text at all.
        """
        flat = [np.asarray(of).ravel() for of in values]
        if (found := [of.size for of in flat]) != (expected := [count for *_, count in self._families]):
            raise ValueError(f"{found} values; expected one value a series: {expected}")
        numbers, parts = [], []
        for _, run in groupby(flat, key=lambda of: of.dtype):  # a dtype at a time: float32 is written shorter
            joined = np.concatenate([*run])
            parts.append(known := ~np.isnan(joined))
            if not known.all():
                joined = joined[known]
            if joined.size:
                numbers += _render(joined).split(b",")
        known = np.concatenate(parts) if parts else np.empty(0, bool)
        if self._known is None or not np.array_equal(known, self._known):
            self._template, self._known = self._fit(known), known
        return self._template % tuple(numbers)

    def _fit(self, known: np.ndarray) -> bytes:
        """The template of the series that are known, bool (all series,)."""
        parts, done = [], 0
        for header, prefixes, count in self._families:
            shown = known[done : done + count]
            done += count
            if shown.any():
                lines = compress(prefixes.split(b"\n"), shown.tolist())
                parts += [header, b"%b\n".join(lines), b"%b\n"]
        return b"".join(parts)


def _literal(text: str) -> bytes:
    """Text as it stands in a template."""
    return text.replace("%", "%%").encode()


class Prepared:
    """Text of this module that many scrapes are answered with; it is compressed once, when first asked for."""

    def __init__(self, text: bytes):
        self.text = text
        self._lock = threading.Lock()
        self._packed: bytes | None = None

    def pack(self) -> bytes:
        """The text as one gzip member."""
        with self._lock:  # a second scrape waits for the first one's work
            if self._packed is None:
                self._packed = _pack(self.text)
            return self._packed


def metrics_response(
    registry: CollectorRegistry, extra: bytes | Sequence[Prepared], request_headers: Mapping[str, str]
) -> Response:
    """The answer to a scrape: the registry's families followed by `extra`, which is text from this module.

    OpenMetrics or plain text as the Accept header asks, gzip (level 1) where it is accepted: then one member for each
    part, which readers of gzip take for one text.
    """
    try:
        encode, content_type = choose_encoder(request_headers.get("Accept", ""))
    except (TypeError, ValueError):  # a version parameter that is not a version
        encode, content_type = choose_encoder("")
    parts = [Prepared(extra)] if isinstance(extra, bytes) else extra
    first, last = encode(registry), b""
    if content_type.startswith("application/openmetrics-text"):
        first, last = first.removesuffix(_EOF), _EOF
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    accepted = parse_accept_header(request_headers.get("Accept-Encoding", ""), Accept)
    if accepted.quality("gzip") > 0:
        body = b"".join([_pack(first), *(part.pack() for part in parts), _pack(last)])
        headers["Content-Encoding"] = "gzip"
    else:
        body = b"".join([first, *(part.text for part in parts), last])
    return Response(body, headers=headers)


def _pack(text: bytes) -> bytes:
    return gzip.compress(text, compresslevel=1, mtime=0)
