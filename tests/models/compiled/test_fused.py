"""The compiled forward pass computes what PyTorch's does, and steps aside where it cannot."""

import logging

import numpy as np
import pytest
import torch

from forecaster.models.artifact import MODELS
from forecaster.models.compiled import fused
from forecaster.models.compiled import passes as compiled_engines
from forecaster.models.compiled.fused import Fused
from forecaster.models.eager import Eager
from forecaster.models.features import batch
from forecaster.models.model import Model
from forecaster.models.network import Network
from forecaster.models.tft import Tft
from tests.library_network import library_inputs
from tests.tiny_models import TINY, network, weights, windows, write_untrained

pytestmark = pytest.mark.slow


def inputs(rows: int, length: int, shared_clock: bool = True) -> dict[str, np.ndarray]:
    past, _, instants, earlier, identity = windows().sample(rows, np.random.default_rng(0))
    instants = instants[:1] if shared_clock else instants
    return batch(windows().encoding, past, length, instants, identity, earlier)


def tensors(x: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {k: torch.as_tensor(v) for k, v in x.items()}


@pytest.fixture(scope="module")
def transformer() -> Tft:
    return Tft(network().state_dict(), windows().encoding.variables, TINY.heads)


@pytest.fixture(scope="module")
def compiled(transformer) -> Fused:
    return Fused(transformer, 96, threads=2)


@pytest.fixture(scope="module")
def eager() -> Eager:
    encoding = windows().encoding
    return Eager(Network(weights(), encoding, TINY.heads), torch.device("cpu"))


@pytest.mark.parametrize("length", [3, 11, 24])
@pytest.mark.parametrize("rows", [1, 16, 37])
def test_the_compiled_pass_agrees_with_the_library_on_the_same_weights(compiled, rows, length):
    x = inputs(rows, length)
    with torch.inference_mode():
        expected = network()(library_inputs(tensors(x)))["prediction"].numpy()
    np.testing.assert_allclose(compiled(x), expected, atol=1e-4)


@pytest.mark.parametrize("length", [3, 24])
def test_the_compiled_engine_agrees_with_pytorch_in_signal_units(eager, length):
    x = inputs(18, length)
    expected, found = eager(x), compiled_engines.Compiled(eager)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert (np.diff(found, axis=-1) >= 0).all()


@pytest.mark.parametrize("name", ["default", "servers"])
def test_the_models_that_ship_run_compiled_on_the_cpu_and_agree_with_pytorch(name):
    model = Model.load(MODELS / name, "cpu")
    assert model.info["engine"] == "compiled"
    rng, signals = np.random.default_rng(4), len(model.encoding.signals)
    window = rng.uniform(1, 60, (5, signals, model.context_steps)).astype(np.float32)
    window[1, 1], window[2, 2:], window[3, :-1] = np.nan, np.nan, np.nan  # missing signals
    names = tuple(f"server{i}" for i in range(5)), ("web",) * 5
    found, done = model.quantiles(window, 1.79e9, *names)
    compiled = model.engine
    model.engine = compiled.eager
    expected, _ = model.quantiles(window, 1.79e9, *names)
    np.testing.assert_array_equal(done, np.isfinite(window).all(-1))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_rows_do_not_depend_on_how_many_share_the_pass_or_on_threads(transformer, compiled):
    x = inputs(37, 24)
    alone = compiled({k: v[20:21] if len(v) == 37 else v for k, v in x.items()})
    np.testing.assert_allclose(compiled(x)[20:21], alone, atol=1e-5)
    np.testing.assert_array_equal(Fused(transformer, 96, threads=1)(x), compiled(x))


def test_a_row_of_nonsense_stays_unknown_and_leaves_its_neighbours_alone(eager):
    pass_ = compiled_engines.Compiled(eager)
    clean = inputs(5, 24)
    spoilt = clean | {"observed": clean["observed"].copy()}
    spoilt["observed"][2, -1, 0] = np.nan
    found, expected = pass_(spoilt), pass_(clean)
    assert np.isnan(found[2]).any()
    np.testing.assert_array_equal(np.delete(found, 2, 0), np.delete(expected, 2, 0))


def test_far_out_inputs_give_what_pytorch_gives(compiled, transformer):
    x = inputs(4, 24)
    x["observed"] = x["observed"] * np.array([0, 30, 1e4, -1e4], np.float32)[:, None, None]
    with torch.inference_mode():
        expected = transformer(tensors(x)).numpy()
    np.testing.assert_allclose(compiled(x), expected, atol=1e-3)


@pytest.mark.parametrize("shared_clock", [True, False])
def test_pytorchs_pass_gives_the_same_in_pieces(eager, monkeypatch, shared_clock):
    x = inputs(11, 24, shared_clock)
    whole = eager(x)
    monkeypatch.setattr(Eager, "ROWS", {"cpu": 4})
    np.testing.assert_allclose(eager(x), whole, rtol=1e-4, atol=1e-5)


def test_pytorchs_pass_goes_back_to_signal_units_as_the_encoding_does(eager):
    x = inputs(5, 24)
    with torch.inference_mode():
        z = eager.network(tensors(x)).numpy()
    np.testing.assert_allclose(eager(x), np.sort(eager.network.encoding.unscale(z), -1), rtol=1e-4, atol=1e-5)


def test_rows_with_clocks_of_their_own_go_to_pytorch(eager):
    x = inputs(3, 24, shared_clock=False)
    np.testing.assert_array_equal(compiled_engines.Compiled(eager)(x), eager(x))


def test_inputs_that_do_not_suit_the_compiled_pass_are_refused(compiled, transformer):
    with pytest.raises(ValueError, match="known inputs of 3 rows"):
        compiled(inputs(3, 24, shared_clock=False))
    with pytest.raises(ValueError, match="multiple of 4"):
        Fused(transformer, 95)


@pytest.mark.parametrize("broken", [OSError("no executable memory"), ImportError("no llvmlite")])
def test_where_nothing_can_be_compiled_pytorch_forecasts_and_a_warning_says_so(tmp_path, monkeypatch, caplog, broken):
    def fail(*_):
        raise broken

    monkeypatch.setattr(fused, "Compiled", fail)
    with caplog.at_level(logging.WARNING):
        model = Model.load(write_untrained(tmp_path / "tiny"), "cpu")
    assert model.info["engine"] == "pytorch"
    assert str(broken) in caplog.text
    _, done = model.forecast(np.ones((1, 8, 24), np.float32), 0.0, ("a",), ("web",))
    assert done.all()


def test_a_compiled_pass_that_disagrees_is_not_used(tmp_path, monkeypatch, caplog):
    honest = fused.Fused.__call__
    monkeypatch.setattr(fused.Fused, "__call__", lambda self, x: honest(self, x) + 1)
    assert Model.load(write_untrained(tmp_path / "tiny"), "cpu").info["engine"] == "pytorch"
    assert "differs from PyTorch's by" in caplog.text


def test_the_compiled_pass_can_be_switched_off_from_outside(tmp_path, monkeypatch):
    folder = write_untrained(tmp_path / "tiny")
    assert Model.load(folder, "cpu").info["engine"] == "compiled"
    monkeypatch.setenv("FLEETCAST_COMPILED", "0")
    assert Model.load(folder, "cpu").info["engine"] == "pytorch"
