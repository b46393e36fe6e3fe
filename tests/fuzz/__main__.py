"""Draws inputs of all kinds, round robin, until the time is over; or takes one file again.

    python -m tests.fuzz --minutes 60 [--seed 7] [--kind pages]
    python -m tests.fuzz tests/fuzz/corpus/pages/long-number      (the folder is the kind)
"""

import argparse
import hashlib
import random
import sys
import time
from pathlib import Path

from tests.fuzz.judge import Wrong
from tests.fuzz.kind import Kind
from tests.fuzz.kinds import KINDS, corpus, drawn, quiet, wrong

TURN = 5.0  # s of one kind before the next has its turn
BATCH = 1000  # inputs of one kind before it is made anew


class Tried:
    """One kind, what it was given and what was found."""

    def __init__(self, name: str, seed: int, folder: Path):
        self.name, self._seed, self._folder = name, seed, folder
        self.inputs, self.findings = 0, dict[str, str]()  # words -> how to repeat it
        self._kind: Kind | None = None
        self._known = list(corpus(name))

    def turn(self, seconds: float) -> None:
        """Inputs for about so long."""
        end = time.monotonic() + seconds
        while self._kind is None or time.monotonic() < end:
            if self._kind is None:
                self._kind = KINDS[self.name]()
            given = self._known.pop().read_bytes() if self._known else drawn(self._kind, self._seed, self.inputs)
            self.inputs += 1
            if words := wrong(self._kind, given):
                self._found(words, given)
            if self.inputs % BATCH == 0 or words == "the process has ended":
                self.close()

    def close(self) -> None:
        """Ends the kind; what only all inputs together show is a finding too."""
        kind, self._kind = self._kind, None
        try:
            if kind is not None:
                kind.close()
        except Wrong as error:
            self.findings.setdefault(str(error), f"python -m tests.fuzz --kind {self.name} --seed {self._seed}")

    def _found(self, words: str, given: bytes) -> None:
        if words in self.findings:
            return
        file = self._folder / self.name / hashlib.sha256(given).hexdigest()[:12]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(given)
        self.findings[words] = f"python -m tests.fuzz {file}"
        print(f"{self.name}: {words}\n    {self.findings[words]}", flush=True)


def main() -> int:
    """The table of what was tried; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="inputs to take again, in a folder of their kind's name")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to draw (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of what is drawn (default: any)")
    parser.add_argument("--kind", action="append", choices=[*KINDS], help="only these")
    parser.add_argument("--findings", type=Path, default=Path(".data/fuzz"), help="folder for inputs that broke "
                        "something (default: %(default)s)")
    given = parser.parse_args()
    with quiet():
        return _again(given.files) if given.files else _tried(given)


def _tried(given: argparse.Namespace) -> int:
    print(f"seed {given.seed}", flush=True)
    tried = [Tried(name, given.seed, given.findings) for name in given.kind or KINDS]
    end = time.monotonic() + 60 * given.minutes
    while time.monotonic() < end:
        for one in tried:
            if (left := end - time.monotonic()) > 0:
                one.turn(min(TURN, left))
    for one in tried:
        one.close()
    print(f"\n{'kind':<22}{'inputs':>8}{'findings':>10}")
    for one in tried:
        print(f"{one.name:<22}{one.inputs:>8}{len(one.findings):>10}")
    for one in tried:
        for words, again in one.findings.items():
            print(f"\n{one.name}: {words}\n    {again}")
    return 1 if any(one.findings for one in tried) else 0


def _again(files: list[Path]) -> int:
    found = 0
    for file in files:
        kind = KINDS[file.resolve().parent.name]()
        try:
            words = wrong(kind, file.read_bytes())
            kind.close()
        except Wrong as error:
            words = str(error)
        print(f"{file}: {words or 'nothing is wrong'}")
        found += words is not None
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
