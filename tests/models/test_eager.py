"""Engines: short memory, numbers out of range, crossing quantiles, and a machine without LLVM."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from forecaster.models.eager import Eager, ascending, exchanged
from forecaster.models.features import batch
from forecaster.models.network import Network
from forecaster.models.tft import attention, attention_inside
from tests.tiny_models import TINY, weights, windows

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def inputs(rows: int) -> dict[str, np.ndarray]:
    past, _, instants, earlier, identity = windows().sample(rows, np.random.default_rng(0))
    return batch(windows().encoding, past, 24, instants[:1], identity, earlier)


@pytest.fixture
def eager() -> Eager:
    return Eager(Network(weights(), windows().encoding, TINY.heads), CPU)


def test_rows_that_do_not_fit_a_cards_memory_are_halved_until_they_do(eager, monkeypatch):
    expected, tried, part = eager(inputs(900)), [], eager._part

    def short_of_memory(x):
        tried.append(len(x["observed"]))
        if tried[-1] > 300:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return part(x)

    monkeypatch.setattr(Eager, "ROWS", {"cpu": 1024})
    monkeypatch.setattr(eager, "_part", short_of_memory)
    np.testing.assert_allclose(eager(inputs(900)), expected, rtol=1e-4, atol=1e-5)
    assert tried == [900, 512, 256, 256, 256, 132]
    tried.clear()
    eager(inputs(900))
    assert tried == [256, 256, 256, 132], "the next cycle does not run out of memory again"


def test_memory_too_short_for_a_few_rows_is_an_error(eager, monkeypatch):
    def out_of_memory(x):
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(eager, "_part", out_of_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        eager(inputs(3))


def test_half_precision_computes_the_same_forecast_a_little_coarser(eager):
    """On the processor, in bfloat16 of all things, since it has no LSTM in float16."""
    coarse = Network(*eager.network._made_of, torch.bfloat16)
    x = {k: torch.as_tensor(v) for k, v in inputs(20).items()}
    with torch.inference_mode():
        expected, found = eager.network(x), coarse(x)
    assert found.dtype == torch.float32 and eager.network.in_half().dtype == torch.float16
    assert 0 < float((found - expected).abs().mean()) < 0.02


def test_attention_inside_one_kernel_is_the_attention(eager):
    rng = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(shape, generator=rng) for shape in ((5, 4, 7, 8), (5, 4, 10, 8), (5, 10, 32)))
    hidden = torch.ones(7, 10, dtype=torch.bool).triu(3)
    torch.testing.assert_close(attention_inside(q, k, v, hidden), attention(q, k, v, hidden), atol=1e-5, rtol=1e-5)


def test_quantiles_that_cross_are_put_in_order_on_a_card_as_on_the_processor():
    x = torch.randn(6, 8, 7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ascending(x), x.sort(-1).values)
    torch.testing.assert_close(exchanged(x), x.sort(-1).values)


def test_without_llvm_everything_imports_and_pytorch_forecasts():
    script = """
import sys
sys.modules["llvmlite"] = None
import numpy as np
import forecaster.service.app
from forecaster.models.artifact import DEFAULT
from forecaster.models.model import Model
model = Model.load(DEFAULT, "cpu")
values, done = model.forecast(np.full((2, 8, 24), 30, np.float32), 1.79e9, ("a", "b"), ("web_api",) * 2)
assert model.info["engine"] == "pytorch" and done.all(), model.info
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "the compiled forward pass cannot be used: " in ended.stderr
