"""Configuration files of the forecaster and the exporter: valid, or refused in good time and in few words."""

import random
import tempfile
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from exporter.profiles import load_fleet
from forecaster.config import PRESETS, load_config
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.service.assembly import assemble
from serving.settings import SettingsError
from stack.layout import ROOT
from tests.fuzz import mutate
from tests.fuzz.judge import check
from tests.fuzz.kind import Kind

TEXTS = {"forecaster": (PRESETS / "fleet.yml").read_text(), "fleet": (ROOT / "exporter" / "fleet.yml").read_text()}
YAML = ("*x", "&x [*x]", "!!python/object/apply:os.system [true]", "!!binary x", "!!timestamp 9999-99-99", "? ",
        "<<: *x", "2026-13-45", "0o9", "0x", "1:60:61", "~", "!!set {a}", "- - - -", "{[", "%YAML 9.9\n---\n", "\t",
        "---\n---\n", "!!int x", "!!float x", "1e999", ".nan", "-.inf", "!<tag:yaml.org,2002:null> x", "'", "|+9\n",
        "9" * 5000)


class Configurations(Kind):
    """An input is a line with the file's kind, then its content."""

    name, inputs = "configurations", 120
    seconds, megabytes = 2.0, 200.0

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name, "given.yml")

    def draw(self, chance: random.Random) -> bytes:
        kind = chance.choice([*TEXTS])
        text = TEXTS[kind]
        draw = chance.random()
        if draw < 0.5:
            changed = mutate.tree(chance, yaml.safe_load(text), 2)
            text = mutate.as_json(changed).decode("utf-8", "replace")  # JSON is YAML
        elif draw < 0.85:
            lines = text.splitlines()
            for _ in range(chance.choice((1, 2, 5))):
                at = chance.randrange(len(lines))
                head = lines[at].partition(":")[0]
                lines[at] = chance.choice((f"{head}: {chance.choice(YAML)}", chance.choice(YAML), lines[at] * 2,
                                           f" {lines[at]}"))
            text = "\n".join(lines)
        elif draw < 0.9:
            text = chance.choice((bomb(), "".join(f"key{n}: 1\n" for n in range(50_000)), "[" * 3000, "{a: " * 3000,
                                  f"signals: {'x' * (4 << 20)}\n", "? " * 3000, "- " * 20_000))
        made = text.encode()
        return f"{kind}\n".encode() + (mutate.data(chance, made, 3) if chance.random() < 0.25 else made)

    def run(self, given: bytes) -> None:
        kind, _, content = given.partition(b"\n")
        self._path.write_bytes(content)
        try:
            if kind == b"fleet":
                load_fleet(self._path)
            else:
                config = load_config(self._path, {"model": "none"})
                assemble(config, SelfMetrics(CollectorRegistry(), "0"), lambda: 1_760_000_000.0).source.describe()
        except SettingsError as error:
            check(len(str(error)) < 50_000, "a refusal takes more than 50,000 characters")

    def close(self) -> None:
        self._folder.cleanup()


def bomb() -> str:
    """Aliases of aliases: ten lines that are 10^9 values when written out."""
    return "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
