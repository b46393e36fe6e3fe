"""Model folders that are damaged or made up, with the right checksum: loaded and usable, or one error."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.models.artifact import ModelError, check
from forecaster.models.model import Model
from tests import mutations
from tests.tiny_models import write_untrained, write_untrained_series

INSTANT = 1_772_409_600.0


def write_kinds(folder: Path) -> tuple[Path, Path]:
    """A model of a fleet and one of single series."""
    return write_untrained(folder / "fleet"), write_untrained_series(folder / "series", ("cpu_pct", "mem_pct"))


def mutated(rng: np.random.Generator, folder: Path, broken: Path, n: int) -> Path:
    """A copy with one file mutated; the checksum is that of the weights."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    name = ("weights.npz", "artifact.json", "artifact.json", "report.json")[n % 4]
    of = mutations.bytes_of if n % 3 == 0 else mutations.arrays_of if name.endswith("npz") else mutations.json_of
    files[name] = of(rng, files[name])
    if name == "weights.npz":
        facts = json.loads(files["artifact.json"])
        facts["weights_sha256"] = hashlib.sha256(files[name]).hexdigest()
        files["artifact.json"] = json.dumps(facts).encode()
    broken.mkdir(exist_ok=True)
    for name, data in files.items():
        (broken / name).write_bytes(data)
    return broken


def checked(folder: Path) -> bool:
    """Whether the model was loaded; it forecasts then, whatever it forecasts."""
    config = load_config("fleet")
    try:
        model = Model.load(folder, "cpu", None, config.signals)
        check(folder, model.encoding, config.signals, config.step, config.encoder_steps)
    except ModelError as error:
        assert str(folder) in str(error) and len(str(error)) < 1000
        return False
    window = np.linspace(1, 90, 3 * len(model.encoding.signals) * 24, dtype=np.float32)
    window = window.reshape(3, len(model.encoding.signals), 24)
    values, done = model.forecast(window, INSTANT, ("a", "b", "c"), ("web_api",) * 3)
    assert values.shape == (3, len(model.encoding.signals), 96, 3) and done.shape == values.shape[:2]
    json.dumps(model.info, ensure_ascii=False).encode()
    assert all(len(text) <= 200 for text in model.info.values())
    return True


def test_a_mutated_model_is_loaded_or_refused_and_never_raises_another_error(tmp_path, monkeypatch):
    monkeypatch.setenv("FLEETCAST_COMPILED", "0")
    rng, loaded = np.random.default_rng(16), 0
    for folder in write_kinds(tmp_path):
        assert checked(folder)
        loaded += sum(checked(mutated(rng, folder, tmp_path / "broken", n)) for n in range(16))
    assert loaded < 16


def test_weights_that_unpack_to_gigabytes_are_refused_before_they_are_unpacked(tmp_path):
    folder = write_untrained(tmp_path / "fleet")
    data = mutations.bomb(("a", "b"), 0.3, "a")
    facts = json.loads((folder / "artifact.json").read_text())
    facts["weights_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "artifact.json").write_text(json.dumps(facts))
    (folder / "weights.npz").write_bytes(data)
    assert len(data) < 2 << 20
    with pytest.raises(ModelError, match="bytes, expected at most"):
        Model.load(folder, "cpu")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": "\\ud800"}', '{"format": 1e999}', "\xff", " " * (1 << 25)])
def test_facts_that_are_no_usable_json_are_refused(tmp_path, text):
    folder = write_untrained(tmp_path / "fleet")
    (folder / "artifact.json").write_text(text)
    with pytest.raises(ModelError, match=r"artifact\.json"):
        Model.load(folder, "cpu")
