"""Files that are read anew once they have changed, and not before."""

import threading

import pytest

from serving import ServingError
from serving.doors.reread import Reread


class File:
    """A file that names another one, both of which must be there; `now` is the time."""

    now, reads = 0.0, 0

    def __init__(self, folder):
        self.path, self.other = folder / "file", folder / "other"
        self.path.write_text("1")
        self.other.write_text("a")
        self.content = Reread(self.read, lambda: self.now, lambda: 1000 + self.now)

    def read(self, note) -> str:
        self.reads += 1
        note(self.path)
        text = self.path.read_text()
        if text == "wrong":
            raise ServingError("it is wrong")
        note(self.other)
        if not self.other.exists():
            raise ServingError("the other is missing")
        return text + self.other.read_text()

    def current_at(self, now: float) -> str:
        self.now = now
        return self.content.current()


@pytest.fixture
def file(tmp_path):
    return File(tmp_path)


def test_a_file_that_stays_as_it_is_is_read_once(file):
    assert {file.current_at(now) for now in range(200)} == {"1a"}
    assert file.reads == 1


def test_a_file_that_stays_wrong_is_read_again_only_when_it_changes_or_a_minute_has_passed(file):
    file.path.write_text("wrong")
    for now in range(1, 61):
        assert file.current_at(now) == "1a"
    assert (file.reads, file.content.error) == (2, "it is wrong")
    file.current_at(61)
    assert file.reads == 3
    file.path.write_text("22")
    assert file.current_at(62) == "22a"
    assert (file.reads, file.content.error, file.content.last_success) == (4, None, 1062)


def test_a_file_is_read_anew_when_one_that_it_named_for_the_first_time_is_there_at_last(file):
    file.other.unlink()
    assert file.current_at(1) == "1a"
    assert file.content.error == "the other is missing"
    file.other.write_text("b")
    assert file.current_at(2) == "1b"
    assert file.reads == 3


def test_an_event_loop_never_waits_for_a_file_to_be_read(file, monkeypatch):
    go_on, asked, readers = threading.Event(), threading.Event(), []

    def slow(note) -> str:
        readers.append(threading.current_thread())
        asked.set()
        assert go_on.wait(10)
        return "new"

    monkeypatch.setattr(file.content, "_read", slow)
    file.path.write_text("22")
    file.now = 1.0
    assert file.content.latest() == "1a"
    assert asked.wait(10)
    file.now = 2.0
    assert file.content.latest() == file.content.current() == "1a"  # while another thread reads
    go_on.set()
    readers[0].join(10)
    assert file.content.latest() == "new"
    assert len(readers) == 1 and readers[0] is not threading.current_thread()
