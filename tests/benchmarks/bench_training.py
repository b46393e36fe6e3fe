"""The training data path and a training step, beside pytorch-forecasting's own."""

import logging
import warnings
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from exporter.profiles import load_fleet
from forecaster.config import load_config
from forecaster.models import features
from forecaster.models.artifact import Architecture
from forecaster.training import dataset, simulation
from forecaster.training.fleet import Training
from forecaster.training.library import build_network, fresh_weights
from tests.benchmarks import rates
from tests.benchmarks.measure import Line, seconds, side_by_side
from tests.library_network import library_inputs

ROWS, BATCHES = 128, 12
CORE = "cpu_pct"


def lines() -> Iterator[Line]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    history = simulation.simulate(load_fleet(), 1.79e9 // 86400 * 86400, 4.0, 300.0, 2.0, 3)
    bounds = {name: (s.min, s.max) for name, s in load_config("fleet").signals.items()}
    encoding = dataset.fit_encoding([history], bounds, 300.0, 24, 96, "UTC")
    windows, seeds = dataset.Windows([history], encoding), iter(range(10**6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = _library(history, encoding)
        loader = library.to_dataloader(train=True, batch_size=ROWS, num_workers=0)
        took = side_by_side({
            "ours": lambda: list(dataset.training_batches(windows, ROWS, BATCHES, next(seeds))),
            "library": lambda: list(islice(loader, BATCHES)),
        }, 5, 1)
    items = ROWS * BATCHES
    yield Line(
        "our batches", items / took["ours"] / 1000, "k items/s", f"{len(encoding.signals)} targets, {ROWS} rows a batch"
    )
    yield Line(
        "pytorch-forecasting's DataLoader", items / took["library"] / 1000, "k items/s", "num_workers=0, one target"
    )
    yield Line("ours over the library's", took["library"] / took["ours"], "x", "", 5.0, more=True)

    architecture = Architecture()
    inputs, target = next(dataset.training_batches(windows, ROWS, 1, 0, shorten=False))
    inputs = {k: torch.as_tensor(v) for k, v in inputs.items()}
    ours = Training(encoding, architecture, fresh_weights(encoding, architecture), 1e-3, 10)
    outputs = len(encoding.signals) * len(architecture.quantiles)
    theirs = build_network(encoding.variables, architecture, 24, outputs)
    as_library = library_inputs(inputs)

    def step_ours():
        ours.zero_grad()
        ours.loss((inputs, torch.as_tensor(target))).backward()

    def step_theirs():
        theirs.zero_grad()
        theirs(as_library)["prediction"].square().mean().backward()

    steps = side_by_side({"ours": step_ours, "library": step_theirs}, 5, 1)
    batch = seconds(lambda: next(dataset.training_batches(windows, ROWS, 1, next(seeds))), 9)
    yield Line("a training step, ours", 1000 * steps["ours"], "ms", f"{ROWS} rows, forward and backward")
    yield Line("a training step, the library's module", 1000 * steps["library"], "ms", "the same weights and rows")
    yield Line("share of the data path in our step", 100 * batch / (batch + steps["ours"]), "%", "", 10)
    yield Line("largest difference of 30 losses, ours and the library's", _losses_apart(windows, encoding), "",
               "same rows, weights and optimizer", 1e-4)
    yield from rates.lines(windows)


def _losses_apart(windows: dataset.Windows, encoding: features.Encoding) -> float:
    """The same 30 batches through the served pass and through the library's module, each trained by itself."""
    from forecaster.models.tft import Tft

    architecture = Architecture(hidden=16, heads=2, continuous=8, dropout=0.0)
    torch.manual_seed(0)
    outputs = len(encoding.signals) * len(architecture.quantiles)
    module = build_network(encoding.variables, architecture, 24, outputs)
    own = torch.nn.ParameterDict({k.replace(".", "/"): torch.nn.Parameter(v.detach().clone())
                                  for k, v in module.named_parameters()})
    optimizers = [torch.optim.SGD(p.parameters(), lr=0.05) for p in (module, own)]
    apart = 0.0
    for inputs, target in dataset.training_batches(windows, 32, 30, 5):
        x, wanted = {k: torch.as_tensor(v) for k, v in inputs.items()}, torch.as_tensor(target).nan_to_num()
        served = Tft({k.replace("/", "."): v for k, v in own.items()}, encoding.variables, architecture.heads)
        losses = []
        for out, optimizer in zip((module(library_inputs(x))["prediction"], served(x)), optimizers, strict=True):
            shown = out.unflatten(-1, (len(encoding.signals), -1)).transpose(1, 2)
            loss = (shown - wanted[..., None]).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        apart = max(apart, abs(losses[0] - losses[1]))
    return apart


def _library(history: dataset.History, encoding: features.Encoding):
    """The same history as a TimeSeriesDataSet, one target."""
    import pandas as pd
    from pytorch_forecasting import TimeSeriesDataSet

    values = history.values[::5]
    steps, servers, _ = values.shape
    z = encoding.scale(values.reshape(-1, len(history.signals))).reshape(values.shape)
    clock, calendar = features.clock_inputs(encoding, (history.start + np.arange(steps) * 300.0)[:, None], np.zeros(1))
    columns = {"time": np.tile(np.arange(steps), servers), "server": np.repeat(history.servers, steps),
               "profile": np.repeat(history.profiles, steps)}
    columns |= {f"signal_{s}": z[..., i].T.ravel() for i, s in enumerate(history.signals)}
    columns |= {f"clock_{i}": np.tile(clock[:, 0, i], servers) for i in range(3)}
    columns |= {f"calendar_{i}": np.tile(calendar[:, 0, i], servers).astype(str) for i in range(2)}
    return TimeSeriesDataSet(
        pd.DataFrame(columns), time_idx="time", target=f"signal_{CORE}", group_ids=["server"], max_encoder_length=24,
        max_prediction_length=96, static_categoricals=["server", "profile"],
        time_varying_known_categoricals=["calendar_0", "calendar_1"],
        time_varying_known_reals=["clock_0", "clock_1", "clock_2"],
        time_varying_unknown_reals=[f"signal_{s}" for s in history.signals],
    )
