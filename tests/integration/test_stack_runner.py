"""The real supervisor with small parts."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack import AlreadyRunning, PartFailed, leftovers
from stack.layout import PORTS, ROOT, Layout
from stack.parts import Part, Plan
from stack.preflight import is_free
from stack.ready import wait_ready
from stack.runner import Runner, render_config, socket_path
from stack.up import Stack, Watch

PAGES = (sys.executable, "-m", "stack.pager", "--web.listen-address")


def until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.fixture
def layout(tmp_path: Path, free_port: int) -> Layout:
    return Layout(ROOT, tmp_path / "data", ROOT, ROOT / ".tools" / "bin", {**PORTS, "pager": free_port})


def serving(layout: Layout) -> Part:
    port = layout.ports["pager"]
    return Part("pager", (*PAGES, f"127.0.0.1:{port}"), port, "/-/ready")


def sleeping(layout: Layout) -> Part:
    return Part(
        "sleeper",
        (sys.executable, "-c", "import time; print('100% awake', flush=True); time.sleep(600)"),
        1,
        "/",
    )


@pytest.fixture
def runner(layout: Layout) -> Iterator[Runner]:
    with Runner(layout, [serving(layout), sleeping(layout)]) as running:
        yield running


def test_a_part_that_is_killed_is_started_again_alone_and_that_is_told(runner: Runner):
    until(lambda: all(state.state == "RUNNING" for state in runner.states().values()), "running")
    watch = Watch(runner)
    before = runner.states()
    os.kill(before["sleeper"].pid, signal.SIGKILL)
    news: list[str] = []
    until(lambda: news.extend(watch.news()) or "sleeper runs again" in news, "the restart")
    assert news[0].startswith("sleeper ended and is restarted; everything else keeps running")
    assert "100% awake" in news[0]
    assert runner.states()["sleeper"].pid != before["sleeper"].pid
    assert runner.states()["pager"].pid == before["pager"].pid


def test_a_part_stays_stopped_until_it_is_started(runner: Runner):
    until(lambda: all(state.state == "RUNNING" for state in runner.states().values()), "running")
    watch = Watch(runner)
    runner.stop_part("sleeper")
    assert watch.news() == ["sleeper is stopped; everything else keeps running"]
    runner.start_part("sleeper")
    assert watch.news() == ["sleeper runs again"]


def test_what_the_pager_prints_is_shown_once(runner: Runner, layout: Layout):
    watch = Watch(runner)
    with (layout.data / "logs" / "pager.log").open("a") as log:
        log.write("PAGE 10:30:05 firing A b: c\nsome other line\nTICKET unfinished")
    assert [line for line in watch.news() if "runs" not in line] == ["PAGE 10:30:05 firing A b: c"]
    with (layout.data / "logs" / "pager.log").open("a") as log:
        log.write(" no more\n")
    assert [line for line in watch.news() if "runs" not in line] == ["TICKET unfinished no more"]


def test_stopping_ends_every_process_soon_even_one_that_ignores_it(layout: Layout):
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    stubborn = f"{deaf}; print('deaf', flush=True); time.sleep(600)"
    parts = [serving(layout), Part("stubborn", (sys.executable, "-c", stubborn), 1, "/")]
    with Runner(layout, parts) as running:
        until(lambda: "deaf" in running.last_lines("stubborn"), "the part's first line")
        pids = [state.pid for state in running.states().values()]
        began = time.monotonic()
    assert time.monotonic() - began < 14
    assert not any(map(alive, pids))
    assert not socket_path(layout).exists()


def test_nothing_is_left_when_the_starting_process_is_killed(layout: Layout):
    code = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from stack.layout import Layout
        from stack.parts import Part, Plan
        from stack.runner import Runner
        layout = Layout(Path({str(ROOT)!r}), Path({str(layout.data)!r}), Path(), Path(), {{}})
        with Runner(layout, [Part("sleeper", {sleeping(layout).command!r}, 1, "/")]) as runner:
            print(runner.states()["sleeper"].pid, flush=True)
            time.sleep(600)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        pid = int(process.stdout.readline())
        process.kill()
    until(lambda: not alive(pid), "the part's end")


def killed(runner: Runner) -> list[int]:
    """The pids of the parts of a supervisord that was just killed."""
    pids = [state.pid for state in runner.states().values()]
    assert all(map(alive, pids))
    os.kill(runner._ask("getPID"), signal.SIGKILL)
    return pids


def test_the_parts_end_by_themselves_when_supervisord_is_killed(runner: Runner, layout: Layout):
    until(lambda: all(state.state == "RUNNING" for state in runner.states().values()), "running")
    watch = Watch(runner)
    pids = killed(runner)
    until(lambda: not any(map(alive, pids)), "the parts' end", 10)
    assert is_free(layout.ports["pager"])
    until(lambda: not runner.alive, "supervisord's end")
    assert watch.news() == []


def test_a_supervisord_that_is_told_to_end_is_watched_until_it_has_ended(layout: Layout):
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    stubborn = Part("stubborn", (sys.executable, "-c", f"{deaf}; print('deaf', flush=True); time.sleep(600)"), 1, "/")
    with Runner(layout, [stubborn]) as runner:
        until(lambda: "deaf" in runner.last_lines("stubborn"), "the part's first line")
        watch = Watch(runner)
        os.kill(runner._ask("getPID"), signal.SIGTERM)
        until(lambda: watch.news() == [] and not runner.alive, "supervisord's end")


def test_stopping_ends_what_a_killed_supervisord_left_and_only_that(layout: Layout):
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    stubborn = f"{deaf}; {child}; print('deaf', flush=True); time.sleep(600)"
    parts = [serving(layout), Part("stubborn", (sys.executable, "-c", stubborn), 1, "/")]
    other = {**os.environ, "SUPERVISOR_SERVER_URL": f"unix://{socket_path(layout)}.other"}
    with (
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=other) as stranger,
        Runner(layout, parts) as running,
    ):
        try:
            until(lambda: "deaf" in running.last_lines("stubborn"), "the part's first line")
            until(lambda: len(leftovers.find(socket_path(layout))) == 3, "the child of a part")
            pids = leftovers.find(socket_path(layout))
            assert set(killed(running)) < set(pids)
            running.stop()
            assert not any(map(alive, pids))
            assert is_free(layout.ports["pager"])
            assert alive(stranger.pid)
        finally:
            stranger.kill()


def test_a_stack_that_runs_already_is_not_started_twice(runner: Runner, layout: Layout):
    assert runner.running_elsewhere() is None
    second = Stack(layout, Plan((sleeping(layout),), (), True))
    with pytest.raises(AlreadyRunning, match=r"kill \d+"):
        second.prepare()


def test_parts_are_waited_for(runner: Runner, layout: Layout):
    runner.parts = (serving(layout),)
    wait_ready(runner, deadline=30)


def test_a_part_that_is_not_ready_in_time_is_named_with_its_last_words(runner: Runner, layout: Layout):
    until(lambda: "awake" in runner.last_lines("sleeper"), "the part's first line")
    with pytest.raises(
        PartFailed, match=r"(?s)^sleeper is not ready after 0 s; the end of .*sleeper\.log:\n    100% awake$"
    ):
        runner.layout = Layout(
            layout.root, layout.data, layout.config, layout.tools, {"sleeper": 1, "pager": 1}
        )
        runner.parts = (sleeping(layout),)
        wait_ready(runner, deadline=0)


def test_a_part_that_cannot_be_started_ends_the_wait_at_once(layout: Layout, tmp_path: Path):
    ports = {**layout.ports, "broken": layout.ports["pager"]}
    layout = Layout(layout.root, layout.data, layout.config, layout.tools, ports)
    with (
        Runner(layout, [Part("broken", (str(tmp_path / "missing"),), ports["broken"], "/")]) as running,
        pytest.raises(PartFailed, match="broken cannot be started"),
    ):
        wait_ready(running, deadline=60)


def test_a_socket_with_a_long_path_is_put_under_a_short_one(tmp_path: Path):
    deep = Layout(ROOT, tmp_path / ("x" * 120), ROOT, ROOT, PORTS)
    assert len(str(socket_path(deep))) < 100
    assert f"file={socket_path(deep)}" in render_config(deep, [])
