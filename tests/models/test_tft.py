"""The served network computes what the trained one does."""

import numpy as np
import pytest
import torch

from forecaster.models.features import batch
from forecaster.models.tft import Tft
from tests.library_network import library_inputs
from tests.tiny_models import TINY, network, windows


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
