"""Rows a second of training as `fleet-forecaster train` does it: preparing them, and whole steps of both models on the
processor and, where there is one, on a CUDA card."""

import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from forecaster.config import load_config
from forecaster.models.artifact import Architecture
from forecaster.training import dataset, fleet, hosts
from tests.benchmarks.measure import Line

ROWS = {"cpu": (128, 512), "cuda": (1024, 2048)}  # a batch of the default model, and of a model of hosts
STEPS = {"cpu": (24, 6), "cuda": (200, 200)}
GOAL = 15_000  # on an H100
PREPARED = 8192


def lines(windows: dataset.Windows) -> Iterator[Line]:
    """windows: of the simulated fleet."""
    config, rng, servers = load_config("node_exporter"), np.random.default_rng(0), 20
    signals = dict(list(config.signals.items())[:6])
    values = rng.gamma(2, 3, (40 * dataset.DAY_STEPS, servers, len(signals))).astype(np.float32)
    names = tuple(f"h{i}" for i in range(servers))
    history = dataset.History(1.79e9 // 86400 * 86400, 300.0, tuple(signals), names, ("",) * servers, values)
    encoding = hosts.encoding_of(history, signals, "UTC", Architecture().quantiles)
    for workers in (1, len(os.sched_getaffinity(0))):
        started = time.perf_counter()
        made = hosts.rows(history, np.arange(servers), len(values), PREPARED, encoding, 1, workers)
        rate = len(made["target"]) / (time.perf_counter() - started)
        yield Line(f"rows of hosts prepared, {workers} processes", rate, "rows/s")
    about = {"seed": 1, "learning_rate": 1e-3, "about": {}}

    def default(steps: int, rows: int, device: str) -> None:
        fleet.fit(windows, windows, Architecture(), epochs=1, batches=steps, rows=rows, patience=1, device=device,
                  progress=False, **about)

    def of_hosts(steps: int, rows: int, device: str) -> None:
        hosts.fit(history, signals, Architecture(dropout=0.0), steps=steps, rows_per_batch=rows, examples=2 * rows,
                  device=device, timezone="UTC", **about)

    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        card = device == "cuda"
        where = torch.cuda.get_device_name() if card else f"{torch.get_num_threads()} threads"
        kinds = zip(("default", "servers"), (default, of_hosts), ROWS[device], STEPS[device], strict=True)
        for name, fit, rows, steps in kinds:
            rate = _rate(fit, steps, rows, device)
            goal = GOAL if card else None
            yield Line(f"training of {name}, {rows} rows a step", rate, "rows/s", where, goal, more=True)


def _rate(fit: Callable[[int, int, str], None], steps: int, rows: int, device: str) -> float:
    """Rows a second of the steps alone: what a long run takes more than a short one, after one to warm up."""
    taken = []
    for count in (1, 1, 1 + steps):
        started = time.perf_counter()
        fit(count, rows, device)
        taken.append(time.perf_counter() - started)
    return steps * rows / (taken[2] - taken[1])
