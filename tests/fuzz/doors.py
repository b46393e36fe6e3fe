"""Files of TLS, users and tokens: accepted, or refused with one error in few words that shows no secret."""

import random
import tempfile
from pathlib import Path

import yaml

from serving.doors.entry import Doors
from serving.settings import SettingsError
from tests.doors import HASH, write_certificates, write_tokens
from tests.fuzz import mutate
from tests.fuzz.configurations import YAML, bomb
from tests.fuzz.judge import check
from tests.fuzz.kind import Kind

SECRET = "hunter2-0123456789"
WEB = {
    "tls_server_config": {
        "cert_file": "server.crt", "key_file": "server.key", "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": "ca.crt", "min_version": "TLS12", "max_version": "TLS13",
        "cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"],
        "curve_preferences": ["X25519"], "prefer_server_cipher_suites": True},
    "http_server_config": {"http2": True, "headers": {"X-Frame-Options": "deny", "X-XSS-Protection": 0}},
    "basic_auth_users": {"alice": HASH, "bob": SECRET},
}
GOOD = {
    "web": (WEB, WEB | {"basic_auth_users": {"alice": HASH}}),
    "tokens": ({"tokens": {"reader": {"file": "reader.token", "scopes": ["read"]},
                           "writer": {"file": "writer.token", "scopes": ["read", "write"]}}},),
    "certificate": ("server.crt",), "key": ("server.key",), "authority": ("ca.crt",), "token": ("reader.token",),
}
PATHS = (".", "/", "server.crt/x", "\0", "x" * 5000, "../" * 50, "ca.crt", "reader.token", "/dev/null")


class DoorFiles(Kind):
    """An input is a line with the kind of file, then its content."""

    name, inputs = "door-files", 120
    seconds, megabytes = 3.0, 100.0  # half a second for a file of 1 MB, beside the threads of other tests

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory()
        self._folder = Path(self._kept.name)
        write_certificates(self._folder)
        self._tokens = write_tokens(self._folder)
        self._web = self._folder / "web.yml"
        self._web.write_text(yaml.safe_dump(GOOD["web"][1]))
        self._files = {"web": self._web, "tokens": self._tokens} | {
            kind: self._folder / given[0] for kind, given in GOOD.items() if isinstance(given[0], str)}
        self._good = {kind: path.read_bytes() for kind, path in self._files.items()}

    def draw(self, chance: random.Random) -> bytes:
        kind = chance.choice([*["web"] * 5, *["tokens"] * 3, *GOOD])
        if isinstance(GOOD[kind][0], str):
            return f"{kind}\n".encode() + mutate.data(chance, self._good[kind], 3)
        given, draw = chance.choice(GOOD[kind]), chance.random()
        if draw < 0.5:
            made = mutate.as_json(mutate.tree(chance, given, 2))
        elif draw < 0.85:
            lines = yaml.safe_dump(given).splitlines()
            for _ in range(chance.choice((1, 2, 4))):
                at = chance.randrange(len(lines))
                head = lines[at].partition(":")[0]
                lines[at] = chance.choice((f"{head}: {chance.choice(YAML)}", f"{head}: {chance.choice(PATHS)!a}",
                                           chance.choice(YAML), lines[at] * 2))
            made = "\n".join(lines).encode()
        else:
            users = "".join(f"  u{n}: {HASH}\n" for n in range(14_000))
            made = chance.choice((bomb(), "".join(f"key{n}: 1\n" for n in range(50_000)), "{a: " * 3000,
                                  f"basic_auth_users:\n{users}")).encode()
        return f"{kind}\n".encode() + (mutate.data(chance, made, 3) if chance.random() < 0.25 else made)

    def run(self, given: bytes) -> None:
        kind, _, content = given.partition(b"\n")
        path = self._files[kind.decode()]
        path.write_bytes(content)
        try:
            doors = Doors("fuzz", self._web, self._tokens)
            doors.tls()
            check([*doors.collect()], "there are no metrics")
        except SettingsError as error:
            check(len(str(error)) < 50_000, "a refusal takes more than 50,000 characters")
            told = [line.split(": ", 2)[-1] for line in str(error).splitlines()]  # behind the file and the key's name
            check(not any(SECRET in one for one in told), "a refusal shows a secret")
        finally:
            path.write_bytes(self._good[kind.decode()])

    def close(self) -> None:
        self._kept.cleanup()
