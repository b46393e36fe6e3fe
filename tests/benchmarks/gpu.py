"""With a CUDA device: 10,000 servers through the default model, as it is served there and in full precision.

    python -m tests.benchmarks.gpu

Prints milliseconds with both copies beside the CPU's compiled pass, their parts, and the effect of half precision on
the loss on simulated windows. Needs neither Lightning nor pytorch-forecasting.
"""

import sys
from collections.abc import Callable

import numpy as np
import torch

from exporter.profiles import load_fleet
from forecaster.evaluation import scoring
from forecaster.models.artifact import DEFAULT
from forecaster.models.eager import Cuda, Eager, ascending
from forecaster.models.engine import Engine
from forecaster.models.model import Model
from forecaster.training import dataset, simulation
from tests.benchmarks.inputs import inputs
from tests.benchmarks.measure import Line, machine, seconds

SIZES, GOAL = (20, 1000, 10_000), 50.0
WEEK = 1_790_000_000 // 86400 * 86400


def main() -> int:
    if not torch.cuda.is_available():
        print("no CUDA device: nothing measured (the compiled pass serves; see python -m tests.benchmarks forward)")
        return 0
    print(f"{torch.cuda.get_device_name()}, {machine()}, PyTorch {torch.__version__}")
    served, cpu = Model.load(DEFAULT, "cuda"), Model.load(DEFAULT, "cpu")
    half = served.engine
    if not isinstance(half, Cuda):
        print("half precision is not used here; the log says why")
        return 1
    full = Eager(half.network, half.device)
    for servers in SIZES:
        x = inputs(served, servers)
        limit = GOAL if servers == SIZES[-1] else None
        print(
            Line(
                f"{servers} servers, as served",
                1000 * seconds(lambda x=x: half(x), 15, 3),
                "ms",
                "both copies included",
                limit,
            )
        )
        print(Line(f"{servers} servers, full precision", 1000 * seconds(lambda x=x: full(x), 9, 2), "ms"))
        print(
            Line(
                f"{servers} servers, {cpu.info['engine']} on the CPU",
                1000 * seconds(lambda x=x: cpu.engine(x), 5),
                "ms",
            )
        )
    for what, call in _pieces(half, x).items():
        print(Line(f"{SIZES[-1]} servers, {what}", 1000 * seconds(call, 9, 2), "ms"))
    print(Line("most of the card's memory in use", torch.cuda.max_memory_allocated() / 2**30, "GiB"))
    for label, change in zip(("30 minutes", "8 hours"), _loss(served, half) / _loss(served, full) - 1, strict=True):
        print(Line(f"loss of half over full precision, {label}", 100 * abs(change), "%", f"{100 * change:+.3f}", 0.5))
    return 0


def _pieces(half: Cuda, x: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    """The parts of a pass, each by itself."""
    device = half.device
    there = {k: torch.as_tensor(v, device=device) for k, v in x.items()}
    with torch.inference_mode():
        made = half._half(there)
        done = ascending(half._in_units(made.float()))

    def timed(call: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode():
                call()
                torch.cuda.synchronize()
        return run

    return {
        "copy in": timed(lambda: {k: torch.as_tensor(v, device=device) for k, v in x.items()}),
        "network": timed(lambda: half._half(there)),
        "to signal units, sorted": timed(lambda: ascending(half._in_units(made.float()))),
        "copy out": timed(lambda: torch.empty(done.shape, pin_memory=True).copy_(done)),
    }


def _loss(model: Model, chosen: Engine) -> np.ndarray:
    """Weighted quantile loss (30 minutes, 8 hours), mean over the signals, on simulated windows."""
    windows = dataset.Windows(simulation.simulate_many(load_fleet(), 3, 7.0, 300.0, 91_001, WEEK), model.encoding)
    past, future, instants, earlier, identity = windows.sample(4000, np.random.default_rng(0))
    model.engine = chosen
    forecast, _ = model.forecast(past, instants, *windows.names(identity), earlier)
    rows = scoring.figures(forecast, future, None, model.encoding.signals)["signals"].values()
    return np.mean([[row["wql_30m"], row["wql_8h"]] for row in rows], 0)


if __name__ == "__main__":
    sys.exit(main())
