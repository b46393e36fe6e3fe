"""The memory of what fills up: who is there, what is the same thing, and shares of the size of today."""

import numpy as np
import pytest

from forecaster.capacity.held import GONE, PIECE, Held
from forecaster.capacity.kept import Kept
from forecaster.capacity.past import HOURS, RECENT
from forecaster.capacity.series import Named, Stretch, settled
from forecaster.capacity.today import of_today
from forecaster.memory.snapshot import SnapshotError

NOW = 1_700_006_400  # a whole hour
NAN = np.nan


def read(*entities: tuple, end: int = NOW, step: int = 300) -> Stretch:
    """Of (server, name, backing, values, sizes or None), whose values end at `end`."""
    width = len(entities[0][3]) if entities else 3
    used = np.array([one[3] for one in entities], np.float32).reshape(len(entities), width)
    size = np.array([[NAN] * width if one[4] is None else one[4] for one in entities], np.float32).reshape(used.shape)
    instants = end - step * np.arange(width - 1, -1, -1.0)
    return Stretch(instants, [Named(*one[:3]) for one in entities], ["web"] * len(entities), used, size)


def held(*entities: tuple, **options) -> Held:
    memory = Held("origin", **options)
    memory.take(read(*entities), 100)
    return memory


def names(memory: Held) -> list[str]:
    return [one.name for one in memory.entities]


A = ("web1", "/", "sda", [0.1, 0.2, 0.3], [100, 100, 100])
B = ("web1", "/data", "sdb", [0.4, 0.5, 0.6], [200, 200, 200])
GAP = [NAN, NAN, NAN]


def test_what_was_read_stands_in_its_columns():
    memory = held(A, B)
    hourly, recent = memory.past()
    assert hourly.shape == (2, HOURS) and recent.shape == (2, RECENT) and hourly.dtype == recent.dtype == np.float32
    assert recent[:, -3:].tolist() == np.array([A[3], B[3]], np.float32).tolist()
    assert hourly[:, -1].tolist() == pytest.approx([0.3, 0.6]) and np.isnan(hourly[:, :-1]).all()
    assert memory.size.tolist() == [100, 200] and memory.last_seen.tolist() == [NOW, NOW]
    assert memory.used().tolist() == pytest.approx([0.3, 0.6])


def test_columns_move_with_time_and_hours_stay_whole():
    memory = held(A)
    memory.take(read(("web1", "/", "sda", [0.3, 0.4, 0.5], [100] * 3), end=NOW + 600), 100)
    hourly, recent = memory.past()
    assert recent[0, -5:].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert hourly[0, -1] == pytest.approx(0.3)
    memory.take(read(("web1", "/", "sda", [0.6, 0.7], [100] * 2), end=NOW + 3900), 100)
    assert memory.past()[0][0, -2:].tolist() == pytest.approx([0.3, 0.6])


def test_a_clock_that_was_set_back_drops_what_has_not_come_yet():
    memory = held(A)
    memory.take(read(("web1", "/", "sda", [0.1], [100]), end=NOW - 600), 100)
    assert memory.instant == NOW - 600 and memory.recent[0, -1] == pytest.approx(0.1)
    assert np.isnan(memory.recent[0, :-1]).all() and memory.last_seen[0] == NOW - 600


def test_a_resize_changes_no_past_share_of_today():
    memory = held(("web1", "/", "sda", [0.5, 0.5, 0.25], [100, 100, 200]))
    assert memory.past()[1][0, -3:].tolist() == pytest.approx([0.25, 0.25, 0.25])
    memory.take(read(("web1", "/", "sda", [0.25, 0.125], [200, 400]), end=NOW + 300), 100)
    assert memory.past()[1][0, -4:].tolist() == pytest.approx([0.125] * 4) and memory.size[0] == 400


def test_a_size_that_drifts_is_no_resize():
    sizes = np.array([[100, 99, 98, 97, 96, 95, 95]], np.float32)
    used = np.array([[0.10, 0.11, 0.12, 0.13, 0.14, 0.15]], np.float32)
    assert of_today(used, sizes).tolist() == used.tolist()


def test_without_sizes_and_with_gaps_in_them_shares_stay_or_follow_what_is_known():
    used = np.full((2, 4), 0.5, np.float32)
    sizes = np.array([[NAN] * 5, [100, NAN, NAN, 200, NAN]], np.float32)
    assert of_today(used, sizes).tolist() == [[0.5] * 4, [0.25, 0.25, 0.25, 0.5]]


def test_what_is_gone_while_its_server_reports_others_is_dropped_after_three_passes():
    memory = held(A, B)
    for number in range(1, GONE + 1):
        assert names(memory) == ["/", "/data"]
        memory.take(read(A, ("web1", "/data", "sdb", GAP, None), end=NOW + 600 * number), 100)
    assert names(memory) == ["/"]


def test_what_is_back_in_time_begins_to_count_again():
    memory = held(A, B)
    for number, there in enumerate((0, 0, 1, 0, 0), 1):
        memory.take(read(*[A, B][:1 + there], end=NOW + 600 * number), 100)
    assert names(memory) == ["/", "/data"]


def test_a_silent_server_is_lost_and_kept_until_drop_after():
    memory = held(A, ("db1", "/", "sda", [0.5] * 3, None), drop_after=7200)
    for number in range(1, 12):
        memory.take(read(A, end=NOW + 600 * number), 100)
        assert [one.server for one in memory.entities] == ["db1", "web1"]
        assert memory.lost.tolist() == [number > 1, False]
    for number in range(12, 14):
        memory.take(read(A, end=NOW + 600 * number), 100)
    assert [one.server for one in memory.entities] == ["web1"]


def test_what_was_unmounted_before_the_first_pass_is_not_taken_up():
    old = ("web1", "/old", "sdb", [0.5, 0.5, NAN, NAN, NAN], None)
    assert names(held(("web1", "/", "sda", [0.1] * 5, None), old)) == ["/"]


def test_another_device_under_the_same_name_begins_anew():
    memory = held(B)
    memory.take(read(("web1", "/data", "sdc", [0.1, 0.1], [500, 500]), end=NOW + 600), 100)
    assert memory.entities[0].backing == "sdc" and memory.size[0] == 500
    assert np.isnan(memory.recent[0, :-2]).all() and np.isnan(memory.hourly[0]).all()


@pytest.mark.parametrize(("used", "size", "taken"), [(0.61, 200, True), (0.4, 200, False), (0.61, 500, False)])
def test_history_under_a_devices_name_before_a_boot_is_that_of_the_same_file_system_only(used, size, taken):
    memory = held(B)
    one = "web1", "/data"
    memory.fill(read((*one, "sdb", [NAN] * 3 + [0.6, NAN], [200] * 5),
                     (*one, "sda", [0.5, 0.55, used, NAN, NAN], [size] * 5), end=NOW, step=3600))
    memory.fill(read((*one, "sda", [0.3, 0.4, 0.9], [size] * 3), end=NOW - 5 * 3600, step=3600))
    before = [0.3, 0.4, 0.9, 0.5, 0.55, used] if taken else [NAN] * 6
    assert memory.hourly[0, -8:].tolist() == pytest.approx([*before, 0.6, 0.6], nan_ok=True)


def test_the_same_file_system_under_another_devices_name_goes_on():
    memory = held(B)
    memory.take(read(("web1", "/data", "sdc", [0.6, 0.61], [200, 200]), end=NOW + 600), 100)
    assert memory.entities[0].backing == "sdc" and memory.recent[0, -5:-2].tolist() == pytest.approx(B[3])


def test_a_device_that_is_mounted_elsewhere_takes_its_past_along():
    memory = held(A, B)
    memory.take(read(A, ("web1", "/srv", "sdb", [0.6, 0.6, 0.6], [200] * 3), end=NOW + 600), 100)
    assert names(memory) == ["/", "/srv"] and memory.recent[1, -5:-2].tolist() == pytest.approx([0.4, 0.5, 0.6])


def test_bind_mounts_are_one_under_the_shortest_name_unless_their_sizes_differ():
    share, size = [0.5] * 3, [100] * 3
    found = settled(read(("web1", "/srv/data", "sdb", share, size), ("web1", "/data", "sdb", share, size),
                         ("web1", "/quota", "sdb", share, [10] * 3), ("web2", "/data/x", "sdb", share, size),
                         ("web1", "/a", "", share, size), ("web1", "/b", "", share, size)))
    assert [" ".join(one[:2]) for one in found.entities] == ["web1 /a", "web1 /b", "web1 /data", "web1 /quota",
                                                             "web2 /data/x"]


def test_directories_with_quotas_of_one_size_are_two_though_they_lie_on_one_device():
    size = [100] * 3
    found = settled(read(("web1", "/home/a", "sdb", [0.2] * 3, size),
                         ("web1", "/home/bob", "sdb", [0.9, 0.95, 1], size),
                         ("web1", "/srv/bob", "sdb", [0.9, 0.95, 1], size), ("web1", "/old", "sdb", GAP, size)))
    assert [one.name for one in found.entities] == ["/home/a", "/srv/bob"]


def test_an_old_devices_series_that_is_still_there_does_not_count():
    old, new = ("web1", "/data", "sdb", [0.9, 0.9, 0.9], None), ("web1", "/data", "sdc", [NAN, NAN, 0.1], None)
    for order in ((old, new), (new, old)):
        assert [one.backing for one in settled(read(*order)).entities] == ["sdc"]


def test_newcomers_beyond_the_room_are_refused_and_counted():
    memory = Held("origin")
    memory.take(read(A, B), 1)
    assert names(memory) == ["/"] and memory.refused == 1
    memory.take(read(A, B, end=NOW + 600), 1)
    assert names(memory) == ["/", "/data"] and memory.refused == 0


def test_history_is_read_newest_first_in_pieces_of_a_day_up_to_what_is_wanted():
    memory, pieces = held(A, history=100 * 3600), []
    assert memory.piece() == (NOW - PIECE * 3600, NOW - 3600)
    while (piece := memory.piece()) is not None:
        width = (piece[1] - piece[0]) // 3600 + 1
        memory.fill(read(("web1", "/", "sda", [0.05] * width, [100] * width), end=piece[1], step=3600))
        pieces.append(piece)
    assert pieces[-1][0] == NOW - 99 * 3600 and memory.read_share == 1
    assert np.isfinite(memory.hourly[0]).sum() == 100


def test_history_of_another_device_and_of_what_is_not_there_any_more_is_left_out():
    memory = held(B)
    memory.fill(read(("web1", "/data", "sda", [0.9] * 3, [50] * 3), ("web9", "/", "sda", [0.9] * 3, None),
                     end=NOW - 3600, step=3600))
    assert np.isnan(memory.hourly[0, :-1]).all() and names(memory) == ["/data"]


def test_after_a_long_pause_only_what_lies_between_is_asked_for():
    memory = held(A)
    memory.asked[:] = True
    later = NOW + 10 * 3600
    assert memory.stretch(later) == (later - (RECENT - 1) * 300, later)
    memory.take(read(("web1", "/", "sda", [0.5] * RECENT, [100] * RECENT), end=later), 100)
    assert memory.piece() == (NOW + 3600, NOW + 4 * 3600)


@pytest.mark.parametrize(("change", "reason"), [
    (lambda path: path.write_bytes(path.read_bytes()[:500]), "cannot be read"),
    (lambda path: path.unlink(), "no snapshot"),
])
def test_a_damaged_snapshot_is_ignored_with_the_reason(tmp_path, change, reason):
    path = tmp_path / "capacity-filesystem.npz"
    Kept(held(A, B)).snapshot(path)
    change(path)
    fresh = Held("origin")
    with pytest.raises(SnapshotError, match=reason):
        Kept(fresh).restore(path, NOW)
    assert fresh.entities == ()


def test_a_snapshot_restores_everything_and_only_for_the_same_resource_and_time(tmp_path):
    path, memory = tmp_path / "capacity-filesystem.npz", held(A, B)
    Kept(memory).snapshot(path)
    same, other, early = Held("origin"), Held("another"), Held("origin")
    assert Kept(same).restore(path, NOW + 60) is None
    assert same.entities == memory.entities and same.profiles == memory.profiles and same.instant == NOW
    assert np.array_equal(same.recent, memory.recent, equal_nan=True)
    assert "another resource" in Kept(other).restore(path, NOW) and other.entities == ()
    assert "has not come yet" in Kept(early).restore(path, NOW - 60) and early.entities == ()
