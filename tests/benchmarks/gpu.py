"""Where a CUDA device is at hand: 10,000 servers through the default model, in full and in half precision.

    python -m tests.benchmarks.gpu

Prints milliseconds with both copies, beside the CPU's compiled pass, and what half precision does to the loss on simulated
windows. The product runs in full precision until this has been seen to be within 0.5 %.
"""

import sys

import numpy as np
import torch

from exporter.profiles import load_fleet
from forecaster import dataset, scoring
from forecaster.model import DEFAULT, Model
from tests.benchmarks.bench_forward import inputs
from tests.benchmarks.measure import Line, machine, seconds

SIZES, GOAL = (20, 1000, 10_000), 50.0
WEEK = 1_790_000_000 // 86400 * 86400


def main() -> int:
    if not torch.cuda.is_available():
        print("no CUDA device: nothing measured (the compiled pass serves; see python -m tests.benchmarks forward)")
        return 0
    print(f"{torch.cuda.get_device_name()}, {machine()}, PyTorch {torch.__version__}")
    full, cpu = Model.load(DEFAULT, "cuda"), Model.load(DEFAULT, "cpu")
    for servers in SIZES:
        x = inputs(full, servers)
        for name, half in (("float32", False), ("float16", True)):
            with torch.autocast("cuda", torch.float16, enabled=half):
                took = seconds(lambda x=x: (full.engine(x), torch.cuda.synchronize()), 15, 3)
            limit = GOAL if servers == SIZES[-1] else None
            print(Line(f"{servers} servers, {name}, both copies included", 1000 * took, "ms", "", limit))
        print(Line(f"{servers} servers, compiled on the CPU", 1000 * seconds(lambda x=x: cpu.engine(x), 5), "ms"))
    windows = dataset.Windows(dataset.simulate_many(load_fleet(), 3, 7.0, 300.0, 91_001, WEEK), full.encoding)
    past, future, instants, earlier, identity = windows.sample(4000, np.random.default_rng(0))
    names = windows.names(identity)
    losses = []
    for half in (False, True):
        with torch.autocast("cuda", torch.float16, enabled=half):
            forecast, _ = full.forecast(past, instants, *names, earlier)
        rows = scoring.figures(forecast, future, None, full.encoding.signals)["signals"].values()
        losses.append(np.mean([[row["wql_30m"], row["wql_8h"]] for row in rows], 0))
    for label, change in zip(("30 minutes", "8 hours"), losses[1] / losses[0] - 1, strict=True):
        print(Line(f"loss of half over full precision, {label}", 100 * abs(change), "%", "", 0.5))
    return 0


if __name__ == "__main__":
    sys.exit(main())
