"""A service's folder: one writer, whole files, and what a killed or a second process leaves or finds."""

import os
import resource
import signal
import subprocess
import sys

import pytest

from serving.storage import LOCK, StorageError, claim, put_aside, write

HOLD = "import sys; from pathlib import Path; from serving.storage import claim; " \
       "held = claim(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def holder(folder) -> subprocess.Popen:
    """A process that has claimed the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_second_process_is_refused_and_told_who_has_the_folder_and_a_killed_one_has_it_no_more(tmp_path):
    with holder(tmp_path) as process:
        try:
            with pytest.raises(StorageError, match=f"in use by process {process.pid}: .*--storage.path"):
                claim(tmp_path, patience=0.2)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        claim(tmp_path, patience=0.2).close()


def test_a_claim_that_is_closed_can_be_taken_again_and_waits_for_the_one_before_it(tmp_path):
    first = claim(tmp_path / "deep" / "folder")
    with pytest.raises(StorageError, match=str(os.getpid())):
        claim(first.folder, patience=0.0)
    first.close()
    first.close()
    with holder(first.folder) as process:
        process.stdin.close()
        claim(first.folder, patience=20).close()
        process.wait()


def test_unfinished_files_of_a_killed_process_are_removed_by_the_next_and_no_others(tmp_path):
    for name in ("window.npzab12.part", "scenarios.json8x_1.part", "window.npz", "notes.txt"):
        (tmp_path / name).write_text("x")
    claim(tmp_path).close()
    assert sorted(one.name for one in tmp_path.iterdir()) == [LOCK, "notes.txt", "window.npz"]


def test_a_full_disk_keeps_neither_the_lock_from_a_process_nor_unfinished_files(tmp_path, caplog):
    (tmp_path / "window.npzab12.part").write_text("x")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        held = claim(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one.name for one in tmp_path.iterdir()] == [LOCK] and "not locked" not in caplog.text
    with pytest.raises(StorageError):
        claim(tmp_path, patience=0.0)
    held.close()


def test_a_folder_that_cannot_be_written_is_claimed_without_a_lock_and_it_is_said(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    claim(tmp_path / "file" / "below").close()
    assert "not locked" in caplog.text


def test_on_a_full_disk_the_folder_is_locked_and_unfinished_files_make_room(tmp_path, caplog):
    (tmp_path / "window.npzab12.part").write_text("x")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # no file may grow
    try:
        first = claim(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "locked, but it cannot be written to" in caplog.text and "not locked" not in caplog.text
    assert [one.name for one in tmp_path.iterdir()] == [LOCK]
    with pytest.raises(StorageError, match="in use by process unknown"):
        claim(tmp_path, patience=0.0)
    first.close()


def test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_else(tmp_path):
    path = tmp_path / "state"
    write(path, lambda file: file.write(b"old"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limit[1]))  # as a disk that is full after 64 KiB
    try:
        with pytest.raises(OSError):
            write(path, lambda file: file.write(bytes(1 << 20)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == b"old" and [one.name for one in tmp_path.iterdir()] == ["state"]


def test_the_newest_damaged_file_is_kept_under_another_name(tmp_path, caplog):
    path = tmp_path / "state"
    for content in ("first", "second"):
        path.write_text(content)
        put_aside(path, f"{path} is damaged")
        assert not path.exists() and (tmp_path / "state.damaged").read_text() == content
    assert "state is damaged; it is kept as" in caplog.text
    put_aside(path, "gone")
    assert "cannot be renamed" in caplog.text
