"""A tiny real model, trained in seconds, for the tests that need one."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from exporter.profiles import METRICS, load_fleet
from forecaster.config import load_config
from forecaster.models.artifact import Architecture, write_artifact
from forecaster.models.series import SeriesEncoding
from forecaster.risk.chances import Chances
from forecaster.risk.evidence import INPUTS, SPANS
from forecaster.training.dataset import Windows, fit_encoding
from forecaster.training.simulation import simulate

MONDAY = 1_772_409_600.0  # 2026-03-02 00:00 UTC
TINY = Architecture(hidden=8, heads=2, continuous=4, dropout=0.0, quantiles=(0.1, 0.5, 0.9))


@lru_cache
def history():
    """Two simulated days of the default fleet with a scenario every few hours, one-minute resolution."""
    return simulate(load_fleet(), MONDAY, 2.0, 300.0, 0.2, seed=1)


@lru_cache
def windows() -> Windows:
    bounds = {name: (signal.min, signal.max) for name, signal in load_config("fleet").signals.items()}
    encoding = fit_encoding([history()], bounds, 300.0, 24, 96, "UTC")
    assert encoding.signals == METRICS
    return Windows([history()], encoding)


@lru_cache
def weights():
    """Fresh, seeded weights; never trained."""
    import torch

    from forecaster.training.library import fresh_weights

    torch.manual_seed(3)
    return fresh_weights(windows().encoding, TINY)


@lru_cache
def network():
    """The library's network with the transformer's part of those weights."""
    from forecaster.training.library import build_network

    library = build_network(windows().encoding.variables, TINY, 24, 8 * len(TINY.quantiles)).eval()
    library.load_state_dict(weights(), strict=False)
    return library


def write_untrained(folder: Path) -> Path:
    """An artifact of fresh weights: real in every respect but skill."""
    arrays = {k: v.numpy() for k, v in weights().items()}
    write_artifact(
        folder, arrays, windows().encoding, TINY, {"note": "untrained"}, {"name": "tiny", "trained": "2026-03-02"}
    )
    return folder


def tiny_chances() -> Chances:
    """Chances of small seeded weights: valid in every respect but skill."""
    rng, networks, hidden = np.random.default_rng(7), 2, 4
    sizes = [(INPUTS, hidden), (hidden, len(SPANS))]
    layers = tuple((rng.normal(0, 0.1, (networks, *size)).astype(np.float32),
                    np.zeros((networks, 1, size[1]), np.float32)) for size in sizes)
    center, scale = np.zeros(INPUTS, np.float32), np.ones(INPUTS, np.float32)
    slope, constant, calm, separate = (np.full(len(SPANS), value) for value in (1.0, 0.0, 0.001, 1.0))
    return Chances(center, scale, layers, slope, constant, calm, separate, {"note": "untrained"})


def write_untrained_series(folder: Path, signals: tuple[str, ...]) -> Path:
    """An artifact of fresh weights that forecasts each of these signals, in percent, from that series alone."""
    import torch

    from forecaster.training.library import build_network

    levels, count = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98), len(signals)
    architecture = Architecture(hidden=8, heads=2, continuous=4, dropout=0.0, quantiles=levels)
    encoding = SeriesEncoding(signals, (1e-3,) * count, (0.0,) * count, (100.0,) * count, levels, 300.0, 96, "UTC")
    torch.manual_seed(3)
    library = build_network(encoding.variables, architecture, encoding.encoder_steps, encoding.outputs).state_dict()
    arrays = {k: v.numpy() for k, v in library.items() if "variable_selection.prescalers" not in k}
    write_artifact(folder, arrays, encoding, architecture, {"note": "untrained"}, {"name": "tiny"})
    return folder


def chances_of(chances, condition, history, quantiles, levels, floor):
    """(window -> chances (N,), first step (N,)) of one incident of N servers: what risk/incidents.py makes of many
    incidents at once."""
    import numpy as np

    from forecaster.risk.chances import WINDOWS, signed
    from forecaster.risk.evidence import calm

    history, quantiles, levels = signed(condition.sign, history, quantiles, levels)
    limit = np.full(len(history), condition.limit, np.float32)
    made, step = np.tile(chances.calm, (len(history), 1)), np.zeros(len(history), np.int64)
    largest = np.fmax(np.fmax.reduce(history, 1), quantiles[..., -1].max(1))
    rows = np.flatnonzero(~calm(np.fmin.reduce(history, 1), largest, limit))
    if rows.size:
        of = history[rows], quantiles[rows], levels, limit[rows], condition.steps, floor
        made[rows], step[rows] = chances.judged(*of)
    return dict(zip(WINDOWS, made.T, strict=True)), step
