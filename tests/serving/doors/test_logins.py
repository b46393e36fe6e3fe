"""Users and tokens."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

import bcrypt
import pytest

from serving.doors.logins import Busy, Tokens, Users
from serving.settings import SettingsError
from tests.doors import HASH, PASSWORD, TOKENS, WRONG, token_of, write_tokens


@pytest.fixture
def counted(monkeypatch):
    """The bcrypt hashes that were computed."""
    computed = []
    check = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, hashed: computed.append(hashed) or check(password, hashed))
    return computed


def test_a_user_enters_with_the_password_and_nobody_else():
    users = Users({"alice": HASH})
    assert users.check("alice", PASSWORD)
    for name, password in [("alice", WRONG), ("alice", ""), ("bob", PASSWORD), ("", ""), ("alice", PASSWORD + "\0")]:
        assert not users.check(name, password)


def test_a_password_that_was_right_is_not_hashed_again_and_a_wrong_one_is(counted):
    users = Users({"alice": HASH})
    assert all(users.check("alice", PASSWORD) for _ in range(50))
    assert len(counted) == 1
    assert not users.check("alice", WRONG)
    assert not users.check("alice", WRONG)
    assert len(counted) == 3
    assert users.check("alice", PASSWORD)
    assert len(counted) == 3


def test_what_is_remembered_outlasts_a_file_that_is_read_anew_and_no_new_hash(counted):
    users = Users({"alice": HASH, "bob": HASH})
    assert users.check("alice", PASSWORD) and users.check("bob", PASSWORD)
    other = bcrypt.hashpw(WRONG.encode(), bcrypt.gensalt(4)).decode()
    users = Users({"alice": HASH, "bob": other}, users)
    assert users.check("alice", PASSWORD)
    assert len(counted) == 2
    assert not users.check("bob", PASSWORD)
    assert not Users({"alice": other}, users).check("bob", PASSWORD)


def test_who_was_right_before_does_not_wait_for_those_who_guess(monkeypatch):
    users = Users({"alice": HASH})
    assert users.check("alice", PASSWORD)
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: pytest.fail("a hash was computed"))
    with users._one:  # a guess is being hashed
        assert users.check("alice", PASSWORD)


def test_an_unknown_user_costs_a_hash_as_one_that_there_is(counted):
    users = Users({"alice": HASH})
    users.check("mallory", WRONG)
    assert counted == [HASH.encode()]


def test_of_a_long_password_72_bytes_count_as_bcrypt_has_it():
    users = Users({"alice": bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()})
    assert users.check("alice", "x" * 100)
    assert not users.check("alice", "x" * 71)


def test_one_password_is_hashed_at_a_time_and_a_crowd_is_refused(monkeypatch):
    users, entered, go_on = Users({"alice": HASH}), threading.Semaphore(0), threading.Event()
    running, most, results = 0, 0, []

    def slow(password: bytes, hashed: bytes) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        entered.release()
        assert go_on.wait(10)
        running -= 1
        return False

    monkeypatch.setattr(bcrypt, "checkpw", slow)

    def check() -> None:
        try:
            results.append(users.check("alice", WRONG))
        except Busy:
            results.append(Busy)

    threads = [threading.Thread(target=check) for _ in range(12)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=10)
    deadline = time.monotonic() + 10
    while len(results) < 9 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert results == [Busy] * 9
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert results == [Busy] * 9 + [False] * 3
    assert most == 1


@pytest.fixture
def stuck(monkeypatch):
    """Each computation of a hash waits until this is set."""
    go_on, check = threading.Event(), bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *given: go_on.wait(10) and check(*given))
    yield go_on
    go_on.set()


def flood(threads: ThreadPoolExecutor, users: Users, addresses: list[str]) -> list[Future]:
    """Wrong passwords at once, one from each address; returns once all that can be refused are."""
    tries = [threads.submit(users.check, "alice", f"{WRONG} {n}", address) for n, address in enumerate(addresses)]
    wait(tries, 0.2)
    return tries


def refused(tries: list[Future]) -> int:
    return sum(isinstance(one.exception(10), Busy) for one in tries)


def test_a_flood_of_wrong_passwords_leaves_room_for_right_ones_from_other_addresses(stuck):
    users = Users({"alice": HASH}, ticks=lambda: 0.0)
    stuck.set()
    assert not users.check("alice", WRONG, "192.0.2.1")
    stuck.clear()
    with ThreadPoolExecutor(20) as threads:
        tries = flood(threads, users, ["192.0.2.1"] * 12)
        right = [threads.submit(users.check, "alice", PASSWORD, address) for address in ("192.0.2.2", "2001:db8::1")]
        stuck.set()
        assert [one.result(10) for one in right] == [True, True]
    assert refused(tries) == 11


@pytest.mark.parametrize(("seconds", "number"), [(59.0, 2), (60.0, 0)])
def test_an_address_with_a_wrong_password_is_like_any_other_after_a_minute(stuck, seconds, number):
    now = 0.0
    users = Users({"alice": HASH}, ticks=lambda: now)
    stuck.set()
    assert not users.check("alice", WRONG, "2001:db8::1")
    stuck.clear()
    now = seconds
    with ThreadPoolExecutor(20) as threads:
        tries = flood(threads, users, ["2001:db8::2", "2001:db8::3", "2001:db8::4"])  # all of a /64 are one client
        stuck.set()
    assert refused(tries) == number


def test_a_token_names_its_machine_and_its_scopes(tmp_path):
    noted = []
    tokens = Tokens.read(write_tokens(tmp_path), noted.append)
    assert len(noted) == 1 + len(TOKENS)
    for name, scopes in TOKENS.items():
        caller = tokens.caller(token_of(name))
        assert (caller.name, caller.scopes) == (f"token {name}", {*scopes})
    assert tokens.caller("nobody's token") is None
    assert tokens.caller("") is None


def test_tokens_and_users_may_be_bound_to_tenants(tmp_path):
    file = write_tokens(tmp_path, {"reader": ("read",)})
    assert Tokens.read(file).caller(token_of("reader")).tenants is None
    assert Tokens.read(file).user("alice").tenants is None
    file.write_text("tokens: {reader: {file: reader.token, scopes: [read], tenants: [a, b]}}\n"
                    "users: {alice: {tenants: [a]}, root: {tenants: ['*']}}\n")
    tokens = Tokens.read(file)
    assert tokens.caller(token_of("reader")).tenants == {"a", "b"}
    assert [tokens.user(name).tenants for name in ("alice", "root", "bob")] == [{"a"}, {"*"}, set()]


@pytest.mark.parametrize(("content", "problem"), [
    ("", "is empty"),
    ("tokens: {}", "at least 1"),
    ("tokens: {a: {file: a.token, scopes: []}}", "at least 1"),
    ("tokens: {a: {file: a.token, scopes: [everything]}}", "'read', 'control' or 'write'"),
    ("tokens: {a: {file: a.token}}", "scopes: missing"),
    ("tokens: {a: {file: none.token, scopes: [read]}}", "cannot be read"),
    ("tokens: {a: {file: short.token, scopes: [read]}}", "16 or more"),
    ("tokens: {a: {file: spaced.token, scopes: [read]}}", "16 or more"),
    ("tokens: {a: {file: a.token, scopes: [read]}, b: {file: a.token, scopes: [write]}}", "the token of another name"),
    ("tokens: {a: {token: secret-0123456789, scopes: [read]}}", "file"),
    ("tokens: {a: {file: a.token, scopes: [read], tenants: []}}", "at least 1"),
    ("tokens: {a: {file: a.token, scopes: [read], tenants: [a b]}}", "pattern"),
    ("tokens: {a: {file: a.token, scopes: [read]}}\nusers: {}", "at least 1"),
    ("tokens: {a: {file: a.token, scopes: [read]}}\nusers: {alice: {tenants: []}}", "at least 1"),
    ("tokens: {a: {file: a.token, scopes: [read]}}\nusers: {alice: {}}", "tenants: missing"),
])
def test_a_file_of_tokens_that_cannot_be_used_is_refused_and_no_token_shown(tmp_path, content, problem):
    for name, token in {"a": "secret-0123456789", "short": "secret", "spaced": "secret 0123456789 0"}.items():
        (tmp_path / f"{name}.token").write_text(token)
    file = tmp_path / "tokens.yml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=problem) as refused:
        Tokens.read(file)
    assert str(refused.value).startswith(str(file))
