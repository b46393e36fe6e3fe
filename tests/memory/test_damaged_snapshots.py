"""Snapshots that are damaged or made up: restored whole, or ignored with a reason and the memory left as it was."""

from collections.abc import Callable

import numpy as np
import pytest

from forecaster.capacity.held import Held
from forecaster.capacity.kept import Kept as Filling
from forecaster.capacity.series import Named, Stretch
from forecaster.memory.by_server import DAYS, ByServer
from forecaster.memory.keeping import Keeper
from forecaster.memory.outcomes import Outcomes
from forecaster.memory.pages import Pages
from forecaster.memory.past import Past
from forecaster.memory.record import Record
from forecaster.memory.snapshot import SnapshotError
from forecaster.memory.window import Window
from forecaster.readings import Reading, Readings
from tests import mutations

NOW, STEP = 1_760_000_100.0, 300.0
SERVERS, SIGNALS = ("db", "web"), ("cpu", "mem")


def reading(now: float) -> Reading:
    return Reading(now, SERVERS, ("p", "q"), np.array([[1, 2], [3, np.nan]], np.float32))


class OfWindow:
    def __init__(self, made: Window):
        self.part = made

    @classmethod
    def empty(cls) -> "OfWindow":
        return cls(Window(SIGNALS, 15.0, 60.0, 3, sample_interval=5.0, origin="o"))

    def fill(self) -> None:
        for n in range(12):
            self.part.append(reading(NOW - 180 + 15 * n))

    def use(self) -> None:
        ring, now = self.part, NOW + 15
        ring.append(reading(now))
        ring.fill(Readings(np.array([now - 30]), SERVERS, ("p", "q"), np.ones((1, 2, 2), np.float32)))
        assert ring.encoder(now).dtype == np.float32 and ring.latest(now).shape == (len(ring.servers), 2)
        assert ring.samples(now).min() >= 0 and not np.isinf(ring.encoder(now)).any()
        ring.gaps(now), ring.holes(now), ring.readings(now - 60, now), ring.last_seen + 1
        assert (ring.last_seen[np.isfinite(ring.last_seen)] <= now).all()
        "".join([*ring.servers, *ring.profiles]).encode()
        ring.drop(ring.servers)


class OfPast(OfWindow):
    @classmethod
    def empty(cls) -> "OfPast":
        return cls(Past(SIGNALS, 15.0, 15.0, 12, "o"))

    def use(self) -> None:
        self.part.context(NOW, SERVERS, np.ones((2, 2, 4), np.float32)), self.part.piece(NOW)
        super().use()


class Stepped:
    """What takes a step of the fleet at a time."""

    step: Callable[[float], None]

    def fill(self) -> None:
        for n in range(9):
            self.step(NOW - STEP * (8 - n))

    def use(self) -> None:
        for n in range(1, 8):
            self.step(NOW + STEP * n)


class OfRecord(Stepped):
    def __init__(self) -> None:
        self.part = Record(SIGNALS, {"5m": 1, "30m": 6}, STEP, 86400.0, 5, 3.0, "who")

    @classmethod
    def empty(cls) -> "OfRecord":
        return cls()

    def step(self, now: float) -> None:
        forecast = np.tile(np.array([1, 2, 3], np.float32), (2, 2, 96, 1))
        heuristic = forecast[:, :, :2] * np.array([0.8, 1, 1.2], np.float32)
        proof = self.part.step_over(now, SERVERS, np.array([[2, 2.5], [1, np.nan]], np.float32), forecast, heuristic,
                                    np.ones((2, 2), bool), [(0, 100), (None, None)])
        assert proof.coverage.shape == (2, 2) and np.isfinite(proof.widening).all()


class OfFilling:
    def __init__(self) -> None:
        self.held = Held("origin")
        self.part = Filling(self.held)

    @classmethod
    def empty(cls) -> "OfFilling":
        return cls()

    def take(self, end: float) -> None:
        instants, values = end - STEP * np.arange(2, -1, -1.0), np.array([[0.1, 0.2, 0.3]] * 2, np.float32)
        entities = [Named("web", "/", "sda"), Named("db", "/", "sda")]
        self.held.take(Stretch(instants, entities, ["p", "q"], values, values * 100), 100)

    def fill(self) -> None:
        self.take(NOW // STEP * STEP)

    def use(self) -> None:
        now = int(NOW // STEP * STEP) + 300
        begin, end = self.held.stretch(now)
        assert 0 <= end - begin <= 40 * 86400
        self.take(now), self.held.advance(now + 300)
        hourly, recent = self.held.past()
        assert hourly.dtype == recent.dtype == np.float32 and not np.isinf(hourly).any()
        self.held.used(), self.held.piece(), self.held.lost, self.held.read_share
        "".join(text for one in self.held.entities for text in one).encode()


class OfOutcomes(Stepped):
    def __init__(self) -> None:
        self.part = Outcomes(("full", "slow"), {"30m": 6, "8h": 96}, STEP, "who")

    @classmethod
    def empty(cls) -> "OfOutcomes":
        return cls()

    def step(self, now: float) -> None:
        chance = np.array([[0.1, 0.5], [0.9, np.nan]])
        self.part.step_over(now, SERVERS, np.zeros((2, 2), bool), np.ones((2, 2), bool), {"30m": chance, "8h": chance})

    def use(self) -> None:
        super().use()
        total = self.part.total()
        assert total.shape == (2, 2, 12, 3) and np.isfinite(total).all() and (total >= 0).all()


class OfPages(Stepped):
    def __init__(self) -> None:
        self.part = Pages(STEP, "who", ("full", "slow"))

    @classmethod
    def empty(cls) -> "OfPages":
        return cls()

    def step(self, now: float) -> None:
        known, on = np.ones((2, 2), bool), np.zeros((2, 2), bool)
        self.part.cycle(now, SERVERS, known, known[0], on | (now % 600 == 0), known)
        self.part.capacity(now, [("db", "fs /")], known[:, :1], *(known[0, :1],) * 2, on[0, :1])

    def use(self) -> None:
        super().use()
        found = self.part.of()
        assert self.part.counts().sum() == len(found) and self.part.weeks() >= 0
        assert not [one for one in found if not (one.lead > 0 or np.isnan(one.lead))]
        "".join(f"{one.server}{one.entity}{one.what}" for one in found).encode()


class OfServers:
    def __init__(self) -> None:
        self.part = ByServer(2, "who")

    @classmethod
    def empty(cls) -> "OfServers":
        return cls()

    def fill(self) -> None:
        for n in range(9):
            self.part.add(NOW - 86400 * (8 - n), SERVERS, np.array([0, 1]), np.ones((2, 2, 4)))

    def use(self) -> None:
        for n in range(1, 8):
            self.part.add(NOW + 3600 * n, SERVERS, np.array([1]), np.ones((1, 2, 4)))
        found = self.part.of("web")
        assert found.shape == (2, 4) and np.isfinite(found).all() and found.min() >= 7 and DAYS == 7


KINDS = (OfWindow, OfPast, OfRecord, OfFilling, OfOutcomes, OfPages, OfServers)


def checked(kind, path, now: float = NOW + 15) -> bool:
    """Whether the file was restored; in either case the part works and can be written again."""
    fresh = kind.empty()
    try:
        reason = fresh.part.restore(path, now)
    except SnapshotError as error:
        reason = str(error)
    assert reason is None or str(path) in reason
    fresh.use()
    fresh.part.snapshot(path.with_name("again.npz"))
    return reason is None


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def written(kind, tmp_path) -> tuple:
    made, path = kind.empty(), tmp_path / "part.npz"
    made.fill()
    made.part.snapshot(path)
    return path, path.read_bytes()


def test_a_mutated_snapshot_is_restored_or_ignored_and_never_raises(kind, tmp_path):
    path, whole = written(kind, tmp_path)
    assert checked(kind, path)
    rng, restored = np.random.default_rng(16), 0
    for n in range(80):
        path.write_bytes((mutations.bytes_of if n % 2 else mutations.arrays_of)(rng, whole))
        restored += checked(kind, path)
    assert restored < 40


def test_a_snapshot_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "window.npz"
    path.write_bytes(mutations.bomb(("version", "values"), 0.05, "version"))
    with pytest.raises(SnapshotError, match="bytes, expected at most"):
        OfWindow.empty().part.restore(path, NOW)


def test_a_damaged_snapshot_is_put_aside_and_the_other_parts_are_restored(tmp_path, caplog):
    _, record = written(OfRecord, tmp_path)
    for damaged in (b"first", b"second"):
        (tmp_path / "window.npz").write_bytes(damaged)
        (tmp_path / "record.npz").write_bytes(record)
        parts = OfWindow.empty().part, OfRecord.empty().part
        Keeper(tmp_path, {}).restore(dict(zip(("window.npz", "record.npz"), parts, strict=True)), NOW + 15)
        assert parts[0].servers == () and len(parts[1].proof().outcomes)
        assert not (tmp_path / "window.npz").exists() and (tmp_path / "window.npz.damaged").read_bytes() == damaged
        assert f"{tmp_path}/window.npz cannot be read" in caplog.text and "window.npz.damaged" in caplog.text
    assert (tmp_path / "record.npz").read_bytes() == record


def test_a_snapshot_for_which_the_disk_has_no_room_keeps_no_smaller_one_from_being_written(tmp_path, caplog):
    class TooLarge(Window):
        def snapshot(self, path):
            raise OSError(28, "No space left on device")

    errors: dict[str, str | None] = {}
    keeper, record = Keeper(tmp_path, errors), OfRecord.empty().part
    keeper.save({"window.npz": TooLarge(SIGNALS, 15.0, 60.0, 3), "record.npz": record})
    assert [one.name for one in tmp_path.iterdir()] == ["record.npz"]
    assert errors["snapshot"] == (f"{tmp_path}/window.npz: No space left on device; free space or choose another "
                                  "--storage.path") and errors["snapshot"] in caplog.text
    keeper.save({"record.npz": record})
    assert errors["snapshot"] is None


def test_a_snapshot_that_does_not_fit_is_left_where_it_is(tmp_path):
    path, whole = written(OfWindow, tmp_path)
    Keeper(tmp_path, {}).restore({path.name: Window(SIGNALS, 15.0, 60.0, 3, origin="another")}, NOW)
    assert path.read_bytes() == whole and [one.name for one in tmp_path.iterdir()] == [path.name]
