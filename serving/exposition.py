"""Gauge families in Prometheus' text format, rendered from arrays.

The name and labels of a series do not change between scrapes. `series_prefixes` renders them once and the caller
keeps the result; a scrape joins prefixes and values. A `Page` holds many families in one template and fills in the
values.
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
from werkzeug.datastructures import Accept, Headers
from werkzeug.http import parse_accept_header

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_EOF = b"# EOF\n"


def escape_label_value(value: str) -> str:
    """A label value, escaped for the text format."""
    return value.translate(_ESCAPES)


def series_prefixes(name: str, label_names: Sequence[str], label_rows: Iterable[Sequence[str]]) -> list[str]:
    """One 'name{label="value",…} ' per row of label values; the sample value follows it.

    Raises ValueError for a name that Prometheus rejects or a row of the wrong length.
    """
    if not _METRIC_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a metric name; expected letters, digits, _ or :, not starting with a digit")
    for label in label_names:
        if not LABEL_NAME.fullmatch(label):
            raise ValueError(
                f"{label!r} is not a label name; expected letters, digits or _, not starting with a digit or __"
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
    if '"' in help_text:  # only OpenMetrics escapes it
        raise ValueError(f"the help text of {name} has a double quote; use single quotes")
    return f"# HELP {name} {help_text.translate(_ESCAPES)}\n# TYPE {name} {kind}\n"


def render_family(name: str, help_text: str, prefixes: Sequence[str], values: np.ndarray) -> str:
    """One gauge family; values (N,) in any real dtype, one for each of the N prefixes.

    NaN means unknown and gives no series; a family without any known value gives no text.
    """
    flat = np.asarray(values).ravel()
    if flat.size != len(prefixes):
        raise ValueError(f"{name}: {len(prefixes)} series but {flat.size} values; expected one value per series")
    known = ~np.isnan(flat)
    if not known.all():
        flat, prefixes = flat[known], list(compress(prefixes, known))
    if not flat.size:
        return ""
    return family_header(name, help_text) + "\n".join(map(str.__add__, prefixes, render_values(flat))) + "\n"


def render_values(values: np.ndarray) -> list[str]:
    """Values (N,) without NaN as text: the shortest that parses to the same float32 or float64, or +Inf or -Inf."""
    return _render(values).decode().split(",") if values.size else []


def _render(values: np.ndarray) -> bytes:
    """Values (N,) as in render_values, separated by commas."""
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
    """Renders many gauge families, each given as (header, prefixes of its series), at every scrape.

    The page keeps one template for the whole text. It builds another only when other values than before are known.
    Filling in a template costs a tenth of joining prefixes and values series by series.
    """

    def __init__(self, families: Iterable[tuple[str, Sequence[str]]]):
        self._families = [(_literal(header), _literal("\n".join(series)), len(series)) for header, series in families]
        self._known: np.ndarray | None = None
        self._template = b""

    def render(self, values: Sequence[np.ndarray]) -> bytes:
        """The text of one array per family, in any real dtype and shape, with one value per series.

        NaN means unknown and gives no series; a family without any known value gives no text.
        """
        flat = [np.asarray(of).ravel() for of in values]
        if (found := [of.size for of in flat]) != (expected := [count for *_, count in self._families]):
            raise ValueError(f"{found} values; expected one value per series: {expected}")
        numbers, parts = [], []
        for _, run in groupby(flat, key=lambda of: of.dtype):  # by dtype: the text of a float32 is shorter
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
        """The template for the series whose value is known, bool (all series,)."""
        parts, done = [], 0
        for header, prefixes, count in self._families:
            shown = known[done : done + count]
            done += count
            if shown.any():
                lines = compress(prefixes.split(b"\n"), shown.tolist())
                parts += [header, b"%b\n".join(lines), b"%b\n"]
        return b"".join(parts)


def _literal(text: str) -> bytes:
    """Text, escaped for a template."""
    return text.replace("%", "%%").encode()


class Prepared:
    """Text of this module that answers many scrapes. It is compressed once, at the first request that accepts gzip."""

    def __init__(self, text: bytes):
        self.text = text
        self._lock = threading.Lock()
        self._packed: bytes | None = None

    def pack(self) -> bytes:
        """The text as one gzip member."""
        with self._lock:  # a second scrape waits for the result of the first
            if self._packed is None:
                self._packed = _pack(self.text)
            return self._packed


def metrics_response(
    registry: CollectorRegistry, extra: bytes | Sequence[Prepared], request_headers: Mapping[str, str] | Headers
) -> Response:
    """The answer to a scrape: the registry's families, then `extra`, which is text from this module.

    The format is OpenMetrics or plain text, as the Accept header asks. If gzip is accepted, each part is one gzip
    member (level 1); readers of gzip concatenate them.
    """
    try:
        encode, content_type = choose_encoder(request_headers.get("Accept", ""))
    except (TypeError, ValueError):  # the version parameter is malformed
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
