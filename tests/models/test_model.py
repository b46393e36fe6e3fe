"""Artifacts on disk and the forecasts they make."""

import json

import numpy as np
import pytest

from forecaster.models.artifact import ModelError, write_artifact
from forecaster.models.model import Model, choose_device
from tests.tiny_models import history, write_untrained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_untrained(tmp_path_factory.mktemp("artifact") / "tiny")


@pytest.fixture(scope="module")
def model(folder):
    return Model.load(folder, "cpu")


def window(servers: int = 4) -> np.ndarray:
    return np.ascontiguousarray(history().values[:120:5, :servers].transpose(1, 2, 0))


SERVERS, PROFILES = ("ppdb001", "ppdb002", "new001", "ppweb001"), ("database", "database", "gpu", "web_api")


def test_a_forecast_has_sorted_percentiles_inside_the_signals_bounds(model):
    values, done = model.forecast(window(), history().start + 120 * 60, SERVERS, PROFILES)
    assert values.shape == (4, 8, 96, 3) and values.dtype == np.float32 and done.all()
    assert (np.diff(values, axis=-1) >= 0).all()
    assert values.min() >= 0 and values[:, :2].max() <= 100


def test_servers_with_different_histories_are_forecast_as_each_would_be_alone(model):
    mixed = window()
    mixed[1, :, :-3] = np.nan
    mixed[3, :, :-10] = np.nan
    together, done = model.forecast(mixed, 1.7e9, SERVERS, PROFILES)
    assert done.all()
    for i in range(4):
        alone, _ = model.forecast(mixed[i : i + 1], 1.7e9, SERVERS[i : i + 1], PROFILES[i : i + 1])
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-4, atol=1e-4)


def test_a_server_with_too_little_history_gets_no_number_instead_of_a_guess(model):
    short = window()
    short[2, :, :-2] = np.nan
    values, done = model.forecast(short, 1.7e9, SERVERS, PROFILES)
    assert done.all(1).tolist() == done.any(1).tolist() == [True, True, False, True]
    assert np.isnan(values[2]).all() and np.isfinite(values[[0, 1, 3]]).all()


@pytest.mark.parametrize(
    ("gone", "done"),
    [
        (slice(None), False),  # never measured
        (slice(-6, None), True),  # vanished half an hour ago: the latest value is carried
        (slice(-7, None), False),
        (slice(None, -3), True),  # began ten minutes ago
        (slice(None, -2), False),
    ],
)
def test_a_server_is_forecast_by_the_signals_it_has(model, gone, done):
    lacking = window()
    lacking[1, 2, gone] = np.nan
    values, found = model.forecast(lacking, 1.7e9, SERVERS, PROFILES, window())
    assert found[1].tolist() == [True, True, done, *[True] * 5] and found[[0, 2, 3]].all()
    np.testing.assert_array_equal(np.isfinite(values).all((2, 3)), found)
    assert np.isnan(values[1, 2]).all() != done
    whole, _ = model.forecast(window(), 1.7e9, SERVERS, PROFILES, window())
    np.testing.assert_allclose(values[[0, 2, 3]], whole[[0, 2, 3]], rtol=1e-4, atol=1e-4)


def test_a_server_without_any_signal_is_not_forecast(model):
    lacking = window()
    lacking[1] = np.nan
    values, done = model.forecast(lacking, 1.7e9, SERVERS, PROFILES)
    assert not done[1].any() and done[[0, 2, 3]].all() and np.isnan(values[1]).all()


def test_a_fleet_of_no_servers_is_no_error(model):
    values, done = model.forecast(np.empty((0, 8, 24), np.float32), 1.7e9, (), ())
    assert values.shape == (0, 8, 96, 3) and done.shape == (0, 8)


def copy_of(folder, tmp_path):
    import shutil

    return shutil.copytree(folder, tmp_path / "copy")


def test_a_half_written_weights_file_is_refused_by_its_checksum(folder, tmp_path):
    broken = copy_of(folder, tmp_path)
    data = (broken / "weights.npz").read_bytes()
    (broken / "weights.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=r"weights\.npz: checksum .* expected .* half-written"):
        Model.load(broken)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda d: (d / "artifact.json").unlink(), r"artifact\.json: cannot be read .*expected an artifact folder"),
        (lambda d: (d / "artifact.json").write_text('{"format": 1'), "not JSON"),
        (lambda d: (d / "artifact.json").write_text("[]"), "expected a JSON object, found list"),
        (lambda d: (d / "weights.npz").unlink(), r"weights\.npz: cannot be read"),
        (lambda d: edit(d, format=99), "format 99, expected 2"),
        (lambda d: edit(d, encoding={}), "incomplete"),
        (lambda d: edit(d, architecture=architecture(d) | {"quantiles": [0.1, 0.9]}), "do not fit"),
        (lambda d: edit(d, architecture=architecture(d) | {"heads": 5}), "do not fit"),
        (lambda d: edit(d, encoding=encoding(d) | {"profiles": [f"p{i}" for i in range(99)]}), "do not fit"),
        (lambda d: edit(d, architecture={"hidden": 16, "quantiles": [0.1, 0.5, 0.9], "surprise": 1}), "incomplete"),
    ],
)
def test_a_damaged_artifact_says_what_is_wrong_with_which_file(folder, tmp_path, break_it, message):
    broken = copy_of(folder, tmp_path)
    break_it(broken)
    with pytest.raises(ModelError, match=message):
        Model.load(broken)


def edit(folder, **changes):
    facts = json.loads((folder / "artifact.json").read_text())
    (folder / "artifact.json").write_text(json.dumps(facts | changes))


def test_a_failed_write_leaves_the_old_artifact_whole(folder, tmp_path, model, monkeypatch):
    kept = copy_of(folder, tmp_path)
    monkeypatch.setattr(
        "pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        write_artifact(kept, {"a": np.zeros(1)}, model.encoding, model.architecture, {}, {})
    assert Model.load(kept, "cpu").info == model.info
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_cuda_asked_for_where_there_is_none_is_an_error_and_auto_takes_what_is_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ModelError, match="install a CUDA build or set device: auto"):
        choose_device("cuda")


def architecture(folder):
    return json.loads((folder / "artifact.json").read_text())["architecture"]


def encoding(folder):
    return json.loads((folder / "artifact.json").read_text())["encoding"]


def test_numbers_beyond_the_bounds_are_read_as_the_bounds(model):
    wild, tame = window(1), window(1)
    wild[0, 0, 5], tame[0, 0, 5] = 1e30, 100.0
    found, done = model.forecast(wild, 1.7e9, SERVERS[:1], PROFILES[:1])
    np.testing.assert_array_equal(found, model.forecast(tame, 1.7e9, SERVERS[:1], PROFILES[:1])[0])
    assert done.all()
