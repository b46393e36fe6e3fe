"""Artifacts: trained models on disk.

An artifact folder holds ``artifact.json`` (format, architecture, encoding, checksum, training facts), ``weights.npz``
and ``report.json``. It is written beside its final place and then moved; reading checks format and checksum.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import TypeAdapter

from forecaster import npz
from forecaster.models.features import Encoding
from forecaster.models.series import SeriesEncoding
from forecaster.npz import NpzError
from forecaster.signals import HORIZON_STEPS, STEP_MINUTES, Signal

FORMAT = 2
LARGEST, LARGEST_TEXT = 1 << 28, 1 << 24  # bytes of all weights, unpacked, and of a file of facts; ours have 1 MB
MOST_STEPS = 2016  # of an encoder: a week
SAID = 300  # characters of an error about foreign content
MODELS = Path(__file__).parents[1] / "artifacts"  # the shipped models, by name
DEFAULT = MODELS / "default"


def folder_of(name: str) -> Path:
    """The folder of a shipped model of this name, else the name as a path."""
    return MODELS / name if re.fullmatch(r"[a-z]+", name) and (MODELS / name).is_dir() else Path(name)


class ModelError(Exception):
    """The artifact cannot be used; the message names the file, what was found and what was expected."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network; quantiles include 0.1, 0.5 and 0.9."""

    hidden: int = 32
    heads: int = 4
    continuous: int = 8
    dropout: float = 0.05
    quantiles: tuple[float, ...] = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
    """(facts, weights by name, report) of an artifact folder; raises ModelError."""
    facts, packed, report = read_packed(folder)
    return facts, unpack(folder, packed), report


def read_packed(folder: Path) -> tuple[dict[str, Any], bytes, dict[str, Any]]:
    """(facts, content of weights.npz, which has the checksum among the facts, report); raises ModelError."""
    facts = _read_json(folder / "artifact.json")
    if facts.get("format") != FORMAT:
        raise ModelError(
            f"{folder / 'artifact.json'}: format {facts.get('format')!r}, expected {FORMAT}; "
            "train the model with this version of fleet-forecaster"
        )
    try:
        data = (folder / "weights.npz").read_bytes()
    except OSError as error:
        cause = f"cannot be read ({error.strerror}); copy the whole folder"
        raise ModelError(f"{folder / 'weights.npz'}: {cause}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != facts.get("weights_sha256"):
        raise ModelError(
            f"{folder / 'weights.npz'}: checksum {found[:12]}..., expected "
            f"{str(facts.get('weights_sha256'))[:12]}...; the file is damaged or half-written, copy it again"
        )
    return facts, data, _read_json(folder / "report.json")


def unpack(folder: Path, packed: bytes) -> dict[str, np.ndarray]:
    """The weights by name that are in the weights.npz of an artifact folder; raises ModelError."""
    try:
        weights = npz.read(io.BytesIO(packed), LARGEST)
        if odd := [name for name, one in weights.items() if one.dtype.kind != "f" or not np.isfinite(one).all()]:
            raise NpzError(f"{odd[0]} has other than finite numbers")
    except NpzError as error:
        raise ModelError(f"{folder / 'weights.npz'}: damaged ({error}); train the model anew") from error
    return weights


def encoding_of(
    folder: Path, facts: dict[str, Any], signals: Mapping[str, Signal] | None = None
) -> Encoding | SeriesEncoding:
    """The encoding among the facts of an artifact folder; raises ModelError. A model of single series also has those of
    ``signals`` that are `like` one of its own."""
    try:
        stored = facts["encoding"]
        series = stored.get("kind") == "series"
        encoding = SeriesEncoding.from_json(stored) if series else Encoding.from_json(stored)
        _typed(type(encoding), encoding.to_json())
        ZoneInfo(encoding.timezone)
        if encoding.horizon != HORIZON_STEPS or not 1 <= encoding.encoder_steps <= MOST_STEPS or not encoding.step > 0:
            raise ValueError(f"{encoding.encoder_steps} and {encoding.horizon} steps of {encoding.step:g} s, expected "
                             f"1 to {MOST_STEPS} and {HORIZON_STEPS}")
        if not isinstance(encoding, SeriesEncoding):
            return encoding
        if not len(encoding.signals) == len(encoding.floors) == len(encoding.low) == len(encoding.high):
            raise ValueError("signals, floors, low and high have different lengths")
        return encoding.extended(signals or {})
    except Exception as error:  # the file may hold anything
        raise _incomplete(folder, error) from error


def architecture_of(folder: Path, facts: dict[str, Any]) -> Architecture:
    """The sizes among the facts of an artifact folder; raises ModelError."""
    try:
        sizes = facts["architecture"]
        architecture = Architecture(**sizes | {"quantiles": tuple(sizes["quantiles"])})
        _typed(Architecture, asdict(architecture))
        return architecture
    except Exception as error:  # as above
        raise _incomplete(folder, error) from error


def _typed(kind: type, stored: Mapping[str, Any]) -> None:
    """ValueError unless the fields of a dataclass have its types, and numbers are finite."""
    TypeAdapter(kind).validate_json(json.dumps(stored, allow_nan=False), strict=True)


def _incomplete(folder: Path, error: Exception) -> ModelError:
    """The error for an artifact.json that lacks something."""
    return ModelError(f"{folder / 'artifact.json'}: incomplete ({str(error)[:SAID]}); train the model anew")


def check(
    folder: Path, encoding: Encoding | SeriesEncoding, signals: Mapping[str, Signal], step: float, encoder_steps: int
) -> list[str]:
    """A sentence on the signals that only the model or only the configuration has, and on those that are forecast like
    another; ModelError where the model cannot be used with this configuration."""
    own = encoding.signals
    if not set(own) & set(signals):
        raise ModelError(f"{folder}: the model forecasts {', '.join(own)}, none of which is among signals; "
                         "add one, choose another model, or set model: null")
    if encoding.step != step and not encoding.step == 60 * STEP_MINUTES > step:  # less: fast motion
        raise ModelError(f"{folder}: the model was trained on steps of {encoding.step:g} s, step is {step:g} s; "
                         "choose another model or set step to the model's")
    if encoding.encoder_steps > encoder_steps:
        raise ModelError(f"{folder}: the model reads {encoding.encoder_steps} steps of history, encoder_steps is "
                         f"{encoder_steps}; raise encoder_steps")
    trend, unused = ([name for name in one if name not in other] for one, other in ((signals, own), (own, signals)))
    further = own[-len(encoding.likes):] if isinstance(encoding, SeriesEncoding) and encoding.likes else ()
    ignored = [name for name in trend if signals[name].like]
    return [f"model {folder.name}: {text}" for text, names in (
        (", ".join(f"{name} forecast like {signals[name].like}" for name in further), further),
        (f"{', '.join(trend)} not forecast, the trend is used", trend),
        (f"like of {', '.join(ignored)} ignored; expected a signal that a model of single series forecasts", ignored),
        (f"{', '.join(unused)} missing in signals", unused)) if names]


def write_artifact(
    folder: Path, weights: dict[str, np.ndarray], encoding: Encoding | SeriesEncoding, architecture: Architecture,
    report: dict[str, Any], facts: dict[str, Any],
) -> None:
    """Write an artifact folder completely or not at all, replacing an older one."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **weights)
    content = {
        "format": FORMAT,
        "weights_sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        **facts,
        "architecture": asdict(architecture),
        "encoding": encoding.to_json(),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh.chmod(0o755)
        (fresh / "weights.npz").write_bytes(buffer.getvalue())
        (fresh / "artifact.json").write_text(json.dumps(content, indent=1) + "\n")
        (fresh / "report.json").write_text(json.dumps(report, indent=1) + "\n")
        if folder.exists():  # a folder cannot be replaced in one step: the old one is renamed first
            old = folder.with_name(f".{folder.name}-old")
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
            os.replace(fresh, folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _read_json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
        if len(text) > LARGEST_TEXT:
            raise ValueError(f"{len(text)} bytes, expected at most {LARGEST_TEXT}")
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()  # what is read is shown, as text
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}); expected an artifact folder with artifact.json, "
            "weights.npz and report.json, as `fleet-forecaster train` writes it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not JSON ({error}); the file is damaged or half-written, copy it again") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data
