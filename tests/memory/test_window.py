"""The ring against a dictionary that does the same the slow way, and its rules one by one."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.memory.snapshot import SnapshotError
from forecaster.memory.window import Window
from forecaster.readings import Reading, Readings

NAN = float("nan")
START = 1_700_000_000 // 60 * 60.0


def window(**changes) -> Window:
    """Two signals, a column every 15 s, a step of 60 s, 3 encoder steps: 12 columns."""
    return Window(**{"signals": ("cpu", "mem"), "refresh": 15.0, "step": 60.0, "encoder_steps": 3} | changes)


def reading(instant: float, **values: tuple[float, float]) -> Reading:
    """One reading; keywords are servers, of profile <server>-profile."""
    servers = tuple(sorted(values))
    return Reading(instant, servers, tuple(f"{server}-profile" for server in servers),
                   np.array([values[server] for server in servers], np.float32).reshape(len(servers), 2))


def stretch(instants: list[float], **values: list[tuple[float, float]]) -> Readings:
    """Several instants; keywords are servers with one pair per instant."""
    servers = tuple(sorted(values))
    array = np.array([values[server] for server in servers], np.float32)
    array = array.reshape(len(servers), len(instants), 2).transpose(1, 0, 2)
    return Readings(np.array(instants), servers, tuple("history" for _ in servers), array)


class Naive:
    """The window as a dictionary: (column, server) -> list of signals."""

    def __init__(self, length: int, stride: int, steps: int):
        self.length, self.stride, self.steps = length, stride, steps
        self.asked: set[int] = set()
        self.cells: dict[tuple[int, str], list[float]] = {}
        self.last: dict[str, int] = {}
        self.head: int | None = None

    def advance(self, column: int) -> None:
        self.head = column
        gone = {k for k in self.asked if k > column or k <= column - self.length}
        self.asked -= gone
        self.cells = {key: cell for key, cell in self.cells.items() if key[0] not in gone}

    def write(self, column: int, server: str, values: list[float], live: bool) -> None:
        if any(np.isfinite(values)):
            cell = self.cells.setdefault((column, server), [NAN, NAN])
            for c, value in enumerate(values):
                if np.isfinite(value) and (live or np.isnan(cell[c])):
                    cell[c] = value
            self.last[server] = max(self.last.get(server, column), column)

    def append(self, column: int, values: dict[str, list[float]]) -> None:
        if self.head is not None and column < self.head:
            self.last = {server: min(last, column) for server, last in self.last.items()}
        self.advance(column)
        self.asked.add(column)
        for server, cell in values.items():
            self.write(column, server, cell, live=True)

    def fill(self, columns: list[int], values: dict[str, list[list[float]]]) -> None:
        if self.head is None or columns[-1] > self.head:
            self.advance(columns[-1])
        for n, column in enumerate(columns):
            if column > self.head - self.length:
                self.asked.add(column)
                for server, cells in values.items():
                    self.write(column, server, cells[n], live=False)

    def drop(self, server: str) -> None:
        self.last.pop(server, None)
        self.cells = {key: cell for key, cell in self.cells.items() if key[1] != server}

    def at(self, column: int, servers: tuple[str, ...]) -> np.ndarray:
        cells = [self.cells.get((column, server), [NAN, NAN]) for server in servers]
        return np.array(cells, np.float32).reshape(len(servers), 2)

    def encoder(self, column: int, servers: tuple[str, ...]) -> np.ndarray:
        """(S, 2, steps): the first number met from the end of each step back to its beginning."""
        found = np.full((len(servers), 2, self.steps), NAN, np.float32)
        for s, c, n in np.ndindex(found.shape):
            end = column - (self.steps - 1 - n) * self.stride
            past = [self.cells.get((k, servers[s]), [NAN, NAN])[c] for k in range(end, end - self.stride, -1)]
            found[s, c, n] = next((value for value in past if np.isfinite(value)), NAN)
        return found


cell = st.lists(st.one_of(st.integers(0, 99).map(float), st.just(NAN), st.just(float("inf"))),
                min_size=2, max_size=2)
names = st.sampled_from(["a", "b", "c", "d"])
moves = st.lists(st.one_of(
    st.tuples(st.just("append"), st.integers(-4, 9), st.dictionaries(names, cell)),
    st.tuples(st.just("append"), st.integers(-40, 40), st.dictionaries(names, cell)),
    st.tuples(st.just("fill"), st.integers(-14, 3),
              st.dictionaries(names, st.lists(cell, min_size=4, max_size=4))),
    st.tuples(st.just("drop"), st.just(0), names),
), max_size=14)


@pytest.mark.slow
@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(moves)
def test_the_ring_holds_what_a_dictionary_would(moves):
    ring, naive, now = window(), Naive(length=12, stride=4, steps=3), 1000
    for kind, by, what in moves:
        if kind == "append":
            now += by
            ring.append(reading(now * 15.0 + 7, **what))
            naive.append(now, what)
        elif kind == "fill":
            columns = list(range(now + by, now + by + 4))
            ring.fill(stretch([k * 15.0 for k in columns], **what))
            naive.fill(columns, what)
        else:
            ring.drop([what])
            naive.drop(what)
        servers = tuple(sorted(naive.last))
        assert ring.servers == servers
        np.testing.assert_array_equal(ring.last_seen, [naive.last[server] * 15.0 for server in servers])
        for at in {now, naive.head or now, now + 2}:
            np.testing.assert_array_equal(ring.encoder(at * 15.0), naive.encoder(at, servers))
            np.testing.assert_array_equal(ring.latest(at * 15.0), naive.at(at, servers))
            columns = range(at - 11, at + 1)
            counts = [sum((k, server) in naive.cells for k in columns) * 3 for server in servers]
            np.testing.assert_array_equal(ring.samples(at * 15.0 + 14), counts)
            missing = {k for first, last in ring.gaps(at * 15.0)
                       for k in range(int(first // 15), int(last // 15) + 1)}
            assert missing == set(columns) - naive.asked


def test_the_encoder_reads_every_step_backwards_from_now_as_float32():
    ring = window()
    for k in range(12):
        ring.append(reading(START + 15 * k + 3, web=(k, 100 + k)))
    now = START + 15 * 11 + 3
    encoder = ring.encoder(now)
    assert encoder.shape == (1, 2, 3) and encoder.dtype == np.float32 and encoder.flags.c_contiguous
    assert encoder[0].tolist() == [[3, 7, 11], [103, 107, 111]]
    assert ring.latest(now).tolist() == [[11, 111]]
    assert ring.newest == START + 15 * 11


def test_one_missed_reading_costs_no_step_of_the_encoder_and_invents_nothing_for_the_present():
    ring, now = window(), START + 15 * 11
    for k in range(11):
        ring.append(reading(START + 15 * k, web=(k, 100 + k), db=(k, NAN if k == 10 else -k)))
    ring.append(reading(now))
    assert ring.encoder(now)[1].tolist() == [[3, 7, 10], [103, 107, 110]]
    assert ring.encoder(now)[0].tolist() == [[3, 7, 10], [-3, -7, -9]], "each signal on its own"
    assert np.isnan(ring.latest(now)).all() and ring.last_seen.tolist() == [START + 150, START + 150]
    ring.append(reading(now, web=(50, NAN)))
    assert ring.encoder(now)[1].tolist() == [[3, 7, 50], [103, 107, 110]]


def test_a_step_of_the_encoder_reaches_back_to_the_step_before_and_no_further():
    ring, now = window(), START + 15 * 11
    ring.append(reading(now - 45, web=(1, NAN)))
    ring.append(reading(now - 30, web=(2, NAN)))
    ring.append(reading(now, db=(3, 3)))
    nothing = [NAN, NAN]
    np.testing.assert_array_equal(ring.encoder(now)[1, 0], [*nothing, 2])
    np.testing.assert_array_equal(ring.encoder(now + 15)[1, 0], [NAN, 1, 2])
    np.testing.assert_array_equal(ring.encoder(now + 30)[1, 0], [NAN, 2, NAN])
    np.testing.assert_array_equal(ring.encoder(now + 30)[0, 0], [*nothing, 3])


def test_the_encoder_of_a_thousand_servers_takes_milliseconds_whatever_is_missing():
    ring = window(step=300.0, encoder_steps=24)
    values = np.ones((480, 1000, 2), np.float32)
    values[:, ::2, 1] = NAN
    values[-1] = NAN
    instants = START + 15.0 * np.arange(480)
    ring.fill(Readings(instants, tuple(f"s{n:04}" for n in range(1000)), ("p",) * 1000, values))
    began = time.process_time()
    encoder = ring.encoder(instants[-1])
    assert time.process_time() - began < 0.5
    assert np.isfinite(encoder[:, 0]).all() and np.isfinite(encoder[1::2, 1]).all()
    assert np.isnan(encoder[::2, 1]).all()


def test_servers_come_sorted_and_keep_their_tuple_until_one_comes_or_goes():
    ring = window()
    ring.append(reading(START, web=(1, 1), db=(2, 2)))
    servers = ring.servers
    assert servers == ("db", "web") and ring.profiles == ("db-profile", "web-profile")
    ring.append(reading(START + 15, db=(3, 3)))
    assert ring.servers is servers
    assert ring.latest(START + 15)[0].tolist() == [3, 3] and np.isnan(ring.latest(START + 15)[1]).all()
    ring.append(reading(START + 30, app=(4, 4)))
    assert ring.servers == ("app", "db", "web")
    ring.drop(["db", "nobody"])
    assert ring.servers == ("app", "web")
    ring.append(reading(START + 45, db=(5, 5)))
    assert np.isnan(ring.encoder(START + 45)[1, :, :2]).all(), "a dropped server's past does not come back"


def test_a_live_reading_renews_the_profile_and_history_does_not():
    ring = window()
    ring.append(reading(START, web=(1, 1)))
    ring.append(dataclasses.replace(reading(START + 15, web=(1, 1)), profiles=("moved",)))
    ring.fill(stretch([START], web=[(1, 1)]))
    assert ring.profiles == ("moved",)


def test_a_thousand_servers_fit_after_a_few():
    ring = window()
    ring.append(reading(START, s0007=(1, 2)))
    many = {f"s{n:04}": (n, -n) for n in range(1000)}
    ring.append(reading(START + 15, **many))
    assert len(ring.servers) == 1000
    assert ring.latest(START + 15)[:, 0].tolist() == list(range(1000))
    assert ring.latest(START)[7].tolist() == [1, 2]


def test_nothing_never_replaces_a_value_and_live_values_win_over_history():
    ring = window()
    ring.append(reading(START, web=(1, NAN)))
    ring.append(reading(START + 5, web=(NAN, 2)))
    assert ring.latest(START).tolist() == [[1, 2]]
    ring.append(reading(START + 9, web=(3, NAN)))
    assert ring.latest(START).tolist() == [[3, 2]]
    ring.fill(stretch([START - 15, START], web=[(7, NAN), (9, 9)]))
    assert ring.latest(START).tolist() == [[3, 2]]
    np.testing.assert_array_equal(ring.latest(START - 15), [[7, NAN]])


def test_a_server_that_showed_no_value_is_not_known():
    ring = window()
    ring.append(reading(START, web=(1, 1), ghost=(NAN, NAN)))
    ring.fill(stretch([START - 15, START - 3600], ghost=[(NAN, NAN), (1, 1)]))
    assert ring.servers == ("web",)


def test_gaps_are_asked_for_once_even_if_the_answer_was_empty():
    ring = window()
    assert ring.gaps(START) == [(START - 165, START)]
    ring.append(reading(START - 90, web=(1, 1)))
    assert ring.gaps(START) == [(START - 165, START - 105), (START - 75, START)]
    ring.fill(stretch([START - 165 + 15 * k for k in range(5)]))
    assert ring.gaps(START) == [(START - 75, START)]
    ring.append(reading(START))
    assert ring.gaps(START) == [(START - 75, START - 15)]
    assert ring.gaps(START + 30)[-1] == (START + 15, START + 30)


def test_gaps_are_those_of_the_columns_at_a_distance_and_within_a_time_that_somebody_reads():
    ring = window()
    ring.append(reading(START, web=(1, 1)))
    assert ring.gaps(START, within=60.0) == [(START - 60, START - 15)]
    assert ring.gaps(START, every=60.0) == [(START - 120, START - 60)]
    assert ring.gaps(START, every=60.0, back=15.0) == [(START - 135, START - 15)]
    assert ring.gaps(START, every=60.0, back=60.0) == [(START - 120, START - 60)], "none from before the span"
    ring.asked(START - 120, START - 60, START, every=60.0)
    assert ring.gaps(START + 15, every=60.0, back=15.0) == [], "after a pause"
    assert ring.gaps(START, every=60.0) == [] and ring.gaps(START, within=60.0) == [(START - 45, START - 15)]
    ring.fill(stretch([START - 120, START - 60], web=[(1, 1), (1, 1)]))
    assert ring.gaps(START + 15, every=60.0) == [(START - 105, START + 15)]


def test_a_jump_forward_leaves_a_gap_and_keeps_the_last_seen_time():
    ring = window()
    ring.append(reading(START, web=(1, 1)))
    assert ring.append(reading(START + 86400, db=(2, 2))) is None
    assert ring.servers == ("db", "web")
    assert ring.last_seen.tolist() == [START + 86400, START]
    assert np.isnan(ring.encoder(START + 86400)[1]).all()
    assert ring.samples(START + 86400).tolist() == [3, 0]


def test_a_clock_set_back_drops_what_it_stamped_too_late_and_says_so():
    ring = window()
    for k in range(4):
        ring.append(reading(START + 15 * k, web=(k, k)))
    reason = ring.append(reading(START + 15, web=(9, 9)))
    assert "clock went back by 30s" in reason
    assert ring.latest(START).tolist() == [[0, 0]] and ring.latest(START + 15).tolist() == [[9, 9]]
    assert np.isnan(ring.latest(START + 30)).all() and ring.last_seen.tolist() == [START + 15]
    assert "clock went back" in ring.append(reading(START - 86400, web=(5, 5)))
    assert ring.newest == START - 86400 and ring.samples(START - 86400).tolist() == [3]


def test_warm_up_samples_are_columns_times_refresh_over_sample_interval():
    ring = window(sample_interval=10.0)
    for k in range(5):
        ring.append(reading(START + 15 * k, web=(1, 1), **({"db": (1, 1)} if k > 2 else {})))
    samples = ring.samples(START + 60)
    assert samples.tolist() == [3, 7] and samples.dtype == np.int64


def test_a_span_longer_than_the_encoder_keeps_more():
    ring = window(span=3600.0)
    for k in range(240):
        ring.append(reading(START + 15 * k, web=(k, k)))
    assert ring.samples(START + 15 * 239).tolist() == [720]
    held = ring.readings(START + 15 * 237, START + 15 * 241)
    assert held.instants.tolist() == [START + 15 * k for k in range(237, 242)]
    assert held.values.shape == (5, 1, 2) and np.isnan(held.values[3:]).all()
    assert held.values[:3, 0, 0].tolist() == [237, 238, 239]


@pytest.mark.parametrize(("changes", "words"), [
    ({"refresh": 7.0}, "refresh 7s does not divide step 60s"),
    ({"refresh": 0.0}, "refresh is 0.0s"),
    ({"step": 0.0005}, "step is 0.0005s"),
    ({"span": 60.0}, "span 60s is shorter than 3 encoder steps of 60s"),
    ({"span": 120.0}, "span 120s is shorter than 3 encoder steps of 60s"),
    ({"signals": ()}, "at least one signal"),
    ({"encoder_steps": 0}, "one encoder step, found 2 and 0"),
])
def test_times_that_do_not_fit_are_refused_by_name(changes, words):
    with pytest.raises(ValueError, match=words):
        window(**changes)


def test_the_shortest_times_that_fit_are_taken():
    ring, now = window(span=135.0), START + 15 * 8  # the beginning of the first step is not read
    for k in range(9):
        ring.append(reading(START + 15 * k, web=(k, k)))
    assert ring.encoder(now)[0, 0].tolist() == [0, 4, 8] and ring.samples(now).tolist() == [27]
    one = window(encoder_steps=1)
    assert one.append(reading(START, web=(1, 1))) is None and one.encoder(START)[0, 0].tolist() == [1]
    assert one.append(reading(START + 14, web=(2, 2))) is None, "the same column is no clock set back"


def test_refreshes_of_a_fraction_of_a_second_fall_into_their_own_columns():
    ring = window(refresh=0.1, step=0.5)
    for k in range(10):
        ring.append(reading(START + k * 0.1, web=(k, k)))
    assert ring.gaps(START + 0.9) == [(START - 0.5, START - 0.1)]
    assert ring.encoder(START + 0.9)[0, 0, 1:].tolist() == [4, 9]


def test_values_of_the_wrong_shape_are_refused():
    ring = window()
    with pytest.raises(ValueError, match=r"shape \(1, 3\), expected \(1, 2\)"):
        ring.append(Reading(START, ("web",), ("p",), np.zeros((1, 3), np.float32)))


def test_a_snapshot_brings_everything_back(tmp_path):
    ring, path = window(), tmp_path / "deep" / "window.npz"
    ring.append(reading(START - 86400, old=(1, 1)))
    for k in range(6):
        ring.append(reading(START + 15 * k, web=(k, NAN), db=(k, -k)))
    ring.snapshot(path)
    fresh, now = window(), START + 80
    assert fresh.restore(path, now) is None
    assert fresh.servers == ("db", "old", "web") and fresh.profiles == ring.profiles
    np.testing.assert_array_equal(fresh.encoder(now), ring.encoder(now))
    np.testing.assert_array_equal(fresh.last_seen, ring.last_seen)
    np.testing.assert_array_equal(fresh.samples(now), ring.samples(now))
    assert fresh.gaps(now) == ring.gaps(now) and fresh.newest == ring.newest
    assert [file.name for file in path.parent.iterdir()] == ["window.npz"]


def test_a_snapshot_that_does_not_fit_is_ignored_with_the_reason(tmp_path):
    ring, path = window(), tmp_path / "window.npz"
    ring.append(reading(START, web=(1, 1)))
    ring.snapshot(path)
    with pytest.raises(SnapshotError, match="no snapshot at"):
        window().restore(tmp_path / "none", START)
    assert "expected ['cpu', 'disk']" in window(signals=("cpu", "disk")).restore(path, START)
    assert "refresh 15000 ms" in window(refresh=30.0).restore(path, START)
    assert "nothing from the last 180s" in window().restore(path, START + 3600)
    assert "nothing from the last 180s" in window().restore(path, START - 60), "it is from the future"
    whole = path.read_bytes()
    damaged = {"cut": whole[:200], "empty": b"", "text": b"not a zip file", "flipped": bytearray(whole)}
    damaged["flipped"][whole.index(b"values.npy") + 150] ^= 0xFF
    for name, data in damaged.items():
        path.write_bytes(data)
        kept = window()
        kept.append(reading(START, mine=(2, 2)))
        with pytest.raises(SnapshotError, match=f"snapshot {path} cannot be read"):
            kept.restore(path, START)
        assert kept.servers == ("mine",), name


def test_a_snapshot_of_another_origin_is_ignored_with_the_reason(tmp_path):
    ring, path = window(origin="prometheus 1f"), tmp_path / "window.npz"
    assert ring.origin == "prometheus 1f" and window().origin == ""
    ring.append(reading(START, web=(0.5, 1)))
    ring.snapshot(path)
    for other in ("prometheus 2e", ""):
        fresh = window(origin=other)
        reason = fresh.restore(path, START)
        assert "another origin" in reason and f"'prometheus 1f', expected {other!r}" in reason
        assert fresh.servers == () and fresh.newest is None
    same = window(origin="prometheus 1f")
    assert same.restore(path, START) is None and same.servers == ("web",)


def test_a_snapshot_from_before_origins_were_kept_is_ignored_with_the_reason(tmp_path):
    ring, path = window(), tmp_path / "window.npz"
    ring.append(reading(START, web=(1, 1)))
    ring.snapshot(path)
    with np.load(path) as file:
        held = {name: file[name] for name in file if name != "origin"}
    np.savez(path, **held | {"version": 1})
    fresh = window()
    assert "has version 1, expected 2" in fresh.restore(path, START) and fresh.servers == ()


@pytest.mark.parametrize("damage", [
    {"values": np.zeros((1, 1, 3))}, {"columns": np.zeros(2)}, {"servers": np.array(["a", "b"])},
    {"profiles": np.array(["p", "q"])}, {"last": np.zeros(2)},
    {"servers": np.array(["a", "a"]), "profiles": np.array(["p", "p"]), "last": np.zeros(2),
     "values": np.zeros((1, 2, 2))},
])
def test_a_snapshot_whose_parts_do_not_fit_together_is_ignored(tmp_path, damage):
    ring, path = window(), tmp_path / "window.npz"
    ring.append(reading(START, web=(1, 1)))
    ring.snapshot(path)
    with np.load(path) as file:
        held = dict(file)
    np.savez(path, **held | damage)
    with pytest.raises(SnapshotError, match="expected|twice"):
        window().restore(path, START)


@pytest.mark.parametrize("change", [{"origin": "other"}, {"signals": ("cpu", "disk")}, {"refresh": 30.0},
                                    {"step": 30.0}, {"encoder_steps": 4}])
def test_windows_are_the_same_where_origin_signals_and_times_are(change):
    assert window().same(window()) and not window().same(window(**change))


def test_a_snapshot_that_cannot_be_written_leaves_the_old_one(tmp_path):
    ring, path = window(), tmp_path / "window.npz"
    ring.append(reading(START, web=(1, 1)))
    path.mkdir()
    with pytest.raises(OSError):
        ring.snapshot(path)
    assert list(tmp_path.iterdir()) == [path]


def test_of_several_instants_in_one_column_of_history_the_last_one_counts():
    ring = window()
    ring.fill(stretch([START, START + 5, START + 10], web=[(1, 1), (2, NAN), (3, NAN)]))
    assert ring.latest(START).tolist() == [[3, 1]]


def test_a_snapshot_from_a_clock_that_was_ahead_brings_back_only_the_past(tmp_path):
    ring, path = window(), tmp_path / "window.npz"
    for k in range(4):
        ring.append(reading(START + 15 * k, web=(k, k)))
    ring.snapshot(path)
    fresh = window()
    assert fresh.restore(path, START + 20) is None
    assert fresh.newest == START + 15 and fresh.last_seen.tolist() == [START + 15]
    assert np.isnan(fresh.latest(START + 30)).all()


def test_one_server_is_read_from_one_instant_to_another_without_columns_of_which_nothing_is_held():
    held = window()
    for k in (0, 1, 3):
        held.append(reading(START + 15 * k, web1=(k, NAN), web2=(10 + k, 1)))
    instants, values = held.of("web1", START + 15, START + 60)
    assert instants.tolist() == [START + 15, START + 45] and values[:, 0].tolist() == [1, 3]
    assert held.of("web2", 0, START)[1].tolist() == [[10, 1]]
    assert held.of("gone", 0, START + 60)[0].size == 0
