"""What is printed before the start when a port is in use."""

import os
import socket
from collections.abc import Iterator

import pytest

from stack import PortTaken
from stack.parts import Part
from stack.preflight import check_ports, find_holder, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def part(name: str, port: int) -> Part:
    return Part(name, ("true",), port, "/")


def test_a_taken_port_is_named_with_who_wants_it_who_holds_it_and_the_remedy(taken: int, free_port: int):
    with pytest.raises(PortTaken) as failure:
        check_ports([part("exporter", taken), part("pager", free_port)])
    message = str(failure.value)
    assert "\n" not in message
    assert message.startswith(f"port {taken} is in use, exporter needs it")
    assert f"(pid {os.getpid()}) holds it" in message
    assert f"kill {os.getpid()}" in message


def test_every_taken_port_has_its_line(taken: int):
    with pytest.raises(PortTaken) as failure:
        check_ports([part("exporter", taken), part("pager", taken)])
    assert [line.split(", ")[1].split()[0] for line in str(failure.value).splitlines()] == [
        "exporter",
        "pager",
    ]


def test_free_ports_pass(free_port: int):
    check_ports([part("exporter", free_port)])
    assert find_holder(free_port) is None


def test_a_port_whose_last_connections_are_closing_is_free():
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    connection, _ = server.accept()
    connection.close()  # the server's side goes into TIME_WAIT
    client.close()
    server.close()
    assert is_free(port)


def test_a_holder_that_the_system_does_not_tell_is_not_guessed(taken: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stack.preflight.find_holder", lambda port: None)
    with pytest.raises(PortTaken, match=f"port {taken} is in use, pager needs it; stop .*sport = :{taken}"):
        check_ports([part("pager", taken)])
