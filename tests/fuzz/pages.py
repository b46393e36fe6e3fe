"""Pages of metrics: damaged, odd and hostile lines before and after a good one."""

import random

import numpy as np

from forecaster.memory.window import Window
from forecaster.readings import Labels, SourceNonsense
from forecaster.sources.bounds import Bounds
from forecaster.sources.exposition_text import page_reading
from tests.fuzz import mutate
from tests.fuzz.judge import check
from tests.fuzz.kind import Kind

NOW = 1_760_000_010.0
SIGNALS = {"cpu": Bounds(0, 100), "mem": Bounds()}
METRICS = [("cpu", 100.0), ("mem", 1.0)]
LABELS = Labels()
KEPT = b'\ncpu{server="kept by all"} 0.25\n'


class Pages(Kind):
    """An input is the page before a last, good line."""

    name, inputs = "pages", 600
    seconds, megabytes = 1.0, 100.0

    def draw(self, chance: random.Random) -> bytes:
        lines = []
        for _ in range(chance.choice((0, 1, 5, 40))):
            name = chance.choice(("cpu", "cpu", "mem", '{"cpu"', "cpu_total", "x", "# TYPE cpu", "# HELP cpu"))
            labels = ",".join(
                f'{chance.choice(("server", "server", "profile", "le", "", "é", "a b"))}="{_text(chance)}"'
                for _ in range(chance.choice((0, 1, 2, 2, 300 if chance.random() < 0.1 else 2))))
            value = chance.choice(("1", "0.5", "NaN", "+Inf", "-Inf", "1e999", "0x1p4", "1_0", "", "é", "9" * 400,
                                   "nan(1)"))
            stamp = chance.choice(("", "", "", " 1760000000000", " -1", " 1e30", " 9" + "9" * 400, " x",
                                   ' # {a="b"} 1'))
            lines.append(f"{name}{{{labels}}} {value}{stamp}")
        made = "\n".join(lines).encode("utf-8", "surrogatepass")
        if chance.random() < 0.1:
            made += b"\n# EOF"
        return mutate.data(chance, made) if chance.random() < 0.6 else made

    def run(self, given: bytes) -> None:
        try:
            reading, _ = page_reading(given + KEPT, NOW, METRICS, SIGNALS, LABELS)
        except SourceNonsense as error:
            check(False, f"a good line is lost: {type(error).__name__}")
        at = reading.servers.index("kept by all")
        check(reading.values[at, 0] == np.float32(25), "the good value is changed")
        check(reading.values.dtype == np.float32 and reading.values.shape == (len(reading.servers), 2), "odd shape")
        window = Window(tuple(SIGNALS), 15.0, 300.0, 4)
        window.append(reading)
        check(window.latest(NOW)[window.servers.index("kept by all"), 0] == np.float32(25), "the window lost a value")


def _text(chance: random.Random) -> str:
    text = chance.choice(("db1", "db2", "kept", *mutate.TEXTS))
    return text if chance.random() < 0.3 else text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
