"""Model folders with a right checksum and wrong content: the forecaster starts, without the model where it must."""

import hashlib
import json
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from forecaster.config import load_config
from forecaster.models.artifact import MODELS
from forecaster.models.choice import SWITCH
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.risk.chances import FILE
from forecaster.service.assembly import assemble
from tests.fuzz import mutate
from tests.fuzz.judge import check
from tests.fuzz.kind import Kind


class Models(Kind):
    """An input is a line with model and file, then the file's content."""

    name, inputs = "models", 8
    seconds, megabytes = 10.0, 300.0

    def __init__(self) -> None:
        self._folder, self._good = tempfile.TemporaryDirectory(), MODELS
        self._compiled = os.environ.get(SWITCH)
        os.environ[SWITCH] = "0"  # to compile takes seconds, and what fails there leaves PyTorch's pass

    def draw(self, chance: random.Random) -> bytes:
        model = chance.choice(("default", "servers"))
        file = chance.choice(("artifact.json", "artifact.json", "weights.npz", "weights.npz", "report.json", FILE))
        content = (self._good / model / file).read_bytes()
        if chance.random() < 0.2:
            content = mutate.data(chance, content)
        elif file.endswith(".json"):
            content = mutate.as_json(mutate.tree(chance, json.loads(content)))
        else:
            with np.load(self._good / model / file) as held:
                content = mutate.arrays(chance, {name: held[name] for name in held.files})
        return f"{model} {file}\n".encode() + content

    def run(self, given: bytes) -> None:
        line, _, content = given.partition(b"\n")
        model, file = line.decode().split()
        folder = Path(self._folder.name, "tried")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._good / model, folder)
        (folder / file).write_bytes(content)
        if file == "weights.npz":  # right checksum, wrong content
            facts = json.loads((folder / "artifact.json").read_text())
            facts["weights_sha256"] = hashlib.sha256(content).hexdigest()
            (folder / "artifact.json").write_text(json.dumps(facts))
        config = load_config("fleet", {"model": str(folder), "device": "cpu", "encoder_steps": 24})
        parts = assemble(config, SelfMetrics(CollectorRegistry(), "0"), lambda: 1_760_000_000.0)
        check(parts.model["loaded"] or parts.model["problem"], "no model, and no reason why")
        json.dumps(dict(parts.model))  # /status shows it
        used: Any = parts.cycle._model
        if used is None:
            return
        window = np.full((2, len(used.encoding.signals), 24), 50, np.float32)
        values, done = used.quantiles(window, 1_760_000_000.0, ("a", "b"), ("web", "db"))
        check(np.isfinite(values[done]).all() and values.shape[:2] == done.shape, "a forecast is not finite")

    def close(self) -> None:
        del os.environ[SWITCH]
        if self._compiled is not None:
            os.environ[SWITCH] = self._compiled
        self._folder.cleanup()
