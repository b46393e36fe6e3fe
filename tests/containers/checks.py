"""What must be so of the containers that run: each check returns what is wrong, a line each.

Rights, mounts and limits are read from the kernel, for the first process of each container, not from the engine.
"""

import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from stack.certificates import AUTHORITY
from stack.layout import PORTS
from stack.secure import PASSWORD, USER
from tests.containers.composed import SERVICES, Container, size, writable
from tests.doors import WRONG, basic

_PSEUDO = {"proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2"}  # file systems that hold no files
# What the engine itself mounts: small, in memory, in the container only.
_ENGINES = {"/dev", "/dev/shm", "/run", "/tmp", "/var/tmp", "/sys/fs/cgroup", "/run/.containerenv", "/etc/hosts",
            "/etc/resolv.conf", "/etc/hostname"}
_NO_LIMIT = "max"
_PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reached(place):
    try:
        socket.create_connection(place, 1).close()
    except OSError:
        return False
    return True
places = [tuple(one) for one in json.loads(sys.argv[1])]
with ThreadPoolExecutor(64) as pool:
    print(json.dumps([place for place, so in zip(places, pool.map(reached, places)) if so]))
"""


def rights(containers: list[Container]) -> list[str]:
    """No root, no capabilities, no way to gain any."""
    wrong = []
    for one in containers:
        status = dict(line.split(":\t", 1) for line in _proc(one, "status").splitlines() if ":\t" in line)
        users = {*status["Uid"].split(), *status["Gid"].split()}
        expected = set(SERVICES[one.service]["user"].split(":"))
        if users != expected or "0" in status["Uid"].split():
            wrong.append(f"{one.service} runs as {sorted(users)}, expected {sorted(expected)}")
        powers = [name for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb") if int(status[name], 16)]
        if powers or status["NoNewPrivs"] != "1":
            wrong.append(f"{one.service} has {powers or 'no'} capabilities, NoNewPrivs {status['NoNewPrivs']}")
        if int(status["Seccomp"]) == 0:
            wrong.append(f"{one.service} is not filtered by seccomp")
    return wrong


def mounts(containers: list[Container]) -> list[str]:
    """Nothing can be written but the volumes and tmpfs of the file, and what the engine mounts."""
    wrong = []
    for one in containers:
        can_write = set()
        for line in _proc(one, "mountinfo").splitlines():
            before, _, after = line.partition(" - ")
            target, options, kind = before.split()[4], before.split()[5].split(","), after.split()[0]
            if "rw" in options and "rw" in after.split()[2].split(",") and kind not in _PSEUDO:
                can_write.add(target)
        if "/" in can_write:
            wrong.append(f"{one.service} has a root file system that can be written")
        # Mounts below /host: Docker makes them read-only from 25.0 on, podman does not, and their owners are others.
        extra = {target for target in can_write - writable(one.service) - _ENGINES - {"/"}
                 if not target.startswith(("/host/", "/proc/", "/sys/", "/dev/"))}
        if extra:
            wrong.append(f"{one.service} can write to {sorted(extra)}")
        if lacks := writable(one.service) - can_write:
            wrong.append(f"{one.service} cannot write to {sorted(lacks)}")
    return wrong


def limits(containers: list[Container]) -> list[str]:
    """Memory, processes and processor time are bounded by the kernel as the file says."""
    wrong = []
    for one in containers:
        file = SERVICES[one.service]
        expected = {"memory": size(file["mem_limit"]), "pids": file["pids_limit"], "cpu": float(file["cpus"])}
        if (found := _limits(one)) != expected:
            wrong.append(f"{one.service} is limited to {found}, expected {expected}")
    return wrong


def largest(one: Container) -> int:
    """Bytes that a container has taken at most, with the page cache."""
    groups = _groups(one)
    name = "memory.peak" if "" in groups else "memory.max_usage_in_bytes"
    try:
        return int((groups.get("memory", groups.get("")) / name).read_text())  # type: ignore[operator]  # one is there
    except FileNotFoundError:  # Linux before 5.19
        return 0


def published(containers: list[Container]) -> list[str]:
    """Services are published on this machine's loopback only, on their own port, node_exporter not at all."""
    wrong = []
    for one in containers:
        expected = () if one.service == "node-exporter" else (("127.0.0.1", PORTS[one.service]),)
        if one.published != expected:
            wrong.append(f"{one.service} is published at {one.published}, expected {expected}")
    own = json.loads(subprocess.run(["ip", "-json", "address"], capture_output=True, check=True).stdout)
    addresses = [info["local"] for link in own for info in link["addr_info"]
                 if info["family"] == "inet" and not info["local"].startswith("127.")]
    places = [(address, port) for address in addresses for port in PORTS.values()]
    return wrong + [f"{address}:{port} of this machine answers" for address, port in places if _answers(address, port)]


def walls(containers: list[Container]) -> list[str]:
    """A service reaches those with whom it shares a network, and no others, by no address of theirs."""
    wrong = []
    for one in containers:
        others = {(address, PORTS[other.service]): other.service
                  for other in containers if other is not one for address in other.addresses}
        probe = [sys.executable, "-c", _PROBE, json.dumps([*others])]
        done = subprocess.run(["nsenter", "--target", str(one.pid), "--net", *probe], capture_output=True, text=True,
                              check=True, timeout=60)
        reached = {others[tuple(place)] for place in json.loads(done.stdout)}
        networks = set(SERVICES[one.service]["networks"])
        expected = {name for name in others.values() if networks & set(SERVICES[name]["networks"])}
        if reached != expected:
            wrong.append(f"{one.service} reaches {sorted(reached)}, expected {sorted(expected)}")
        routes = Path(f"/proc/{one.pid}/net/route").read_text().splitlines()[1:]
        if networks == {"machine"} and any(line.split()[1] == "00000000" for line in routes):
            wrong.append(f"{one.service} has a way out of the machine")
    return wrong


def doors(containers: list[Container], client: Path) -> list[str]:
    """Every port has a certificate with the name of its service, and answers with the login of `client` only."""
    trusted = ssl.create_default_context(cafile=client / AUTHORITY)
    right, guessed = basic(USER, (client / PASSWORD).read_text()), basic(USER, WRONG)
    wrong = []
    for one in containers:
        found = [_status(one, trusted, {}), _status(one, trusted, guessed), _status(one, trusted, right)]
        if found != [401, 401, 200]:
            wrong.append(f"{one.service} answers {found} without a login, with a wrong one, with the login")
        if (plain := _status(one, None, right)) not in (0, 400):
            wrong.append(f"{one.service} answers {plain} without TLS")
    return wrong


def _status(one: Container, trusted: ssl.SSLContext | None, login: dict[str, str]) -> int:
    """The status of a service's /metrics, asked by its name; 0 where it closes the connection."""
    plain = socket.create_connection((one.addresses[0], PORTS[one.service]), 10)
    with plain if trusted is None else trusted.wrap_socket(plain, server_hostname=one.service) as door:
        headers = "".join(f"{name}: {value}\r\n" for name, value in {"Host": one.service, **login}.items())
        try:
            door.sendall(f"GET /metrics HTTP/1.1\r\n{headers}\r\n".encode())
            said = door.recv(64)
        except ConnectionResetError:
            return 0
    return int(said.split()[1]) if said else 0


def _limits(one: Container) -> dict[str, float]:
    groups = _groups(one)

    def read(kind: str, name: str) -> str:
        return (groups.get(kind, groups.get("", Path())) / name).read_text().strip()

    if "" in groups and "memory" not in groups:
        quota, period = read("cpu", "cpu.max").split()
        memory = read("memory", "memory.max")
    else:
        quota, period = read("cpu", "cpu.cfs_quota_us"), read("cpu", "cpu.cfs_period_us")
        memory = read("memory", "memory.limit_in_bytes")
    pids = read("pids", "pids.max")
    return {"memory": float("inf") if memory == _NO_LIMIT else int(memory),
            "pids": float("inf") if pids == _NO_LIMIT else int(pids),
            "cpu": float("inf") if quota in (_NO_LIMIT, "-1") else int(quota) / int(period)}


def _groups(one: Container) -> dict[str, Path]:
    """Folder of a container's control group by controller; "" for the second version of cgroups, which has one."""
    found = dict[str, Path]()
    for line in _proc(one, "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for kind in controllers.split(","):
            folder = Path("/sys/fs/cgroup", kind, path.lstrip("/"))
            if folder.is_dir():
                found[kind] = folder
    return found


def _proc(one: Container, name: str) -> str:
    return Path(f"/proc/{one.pid}", name).read_text()


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True
