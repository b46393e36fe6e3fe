"""What the preset node_exporter finds that fills up on hosts as people have them, from a real Prometheus.

Times are seconds before NOW.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from forecaster.capacity.outlook import Outlook
from forecaster.config import load_config
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.service.capacity import CapacityWatch, make_watch
from forecaster.sources.transport import http_session
from tests.real_prometheus import stored
from tests.results import Clock

NOW = 1_700_006_400  # a whole hour
DAY, HOUR, GIB = 86400, 3600, 2.0**30
Value = Callable[[int], float | None] | float


def growing(t: int) -> float:
    """By 0.1 GiB an hour."""
    return (40 - t / HOUR / 10) * GIB


def disk(instance: str, mountpoint: str, device: str, used: Value = 40 * GIB, size: Value = 100 * GIB,
         reserved: float = 0, fstype: str = "ext4", readonly: float = 0, labels: str = "",
         files: tuple[float, float] = (1000, 800)) -> Iterator[tuple[str, Value]]:
    """The series of a file system: used and size in bytes, files and free files."""
    own = f'device="{device}",fstype="{fstype}",instance="{instance}",job="node",mountpoint="{mountpoint}"{labels}'

    def value(of: Callable[[float, float], float]) -> Value:
        def at(t: int) -> float | None:
            u, s = (one(t) if callable(one) else one for one in (used, size))
            return None if u is None or s is None else of(u, s)
        return at

    yield f"node_filesystem_size_bytes{{{own}}}", value(lambda u, s: s)
    yield f"node_filesystem_free_bytes{{{own}}}", value(lambda u, s: s - u)
    yield f"node_filesystem_avail_bytes{{{own}}}", value(lambda u, s: max(0.0, s - u - reserved))
    yield f"node_filesystem_readonly{{{own}}}", value(lambda u, s: readonly)
    yield f"node_filesystem_files{{{own}}}", value(lambda u, s: files[0])
    yield f"node_filesystem_files_free{{{own}}}", value(lambda u, s: files[1])


def plain(instance: str, **values: Value) -> Iterator[tuple[str, Value]]:
    for name, value in values.items():
        yield f'node_{name}{{instance="{instance}",job="node"}}', value


def between(value: Value, first: float, last: float = 0) -> Value:
    """A value from `first` until `last` seconds before NOW."""
    return lambda t: (value(t) if callable(value) else value) if last <= t <= first else None


HOSTS = [
    *disk("tidy", "/", "/dev/sda1", used=growing),
    *disk("tidy", "/data", "/dev/sdb", used=70 * GIB),
    *disk("bound", "/data", "/dev/sdb"), *disk("bound", "/srv/data", "/dev/sdb"), *disk("bound", "/mnt/x", "/dev/sdb"),
    *disk("bound", "/quota", "/dev/sdb", size=10 * GIB, used=GIB),  # a project quota: a size of its own
    *disk("odd", "/", "/dev/sda1"), *disk("odd", "/cdrom", "/dev/sr0", readonly=1),
    *disk("odd", "/snap/core/1", "/dev/loop0", fstype="squashfs"),
    *disk("odd", "/overlay", "overlay", fstype="overlay"),
    *disk("odd", "/var/lib/kubelet/pods/x", "/dev/sdz"),
    *disk("odd", "/run", "tmpfs", fstype="tmpfs"), *disk("odd", "/dev/shm", "tmpfs", fstype="tmpfs"),
    *disk("odd", "/scratch", "tmpfs", fstype="tmpfs"), *disk("odd", "/cache", "tmpfs", fstype="tmpfs"),
    *disk("odd", "/empty", "/dev/sde", size=0, used=0), *disk("odd", "/wrong", "/dev/sdf", size=float("nan")),
    *disk("reserved", "/", "/dev/sda1", reserved=5 * GIB, used=95 * GIB, files=(0, 0)),
    *disk("replicas", "/", "/dev/sda1", labels=',replica="a"'),
    *disk("replicas", "/", "/dev/sda1", labels=',replica="b"'),
    *disk("replaced", "/data", "/dev/sdb", used=between(90 * GIB, 2 * DAY, 10 * HOUR)),
    *disk("replaced", "/data", "/dev/sdc", used=between(20 * GIB, 10 * HOUR - 300), size=200 * GIB),
    *disk("swapped", "/data", "/dev/sdb", used=between(90 * GIB, 2 * DAY, 180)),
    *disk("swapped", "/data", "/dev/sdc", used=between(20 * GIB, 150), size=200 * GIB),
    *disk("resized", "/", "/dev/sda1", used=60 * GIB, size=lambda t: (100 if t > 5 * HOUR else 200) * GIB),
    *disk("unmounted", "/", "/dev/sda1"), *disk("unmounted", "/old", "/dev/sdb", used=between(GIB, 2 * DAY, HOUR)),
    *disk("silent", "/", "/dev/sda1", used=between(50 * GIB, 2 * DAY, 3 * HOUR)),
    *disk("back", "/", "/dev/sda1", used=lambda t: (90 if t > 7 * HOUR else 30) * GIB),
    *plain("tidy", memory_MemAvailable_bytes=6 * GIB, memory_SwapFree_bytes=2 * GIB, memory_MemTotal_bytes=16 * GIB,
           memory_SwapTotal_bytes=4 * GIB, filefd_allocated=2000, filefd_maximum=100_000, nf_conntrack_entries=1100,
           nf_conntrack_entries_limit=1000, entropy_available_bits=1024, entropy_pool_size_bits=4096),
    *plain("odd", filefd_allocated=2000, filefd_maximum=2.0**63, nf_conntrack_entries=0, nf_conntrack_entries_limit=0,
           entropy_available_bits=256, entropy_pool_size_bits=256),
]




def claim(name: str, available: float = 40, node: str = "n1") -> Iterator[tuple[str, Value]]:
    """A volume of 100 GiB and 1000 inodes, as the kubelet of a node shows it."""
    own = f'instance="{node}:10250",job="kubelet",namespace="shop",node="{node}",persistentvolumeclaim="{name}"'
    yield f"kubelet_volume_stats_available_bytes{{{own}}}", available * GIB
    yield f"kubelet_volume_stats_capacity_bytes{{{own}}}", 100 * GIB
    yield f"kubelet_volume_stats_inodes_used{{{own}}}", 100
    yield f"kubelet_volume_stats_inodes{{{own}}}", 1000


CLAIM = 'namespace="shop",persistentvolumeclaim='
HOSTS += [
    *claim("data"), *claim("shared"), *claim("shared", 30, "n2"), *claim("seldom"), *claim("excepted"),
    (f'kube_persistentvolumeclaim_access_mode{{access_mode="ReadOnlyMany",{CLAIM}"seldom"}}', 1),
    (f'kube_persistentvolumeclaim_access_mode{{access_mode="ReadWriteOnce",{CLAIM}"data"}}', 1),
    (f'kube_persistentvolumeclaim_labels{{label_excluded_from_alerts="true",{CLAIM}"excepted"}}', 1),
]


def lines() -> Iterator[str]:
    for t in (*range(2 * DAY, 0, -300), 180, 150, 0):
        for name, value in HOSTS:
            number = value(t) if callable(value) else value
            if number is not None:
                yield f"{name} {repr(float(number)).replace('nan', 'NaN')} {NOW - t}"


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for line in lines():
        names.setdefault(line.split("{")[0], []).append(line)
    with stored(tmp_path_factory.mktemp("prometheus"), (line for of in names.values() for line in of)) as address:
        yield address


def watch_of(url: str, preset: str = "node_exporter", /, **overrides: object) -> CapacityWatch:
    config = load_config(preset, {"source.url": url, "model": "none", **overrides})
    watch = make_watch(config, SelfMetrics(CollectorRegistry(), "0"), Clock(NOW), http_session)
    assert watch is not None
    return watch


def at_once(watch: CapacityWatch) -> CapacityWatch:
    """The same, which waits for no history."""
    for held in watch.held.values():
        held.told = True
    return watch


@pytest.fixture(scope="module")
def watch(url) -> CapacityWatch:
    watch = watch_of(url)
    assert watch.run_once(), watch.errors
    while watch.read_piece():
        pass
    assert watch.run_once(), watch.errors
    return watch


@pytest.fixture(scope="module")
def outlook(watch) -> Outlook:
    assert watch.board.last is not None
    return watch.board.last


def of(outlook: Outlook, resource: str) -> dict[str, dict[str, float]]:
    """server -> entity -> used share."""
    found: dict[str, dict[str, float]] = {}
    for entity, used in zip(outlook.entities, outlook.used.tolist(), strict=True):
        if entity.resource == resource:
            found.setdefault(entity.server, {})[entity.name] = round(used, 4)
    return found


def test_file_systems_are_those_that_hold_data_once_each(outlook):
    assert of(outlook, "filesystem") == {
        "tidy": {"/": 0.4, "/data": 0.7},
        "bound": {"/data": 0.4, "/quota": 0.1},
        "odd": {"/": 0.4, "/scratch": 0.4, "/cache": 0.4},
        "reserved": {"/": 1.0},
        "replicas": {"/": 0.4},
        "replaced": {"/data": 0.1}, "swapped": {"/data": 0.1},
        "resized": {"/": 0.3},
        "unmounted": {"/": 0.4},
        "silent": {"/": 0.5},
        "back": {"/": 0.3},
    }


def test_the_other_resources_are_those_that_have_a_limit(outlook):
    assert of(outlook, "filesystem_root") == {"reserved": {"/": 0.95}}
    assert "reserved" not in of(outlook, "inodes") and of(outlook, "inodes")["tidy"] == {"/": 0.2, "/data": 0.2}
    assert of(outlook, "memory") == {"tidy": {"memory": 0.6}}
    assert of(outlook, "file_descriptors") == {"tidy": {"file_descriptors": 0.02}}
    assert of(outlook, "conntrack") == {"tidy": {"conntrack": 1.1}}
    assert of(outlook, "entropy") == {"tidy": {"entropy": 0.75}}


def test_a_silent_server_is_lost_and_the_others_are_not(outlook):
    lost = {outlook.entities[row].server for row in np.flatnonzero(outlook.lost)}
    assert lost == {"silent"}
    row = outlook.places["silent", "filesystem", "/"]
    assert outlook.last_seen[row] == NOW - 3 * HOUR + 300  # Prometheus shows a sample for 5 minutes


def hourly(watch: CapacityWatch, server: str, name: str, resource: str = "filesystem") -> np.ndarray:
    held = watch.held[resource]
    row = [one[:2] for one in held.entities].index((server, name))
    return held.past()[0][row]


def test_history_is_read_for_as_long_as_there_is_any(watch):
    known = np.isfinite(hourly(watch, "tidy", "/"))
    assert known[-48:].all() and not known[:-50].any()
    assert np.allclose(hourly(watch, "tidy", "/")[-48:], 0.4 - np.arange(47, -1, -1) / 1000, atol=1e-6)
    assert all(state["history_read"] == 1 for state in watch.state()["resources"].values())


def test_another_device_under_the_same_name_begins_anew(watch):
    course = hourly(watch, "replaced", "/data")
    assert np.allclose(course[-9:], 0.1) and not np.isfinite(course[:-11]).any()
    assert not (hourly(watch, "swapped", "/data") > 0.2).any()


def test_a_resize_is_no_growth(watch):
    assert np.allclose(hourly(watch, "resized", "/")[-48:], 0.3, atol=1e-6)


def test_a_clean_up_is_seen(watch):
    course = hourly(watch, "back", "/")
    assert course[-24] == pytest.approx(0.9) and course[-1] == pytest.approx(0.3)


def test_the_preset_for_kubernetes_reads_the_volumes_and_the_nodes(url):
    watch = at_once(watch_of(url, "kubernetes", **{"source.job": "node"}))
    assert watch.run_once() and not any(state["error"] for state in watch.state()["resources"].values())
    outlook = watch.board.last
    assert of(outlook, "volume") == {"shop": {"data": 0.6, "shared": 0.7}}
    assert of(outlook, "volume_inodes") == {"shop": {"data": 0.1, "seldom": 0.1, "shared": 0.1}}
    assert outlook.size[outlook.places["shop", "volume", "shared"]] == 100 * GIB
    assert "/data" in of(outlook, "filesystem")["bound"]


def test_what_prometheus_was_asked_is_in_the_status(watch):
    state = watch.state()["resources"]["filesystem"]
    assert state["error"] is None and state["entities"] == 15 and state["lost"] == 1
    assert state["ignored"] == 3  # overlay, squashfs, kubelet
    assert "node_filesystem_readonly" in state["queries"]["used"]


def test_shards_divide_the_servers(url, outlook):
    halves = []
    for shard in (0, 1):
        half = at_once(watch_of(url, shard=shard, total_shards=2))
        assert half.run_once()
        halves.append({one.server for one in half.board.last.entities})
    assert halves[0] & halves[1] == set()
    assert halves[0] | halves[1] == {one.server for one in outlook.entities}


def test_what_is_saved_is_what_the_next_start_begins_with(url, watch, tmp_path):
    first = watch_of(url, storage=str(tmp_path))
    assert first.run_once()
    first.close()
    second = watch_of(url, storage=str(tmp_path))
    second._keeper.restore(second._parts(), NOW)
    for name, held in first.held.items():
        assert second.held[name].entities == held.entities
        assert np.array_equal(second.held[name].hourly, held.hourly, equal_nan=True)
        assert np.array_equal(second.held[name].asked, held.asked)


def test_a_query_that_is_refused_costs_its_resource_only(url):
    watch = at_once(watch_of(url, **{"capacity.resources.memory.query": "sum()",
                                     "capacity.resources.conntrack.size": "avg()"}))
    assert watch.run_once()
    outlook, state = watch.board.last, watch.state()["resources"]
    assert of(outlook, "memory") == {} and of(outlook, "filesystem")["tidy"] and of(outlook, "conntrack")["tidy"]
    assert "parse error" in state["memory"]["error"] and "its size" in state["conntrack"]["error"]
    registry = watch._metrics.registry
    failed = {name: registry.get_sample_value("forecaster_capacity_failed", {"resource": name}) for name in state}
    assert [name for name, value in failed.items() if value] == ["memory", "conntrack"]


def test_percentages_are_refused_with_the_remedy(url):
    watch = watch_of(url, **{"capacity.resources.memory.query": "100 * node_filefd_allocated"})
    assert watch.run_once()
    assert "divide by 100" in watch.state()["resources"]["memory"]["error"]


def test_entities_beyond_the_limit_are_refused_and_counted(url):
    watch = at_once(watch_of(url, **{"capacity.max_entities": 5}))
    assert watch.run_once()
    assert len(watch.board.last.entities) == 5
    assert sum(state["refused"] for state in watch.state()["resources"].values()) > 5
