"""The preset node_exporter on hosts as people have them, from a real Prometheus.

Every host is one of the tidy host's series changed: doubled, missing, late, reset, stepped back, not a number. Times
are seconds since T0.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import requests

from forecaster.config import load_config
from forecaster.readings import NoData, Source
from forecaster.service.app import Forecaster
from forecaster.service.assembly import make_source
from tests.integration.test_victoria_metrics import victoria
from tests.prometheus_answers import T0
from tests.real_prometheus import stored

NOW = 6000  # all hosts were there for 25 minutes, those scraped seldom for 100
EVERY_HOST = {"cpu_pct": 60.0, "mem_pct": 60.0, "disk_io_mb_s": 8.0, "net_in_mb_s": 10.0, "net_out_mb_s": 5.0}
SOME_HOSTS = {"cpu_pressure_pct": 12.0, "mem_pressure_pct": 3.0, "io_pressure_pct": 6.0, "swap_mb_s": 1.024,
              "disk_busy_pct": 30.0, "net_used_pct": 8.0, "fds_used_pct": 2.0, "conntrack_used_pct": 25.0,
              "clock_offset_s": 0.002}
TIDY = tuple((EVERY_HOST | SOME_HOSTS).values())

Series = dict[str, Callable[[int], float | None] | None]


def processors(*numbers: int, **modes: float | None) -> Series:
    """Counters of these processors: the share of each mode; of 60 % busy in all, where none is given."""
    shares = {"idle": 0.38, "iowait": 0.02, "user": 0.4, "system": 0.1, "steal": 0.1} | modes
    return {f'node_cpu_seconds_total{{cpu="{cpu}",mode="{mode}"}}': share if share is None else rising(share)
            for cpu in numbers or (0, 1) for mode, share in shares.items()}


def rising(rate: float, start: float = 1e5) -> Callable[[int], float]:
    return lambda t: start + rate * t


def gauge(name: str, value: float) -> Series:
    return held(**{f"memory_{name}_bytes": value})


def held(**values: float) -> Series:
    """Gauges of these values, by name without node_."""
    return {f"node_{name}": lambda t, value=value: value for name, value in values.items()}


def pressure(**shares: float | None) -> Series:
    """Shares of the time in which something waited."""
    shares = {"cpu": 0.12, "memory": 0.03, "io": 0.06} | shares
    return {f"node_pressure_{name}_waiting_seconds_total": share if share is None else rising(share)
            for name, share in shares.items()}


def busy(**shares: float) -> Series:
    """Disks that have something to do for these shares of the time."""
    return {f'node_disk_io_time_seconds_total{{device="{name}"}}': rising(share) for name, share in shares.items()}


def speed(**megabits: float) -> Series:
    return {f'node_network_speed_bytes{{device="{name}"}}': lambda t, value=value: value * 125000
            for name, value in megabits.items()}


def failing(*collectors: str) -> Series:
    """Collectors that fail now; what they counted before is still stored."""
    return {f'node_scrape_collector_success{{collector="{name}"}}': lambda t: float(t < NOW) for name in collectors}


def disks(**rates: float) -> Series:
    """Disks that read and write at these rates in MB/s each."""
    return {f'node_disk_{way}_bytes_total{{device="{name}"}}': rising(1e6 * rate)
            for name, rate in rates.items() for way in ("read", "written")}


def cards(*names: str, rate: float = 10.0) -> Series:
    """Devices that receive at this rate in MB/s each, and send half as much."""
    return {f'node_network_{way}_bytes_total{{device="{name}"}}': rising(1e6 * rate * share)
            for name in names for way, share in (("receive", 1), ("transmit", 0.5))}


def tidy() -> Series:
    return {"up": lambda t: 1, **processors(), **gauge("MemAvailable", 6.4e9), **gauge("MemTotal", 16e9),
            **disks(sda=4), **cards("eth0"), **pressure(), **busy(sda=0.3), **speed(eth0=1000),
            "node_vmstat_pswpin": rising(100), "node_vmstat_pswpout": rising(150),
            **held(filefd_allocated=2000, filefd_maximum=100_000, nf_conntrack_entries=1000,
                   nf_conntrack_entries_limit=4000, timex_offset_seconds=-0.002, timex_sync_status=1,
                   timex_maxerror_seconds=0.05)}


def lines(instance: str, series: Series, every: int = 15, first: int = NOW - 1500, last: int = NOW + 300,
          labels: str = "") -> Iterator[tuple[int, str]]:
    """Samples of a host: a tidy one's with these series in place of its own; None is no series, or no sample."""
    for t in range(first, last, every):
        for name, value in (tidy() | series).items():
            number = value(t) if value else None
            if number is not None:
                metric, _, own = name.rstrip("}").partition("{")
                all_labels = ",".join(filter(None, (own, f'instance="{instance}",job="node"', labels)))
                yield t, f"{metric}{{{all_labels}}} {number!r} {T0 + t}"


def until(end: int, series: Series) -> Series:
    """These series, without samples from `end` on, and `up`, which is 0 from then on."""
    def cut(value: Callable[[int], float | None]) -> Callable[[int], float | None]:
        return lambda t: value(t) if t < end else None

    return {name: value and cut(value) for name, value in series.items()} | {"up": lambda t: float(t < end)}


def back(by: float, at: int, *numbers: int, mode: str = "steal", share: float = 0.1) -> Series:
    """Counters of this mode that step back by some seconds, once."""
    return {f'node_cpu_seconds_total{{cpu="{n}",mode="{mode}"}}': lambda t: 1e5 + share * t - by * (t >= at)
            for n in numbers}


OFF, ON, CALM = NOW - 900, NOW - 720, NOW - 630  # a host is shut down, is back and busy, has caught up


def rebooted() -> Series:
    """Off for three minutes; then counters from zero, all processors busy for 90 s, and 30 % again."""
    def counter(before: float, busy: float, after: float) -> Callable[[int], float | None]:
        def value(t: int) -> float | None:
            if t < OFF:
                return 1e5 + before * t
            return busy * (min(t, CALM) - ON) + after * max(t - CALM, 0) if t >= ON else None
        return value

    counters = {f'node_cpu_seconds_total{{cpu="{n}",mode="{mode}"}}': counter(*shares) for n in (0, 1)
                for mode, shares in {"user": (0.2, 0.9, 0.2), "system": (0.1, 0.095, 0.1), "steal": (0, 0, 0),
                                     "iowait": (0, 0, 0), "idle": (0.7, 0.005, 0.7)}.items()}
    return counters | {"up": lambda t: float(not OFF <= t < ON)}


STOP = NOW - 600  # the last sample of a host of which then nothing more arrives
nan = float("nan")
NO_CARD, NO_DISK = dict.fromkeys(cards("eth0")), dict.fromkeys(disks(sda=4) | busy(sda=0.3))
NOTHING: Series = dict.fromkeys(tidy()) | {"up": lambda t: 1}
OLD: Series = {"node_memory_MemAvailable_bytes": None}
VIRTUAL = [
    "lo", "eth0.100", "bond0", "bond0.5", "team0", "vlan7", "br0", "br-5f2c", "vmbr0", "fwbr101i0", "fwpr101p0",
    "fwln101i0", "tap101i0", "veth9f01", "docker0", "docker_gwbridge", "cni0", "cni-podman0", "podman1", "cbr0",
    "lxcbr0", "lxdbr0", "lxc0a1b2c3d4e5f", "cilium_vxlan", "cilium_net", "flannel.1", "cali12ab",
    "vxlan.calico", "tunl0", "weave", "kube-ipvs0", "azv1f", "gke52a", "eni3f2a", "antrea-gw0", "ovs-system",
    "ovn-k8s-mp0", "qvo12-ab", "qbr77", "genev_sys_6081", "vxlan0", "gre0", "gretap0", "erspan0", "sit0",
    "ip6tnl0", "ip_vti0", "ip6gre0", "tun0", "wg0", "tailscale0", "zt5u", "ppp0", "macvtap0", "macvlan1",
    "ipvlan2", "virbr0", "vnet3", "vif4.0", "vmnet8", "vboxnet0", "dummy0", "ifb0", "ve-web", "mv-eth0",
    "enP53091s1", "xenbr0", "vrf-blue", "nm-bridge"]
CARDS = [
    "eth0", "eth11", "eno1", "ens5", "enp3s0f0np0", "enX0", "enx00e04c680001", "end0", "em1", "p1p1", "p4p2",
    "wlan0", "wlp2s0", "ib0", "venet0", "usb0", "enP2p1s0"]
STACKED = [
    "dm-0", "dm-12", "md0", "md127", "md126p1", "loop3", "ram0", "zram0", "sr0", "fd0", "zd16", "drbd1",
    "bcache0", "nvme0c0n1", "sda1", "hdb2", "vda15", "xvda1", "dasda1", "nvme0n1p2", "mmcblk0p1", "nbd0p1"]
DISKS = [
    "sda", "sdaa", "hdb", "vda", "xvdf", "dasdb", "nvme0n1", "nvme12n1", "mmcblk0", "rbd0", "nbd3", "pmem0",
    "c0d0"]

# what differs from a tidy host -> (its series, the signals that differ), at NOW
CASES: dict[str, tuple[Series, dict[str, float]]] = {
    "nothing": ({}, {}),
    "iowait steps back now and then": (
        {'node_cpu_seconds_total{cpu="0",mode="iowait"}': lambda t: 5482.81 + 0.01 * (t // 120 % 2)}, {}),
    "full, and iowait steps back": (
        processors(idle=0.005, iowait=0, user=0.795) | gauge("MemAvailable", 0.24e9)
        | {'node_cpu_seconds_total{cpu="0",mode="iowait"}': lambda t: 5482.81 + 0.01 * (t // 120 % 2)},
        {"cpu_pct": 99.5, "mem_pct": 98.5}),
    "idle stepped back": (back(5.0, NOW - 100, 0, 1, mode="idle", share=0.38), {}),
    "idle is missing": ({f'node_cpu_seconds_total{{cpu="{n}",mode="idle"}}': None for n in (0, 1)}, {}),
    "steal stepped back on one processor": (back(20.0, NOW - 100, 1), {}),
    "steal stepped back on all processors": (back(20.0, NOW - 100, 0, 1), {"cpu_pct": nan}),
    "guests, counted as user and nice as well": (processors(guest=0.35, guest_nice=0.05), {}),
    "a third processor since two minutes, all busy": (
        {name: lambda t, value=value: value(t) if t < NOW + 1000 else None
         for name, value in processors(2).items()}, {}),
    "busy all the time": (processors(idle=0, iowait=0, user=0.9), {"cpu_pct": 100}),
    "counts processors alone": (NOTHING | processors(), dict.fromkeys(EVERY_HOST | SOME_HOSTS, nan) | {"cpu_pct": 60}),
    "counters that are not a number": (
        {name: lambda t: nan for name in tidy() if "disk_read" in name or "transmit" in name},
        {"disk_io_mb_s": nan, "net_out_mb_s": nan}),
    "writing is not counted": ({'node_disk_written_bytes_total{device="sda"}': None}, {"disk_io_mb_s": nan}),
    "MemTotal is zero": (gauge("MemTotal", 0), {"mem_pct": nan}),
    "MemTotal is missing": ({"node_memory_MemTotal_bytes": None}, {"mem_pct": nan}),
    "a mode is not a number": (processors(user=nan), {"cpu_pct": nan}),
    "reading and receiving are not numbers": (
        {'node_disk_read_bytes_total{device="sda"}': lambda t: nan,
         'node_network_receive_bytes_total{device="eth0"}': lambda t: nan},
        {"disk_io_mb_s": nan, "net_in_mb_s": nan, "net_used_pct": 4}),
    "MemTotal is not a number": (gauge("MemTotal", nan), {"mem_pct": nan}),
    "more available than there is": (gauge("MemAvailable", 20e9), {"mem_pct": nan}),
    "no MemAvailable, only MemFree": (OLD | gauge("MemFree", 0.24e9), {"mem_pct": 98.5}),
    "no MemAvailable": (OLD | gauge("MemFree", 3e9) | gauge("Buffers", 0.4e9) | gauge("Cached", 3e9), {}),
    "no MemAvailable, much shared memory": (
        OLD | gauge("MemFree", 2e9) | gauge("Buffers", 0.4e9) | gauge("Cached", 5e9) | gauge("Shmem", 2e9)
        | gauge("SReclaimable", 1e9), {}),
    "no MemAvailable, no MemFree": (OLD | gauge("Cached", 1e9), {"mem_pct": nan}),
    "MemAvailable and MemFree": (gauge("MemFree", 1e9), {}),
    "VLANs": (cards("lo", "eth0.100", "eth0.200"), {}),
    "a team": (cards("eth0", "eth1", rate=5) | cards("team0"), {"net_used_pct": 4}),
    "Proxmox": (NO_CARD | cards("eno1", "vmbr0", "fwbr101i0", "fwpr101p0", "tap101i0"), {"net_used_pct": nan}),
    "Cilium": (cards("cilium_vxlan", "lxc0a1b2c3d4e5f"), {}),
    "every kind of virtual device": (cards(*VIRTUAL) | speed(**dict.fromkeys(VIRTUAL, 100)), {}),
    "many cards": (NO_CARD | cards(*CARDS, rate=1), {
        "net_in_mb_s": len(CARDS), "net_out_mb_s": len(CARDS) / 2, "net_used_pct": 0.8}),
    "every kind of stacked disk": (
        disks(**dict.fromkeys(STACKED, 3)) | busy(**dict.fromkeys(STACKED, 0.9)), {}),
    "many disks": (NO_DISK | disks(**dict.fromkeys(DISKS, 1)) | busy(**{name: n / 20 for n, name in enumerate(DISKS)}),
                   {"disk_io_mb_s": 2 * len(DISKS), "disk_busy_pct": 5 * (len(DISKS) - 1)}),
    "none of what some hosts have": (
        dict.fromkeys({*tidy()} - {*processors(), *disks(sda=4), *cards("eth0"), *gauge("MemAvailable", 1),
                                   *gauge("MemTotal", 1), "up"}), dict.fromkeys(SOME_HOSTS, nan)),
    "collectors fail": (
        failing("cpu", "diskstats", "netdev", "pressure", "vmstat"),
        dict.fromkeys({*EVERY_HOST, *SOME_HOSTS} - {
            "mem_pct", "fds_used_pct", "conntrack_used_pct", "clock_offset_s"}, nan)),
    "something waits all the time": (pressure(cpu=1.001, io=1), {"cpu_pressure_pct": 100, "io_pressure_pct": 100}),
    "only some kinds of pressure": (pressure(memory=None), {"mem_pressure_pct": nan}),
    "pressure is not a number": (pressure(cpu=nan), {"cpu_pressure_pct": nan}),
    "pages are swapped in only": ({"node_vmstat_pswpout": lambda t: 1e5}, {"swap_mb_s": 0.4096}),
    "a slower card is the busiest": (
        cards("eth0", "eth1") | speed(eth1=100), {"net_in_mb_s": 20, "net_out_mb_s": 10, "net_used_pct": 80}),
    "sends more than it receives": (
        {'node_network_transmit_bytes_total{device="eth0"}': rising(50e6)}, {"net_out_mb_s": 50, "net_used_pct": 40}),
    "both ways at full speed": (
        {f'node_network_{way}_bytes_total{{device="eth0"}}': rising(125e6) for way in ("receive", "transmit")},
        {"net_in_mb_s": 125, "net_out_mb_s": 125, "net_used_pct": 100}),
    "cards with an alias": (
        {'node_network_receive_bytes_total{device="eth0",ifalias="uplink"}': rising(10e6),
         'node_network_transmit_bytes_total{device="eth0",ifalias="uplink"}': rising(5e6)} | NO_CARD, {}),
    "speed is -1": (speed(eth0=-1), {"net_used_pct": nan}),
    "speed is 0": (speed(eth0=0), {"net_used_pct": nan}),
    "speed is -1 as older kernels write it": (speed(eth0=2 ** 32 - 1), {"net_used_pct": nan}),
    "speed of one card of two is unknown": (
        cards("eth0", "eth1") | speed(eth1=-1), {"net_in_mb_s": 20, "net_out_mb_s": 10}),
    "as many files as systemd allows": (held(filefd_maximum=2.0 ** 63), {"fds_used_pct": nan}),
    "connections without a limit": (held(nf_conntrack_entries_limit=0), {"conntrack_used_pct": nan}),
    "as many connections as can be": (held(nf_conntrack_entries=4000), {"conntrack_used_pct": 100}),
    "clock is ahead": (held(timex_offset_seconds=0.3), {"clock_offset_s": 0.3}),
    "clock is not synchronised": (
        held(timex_sync_status=0, timex_maxerror_seconds=16, timex_offset_seconds=0), {"clock_offset_s": 16}),
    "chrony without rtcsync": (held(timex_sync_status=0, timex_maxerror_seconds=0.5), {}),
    "clock was not synchronised until a minute ago": (
        {"node_timex_sync_status": lambda t: float(t > NOW - 60),
         "node_timex_maxerror_seconds": lambda t: 0.05 if t > NOW - 60 else 16}, {}),
}


def samples() -> list[tuple[int, str]]:
    """Of the hosts of all tests."""
    samples = [sample for name, (series, _) in CASES.items() for sample in lines(name, series)]
    samples += [sample for replica in (0, 1)
                for sample in lines("stored twice", {}, first=NOW - 1500 + 4 * replica, labels=f'replica="{replica}"')]
    samples += lines("went down", until(NOW - 60, tidy()))
    samples += lines("another system", NOTHING | {"windows_cpu_time_total": rising(1)})
    samples += lines("samples stop", {}, first=STOP - 3600, last=STOP)
    samples += lines("rebooted", rebooted())
    samples += lines("new", {}, first=NOW - 120)
    samples += [sample for every in (60, 120, 300) for sample in lines(f"every {every} s", {}, every=every, first=7)]
    return sorted(samples, key=lambda sample: sample[0])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[str]:
    """A Prometheus with the hosts of all tests."""
    with stored(tmp_path_factory.mktemp("hosts"), (line for _, line in samples())) as url:
        yield url


def made(prometheus: str, **source) -> Source:
    config = load_config("node_exporter", {"source.url": prometheus})
    changed = config.model_copy(update={"source": config.source.model_copy(update=source)})
    return make_source(changed, lambda: T0 + NOW)


@pytest.fixture
def source(prometheus):
    return made(prometheus)


def of(reading, server: str) -> np.ndarray:
    return reading.values[..., reading.servers.index(server), :]


@pytest.fixture(scope="module")
def now(prometheus):
    """What is read of all hosts at NOW, and what the source says of it."""
    source = made(prometheus)
    return source.latest(T0 + NOW), source.describe()


@pytest.mark.parametrize("host", CASES)
def test_of_a_host_with_these_differences_what_is_right_is_read(now, host):
    expected = tuple((EVERY_HOST | SOME_HOSTS | CASES[host][1]).values())
    np.testing.assert_allclose(of(now[0], host), expected, rtol=0.002)


def test_a_host_that_two_prometheus_servers_store_counts_once_and_is_said(now):
    np.testing.assert_allclose(of(now[0], "stored twice"), TIDY, rtol=0.002)
    for signal in now[1]["signals"].values():
        assert any("stored twice" in warning for warning in signal["warnings"])


def test_of_a_card_without_a_speed_or_a_table_without_a_limit_nothing_is_said(now):
    reading, said = now
    for name in ("net_used_pct", "fds_used_pct", "conntrack_used_pct", "clock_offset_s"):
        (warning,) = said["signals"][name]["warnings"]
        assert "stored twice" in warning and not reading.left_out[name]


def test_a_host_that_is_up_and_has_no_values_is_told_from_one_that_is_down(now):
    reading, _ = now
    assert "another system" in reading.up and "another system" not in reading.servers
    assert "went down" not in reading.up and "went down" not in reading.servers
    assert {*CASES} <= {*reading.up}


def test_what_a_value_rests_on_is_said_where_it_is_an_estimate(now):
    told = {name: signal["basis"] for name, signal in now[1]["signals"].items()}
    assert told.pop("mem_pct") == {"MemFree, Buffers and Cached": [
        "no MemAvailable", "no MemAvailable, much shared memory", "no MemAvailable, only MemFree"]}
    assert not any(told.values())


@pytest.mark.parametrize("every", [60, 120, 300])
def test_a_host_that_is_scraped_seldom_is_read_in_full(source, every):
    found = np.array([of(source.latest(T0 + NOW - 300 + t), f"every {every} s") for t in range(0, 600, 60)])
    np.testing.assert_allclose(found, np.tile(TIDY, (len(found), 1)), rtol=0.03)


def test_while_samples_are_late_the_last_values_stand_and_then_there_are_none(source):
    seen = []
    for age in range(0, 300, 15):
        reading = source.latest(T0 + STOP - 15 + age)
        seen.append("samples stop" in reading.servers)
        assert ("samples stop" in reading.up) == seen[-1]
        if seen[-1]:
            np.testing.assert_allclose(of(reading, "samples stop"), TIDY, rtol=0.002)
    assert seen == [True] * 3 + [False] * 17, "2.5 scrape intervals are 37.5 s"


def test_a_host_has_no_rates_until_it_was_there_for_the_time_that_they_are_taken_over(source):
    means = {"mem_pct", "fds_used_pct", "conntrack_used_pct", "clock_offset_s"}
    at_once = [value if name in means else nan for name, value in (EVERY_HOST | SOME_HOSTS).items()]
    np.testing.assert_allclose(of(source.latest(T0 + NOW), "new"), at_once, rtol=0.002)
    np.testing.assert_allclose(of(source.latest(T0 + NOW + 195), "new"), TIDY, rtol=0.002)


def test_a_reboot_is_no_load(source):
    readings = source.range(T0 + OFF - 60, T0 + NOW - 300, 15)
    cpu = dict(zip((readings.instants - T0).tolist(), of(readings, "rebooted")[:, 0].tolist(), strict=True))
    assert all(np.isnan(cpu[t]) for t in range(OFF, ON, 15))
    assert all(cpu[t] == pytest.approx(30, abs=1) for t in cpu if t < OFF)
    mean = (90 * 99.5 + 210 * 30) / 300  # of the first five minutes
    assert max(cpu[t] for t in cpu if t >= ON) == pytest.approx(mean, abs=1)
    assert cpu[max(cpu)] < 45


def test_a_range_holds_what_was_read_at_its_instants(source):
    start = OFF - 120
    readings = source.range(T0 + start, T0 + NOW, 60)
    for n, instant in enumerate(readings.instants.tolist()):
        one = source.latest(instant)
        lacking = [nan] * len(TIDY)
        values = [of(one, server) if server in one.servers else lacking for server in readings.servers]
        np.testing.assert_allclose(readings.values[n], values, rtol=0.03, err_msg=f"at {instant - T0}")
    assert "another system" not in readings.servers
    assert np.isnan(of(readings, "went down")[-2:]).all() and np.isfinite(of(readings, "went down")[:-2]).all()


@pytest.mark.parametrize(("up", "said"), [('up{job=~"("}', "error parsing regexp"),
                                          ('up{job="other"}', "servers without a series")])
def test_where_nothing_is_known_of_who_is_up_all_values_count_and_that_is_said(prometheus, up, said):
    source = made(prometheus, up=up)
    for _ in range(2):
        reading = source.latest(T0 + NOW)
        np.testing.assert_allclose(of(reading, "nothing"), TIDY, rtol=0.002)
        assert "went down" in reading.servers and reading.up is None
        (warning,) = source.describe()["up"]["warnings"]
        assert said in warning
    readings = source.range(T0 + NOW - 120, T0 + NOW, 60)
    assert np.isfinite(of(readings, "went down")).all()


def test_servers_that_up_does_not_know_are_read_and_said_and_the_others_only_while_they_are_up(prometheus):
    source = made(prometheus, up='up{instance=~"V.*|went down"}')
    reading = source.latest(T0 + NOW)
    assert reading.up == ("VLANs",) and {"VLANs", "nothing"} < {*reading.servers}
    assert "went down" not in reading.servers and reading.listed == ("VLANs", "went down")
    (warning,) = source.describe()["up"]["warnings"]
    assert "servers without a series of source.up" in warning and "VLANs" not in warning


@pytest.mark.parametrize("every", [60, 120, 300])
def test_without_up_the_configured_interval_tells_how_far_rates_reach(prometheus, every):
    source = made(prometheus, up=None, scrape_interval=every)
    np.testing.assert_allclose(of(source.latest(T0 + NOW), f"every {every} s"), TIDY, rtol=0.03)


def test_before_there_are_hosts_there_is_no_data(source):
    with pytest.raises(NoData, match="has no series"):
        source.latest(T0 - 3600)
    assert source.range(T0 - 3600, T0 - 3000, 60).servers == ()


def test_late_hosts_are_said_with_what_may_be_the_cause(source):
    source.latest(T0 + STOP + 45)
    (warning,) = source.describe()["up"]["warnings"]
    assert "does delivery lag, or do clocks differ?: 1, for example samples stop" in warning


def test_a_forecaster_shows_what_was_read(prometheus):
    forecaster = Forecaster(lambda: load_config("node_exporter", {"source.url": prometheus, "model": "none"}),
                            lambda: T0 + NOW + 1)
    assert forecaster.parts.cycle.run_once()
    result = forecaster.parts.board.last
    row = {server: n for n, server in enumerate(result.servers)}
    for server in ("iowait steps back now and then", "stored twice", "Cilium", "no MemAvailable"):
        np.testing.assert_allclose(result.observed[row[server]], TIDY, rtol=0.002)
        assert np.isfinite(result.forecast[row[server]]).all()
    full = row["full, and iowait steps back"]
    np.testing.assert_allclose(result.observed[full, :2], (99.5, 98.5), rtol=0.002)
    assert result.risk.priority[full] == "P1"
    assert "went down" not in row or np.isnan(result.observed[row["went down"]]).all()


def test_victoria_metrics_gives_the_same(tmp_path, now):
    shift = int(time.time()) // 60 * 60 - T0 - NOW  # it takes no samples that are older than its retention
    with victoria(tmp_path) as url:
        page = "\n".join(f"{line.rpartition(' ')[0]} {1000 * (T0 + t + shift)}" for t, line in samples() if t <= NOW)
        requests.post(f"{url}/api/v1/import/prometheus", data=page.encode(), timeout=60).raise_for_status()
        requests.get(f"{url}/internal/force_flush", timeout=10).raise_for_status()
        reading = made(url).latest(T0 + NOW + shift)
    assert (reading.servers, reading.up) == (now[0].servers, now[0].up)
    differ = {"steal stepped back on all processors", "a mode is not a number"}  # no reset there, and NaN is no sample
    for server in {*reading.servers} - differ:
        np.testing.assert_allclose(of(reading, server), of(now[0], server), rtol=0.03, err_msg=server)
