"""The served network computes what the trained one does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecaster.models import series
from forecaster.models.features import batch
from forecaster.models.tft import Tft
from forecaster.models.views import CONTEXT
from forecaster.training.library import build_network, initial_weights
from tests.library_network import library_inputs
from tests.operations import Operations
from tests.tiny_models import MONDAY, TINY, network, windows


def inputs(rows: int, length: int, shared_clock: bool) -> dict[str, torch.Tensor]:
    encoding = windows().encoding
    past, _, instants, earlier, identity = windows().sample(rows, np.random.default_rng(0))
    instants = instants[:1] if shared_clock else instants
    return {k: torch.as_tensor(v) for k, v in batch(encoding, past, length, instants, identity, earlier).items()}


@pytest.mark.parametrize("shared_clock", [True, False])
@pytest.mark.parametrize("length", [3, 11, 24])
@pytest.mark.parametrize("rows", [1, 7])
def test_the_served_network_agrees_with_the_library_on_the_same_weights(rows, length, shared_clock):
    encoding = windows().encoding
    x = inputs(rows, length, shared_clock)
    served = Tft(network().state_dict(), encoding.variables, TINY.heads)
    with torch.inference_mode():
        expected = network()(library_inputs(x))["prediction"]
        found = served(x)
    assert found.shape == (rows, 96, 8 * 3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_network_of_single_series_agrees_with_the_library_too():
    encoding = series.SeriesEncoding(("a", "b"), (0.01,) * 2, (None,) * 2, (None,) * 2, TINY.quantiles, 300, 96, "UTC")
    library = build_network(encoding.variables, TINY, encoding.encoder_steps, encoding.outputs).eval()
    filled, known = series.fill(np.random.default_rng(0).gamma(2, 3, (5, CONTEXT)).astype(np.float32))
    signal, instants = np.array([0, 1, 1, 0, 1]), MONDAY + 3600.0 * np.arange(5)
    x = {k: torch.as_tensor(v) for k, v in series.batch(encoding, filled, known, signal, instants).items()}
    served = Tft(library.state_dict(), encoding.variables, TINY.heads)
    with torch.inference_mode():
        torch.testing.assert_close(served(x), library(library_inputs(x))["prediction"], atol=1e-5, rtol=1e-5)


def test_the_trained_pass_has_the_gradients_of_the_library_although_serving_folded_weights_before():
    encoding, x = windows().encoding, inputs(7, 24, False)
    library = network()
    with torch.inference_mode():  # what it keeps for later passes can be trained through
        Tft(library.state_dict(), encoding.variables, TINY.heads)
    own = {k: v.detach().clone().requires_grad_() for k, v in library.named_parameters()}
    Tft(own, encoding.variables, TINY.heads)(x).square().mean().backward()
    names, wanted = zip(*library.named_parameters(), strict=True)
    wanted = torch.autograd.grad(library(library_inputs(x))["prediction"].square().mean(), wanted, allow_unused=True)
    for name, gradient in zip(names, wanted, strict=True):
        if gradient is not None:
            torch.testing.assert_close(own[name].grad, gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_reading_weights_takes_as_many_operations_for_eight_signals_as_for_two():
    counts = []
    for signals in (2, 8):
        encoding = replace(windows().encoding, scalings=windows().encoding.scalings[:signals])
        weights = initial_weights(encoding, TINY, signals * len(TINY.quantiles))
        Tft(weights, encoding.variables, TINY.heads)  # makes what is kept
        with Operations() as operations:
            Tft(weights, encoding.variables, TINY.heads)
        counts.append(operations.computing)
    assert counts[0] == counts[1]


def test_the_forecast_of_a_server_does_not_depend_on_who_shares_its_batch():
    served = Tft(network().state_dict(), windows().encoding.variables, TINY.heads)
    together = inputs(6, 24, True)
    with torch.inference_mode():
        alone = served({k: v[2:3] if k in ("observed", "static", "static_reals") else v for k, v in together.items()})
        torch.testing.assert_close(served(together)[2:3], alone, atol=1e-5, rtol=1e-5)


def test_a_missing_tensor_is_named():
    weights = dict(network().state_dict())
    del weights["static_enrichment.fc1.weight"]
    with pytest.raises(KeyError, match=r"static_enrichment\.fc1\.weight"):
        Tft(weights, windows().encoding.variables, TINY.heads)
