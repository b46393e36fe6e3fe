"""A fleet, of three servers unless told otherwise, with all that the pages show: what was measured and said, its
record, what fills up."""

from functools import cache
from types import SimpleNamespace

import numpy as np

from forecaster.config import load_config
from forecaster.memory.episodes import FALSE, ON_ALREADY, OPEN, TRUE, UNKNOWN, Episode
from forecaster.memory.memory import Memory
from forecaster.memory.outcomes import Outcomes
from forecaster.memory.pages import Pages
from forecaster.memory.past import Past
from forecaster.memory.record import Record
from forecaster.memory.window import Window
from forecaster.publish.firing import Alert, Answer
from forecaster.readings import Readings
from forecaster.risk.chances import WINDOWS
from tests.outlooks import DAY, entity, make_outlook
from tests.results import HORIZONS, ISSUED, SIGNALS, incidents_of, make_result

SERVERS = ("db-1:9100", 'ns/"pod" & <b>ü</b>', "web-2:9100")
PROFILES = ("database", "web_api", "web_api")
STEP = 300.0
SCALE = np.array([55, 60, 40, 90, 0.02], np.float32)  # of SIGNALS


def at(instants: np.ndarray, servers: int = 3) -> np.ndarray:
    """float32 (N, S, C): what these servers measure, with a daily course."""
    hour = np.asarray(instants, float)[:, None, None] / 3600
    server, signal = np.ogrid[:servers, :5]
    course = 1 + 0.25 * np.sin(2 * np.pi * (hour - 3 * server) / 24) + 0.06 * np.sin(7 * hour + server + 2 * signal)
    return (course * SCALE * (1 - 0.1 * (server % 3))).astype(np.float32)


def forecast(issued: float, critical: bool = False, servers: int = 3) -> np.ndarray:
    """float32 (S, C, H, 3): the course, with a band that widens; where critical, the first server's CPU fills up."""
    middle = at(issued + STEP * np.arange(1, 97), servers).transpose(1, 2, 0)
    if critical:
        middle[0, 0] = np.minimum(75 + 0.9 * np.arange(96), 97)
    wide = 0.03 + 0.12 * np.sqrt(np.arange(96) / 96)
    made = np.stack([middle * (1 - wide), middle, middle * (1 + wide)], -1)
    made[:, :2] = np.minimum(made[:, :2], 100)
    return made.astype(np.float32)


def memory(issued: float = ISSUED, past: bool = True, servers: tuple[str, ...] = SERVERS,
           profiles: tuple[str, ...] = PROFILES) -> Memory:
    """Two hours at 15 s, a week at 5 minutes, a record of 2 hours, and outcomes of chances."""
    window = Window(SIGNALS, 15.0, STEP, 24)
    instants = issued - 15.0 * np.arange(480)[::-1]
    window.fill(Readings(instants, servers, profiles, at(instants, len(servers))))
    week = None
    if past:
        week = Past(SIGNALS, STEP, 15.0, 2016)
        steps = issued // STEP * STEP - STEP * np.arange(2016)[::-1]
        week.fill(Readings(steps, servers, profiles, at(steps, len(servers))))
    record = Record(SIGNALS, HORIZONS, STEP, 86400.0, 100, 3.0)
    steps = [step - 1 for step in HORIZONS.values()]
    noise = np.random.default_rng(5)
    for k in range(35)[::-1]:
        now = issued - k * STEP
        came = at(np.array([now]), len(servers))[0]
        record.observe(now, servers, came * (1 + 0.045 * noise.standard_normal(came.shape, np.float32)))
        made = forecast(now, servers=len(servers))[:, :, steps]
        record.keep(now, servers, made, made, made * np.array([0.85, 1.02, 1.2], np.float32))
    outcomes = Outcomes(("cpu_saturated", "latency_high"), WINDOWS, STEP)
    sums = np.zeros((2, 2, 12, 3))
    said = np.array([0.004, 0.02, 0.07, 0.15, 0.25, 0.34, 0.46, 0.55, 0.66, 0.74, 0.86, 0.95])
    sums[:, 0, :, 0] = counted = np.array([52000, 3100, 900, 420, 210, 160, 120, 90, 80, 60, 70, 55])
    sums[:, 0, :, 1], sums[:, 0, :, 2] = counted * said, np.rint(counted * np.clip(said * 1.06 - 0.01, 0, 1))
    outcomes._sums[int(issued // DAY)] = sums
    return Memory(window, week, record, None, {}, outcomes, pages(issued, servers))


SENT = (  # (rule, server's row, hours ago, how it turned out, s until the incident, incident)
    (0, 0, 600, TRUE, 720, "cpu_saturated"), (1, 0, 600.5, TRUE, 2520, "cpu_saturated"), (1, 1, 410, FALSE, 0, ""),
    (0, 2, 300, ON_ALREADY, 0, "latency_high"), (1, 2, 300, ON_ALREADY, 0, "latency_high"),
    (2, 1, 190, TRUE, 9000, "full"),
    (3, 1, 200, TRUE, 45000, "full"), (1, 2, 90, UNKNOWN, 0, ""), (0, 1, 50, TRUE, 1500, "memory_exhausted"),
    (1, 1, 50.2, TRUE, 2220, "memory_exhausted"), (0, 1, 26, FALSE, 0, ""), (1, 1, 26, FALSE, 0, ""),
    (1, 0, 0.3, OPEN, 0, ""))


def pages(issued: float = ISSUED, servers: tuple[str, ...] = SERVERS) -> Pages:
    """Those of four weeks."""
    made = Pages(STEP, "", ("cpu_saturated", "memory_exhausted", "latency_high"))
    made.cycle(issued, servers, *(np.zeros(shape, bool) for shape in (
        (2, len(servers)), len(servers), (len(servers), 3), (len(servers), 3))))
    made._servers.seconds[:] = DAY
    for rule, row, hours, turned, lead, what in SENT:
        begin, entity = issued - 3600 * hours, "" if rule < 2 else "filesystem /data"
        made._held.append(Episode(rule, servers[row], entity, begin, begin + 1800, issued, 1,
                                  begin + lead if what else np.nan, what, over=turned != OPEN, turned=turned))
    return made


_kept = cache(memory)


def more(issued: float = ISSUED, firing=None, filled=None, **parts) -> dict[str, object]:
    """Further fields of Seen."""
    signals = load_config("fleet").signals
    return {"signals": {name: signals[name] for name in SIGNALS}, "horizons": HORIZONS, "watched": 1920.0,
            "memory": _kept(issued, **parts), "firing": firing, "filled": filled}


def quiet(issued: float = ISSUED, **changed):
    """All is well."""
    return make_result(SERVERS, PROFILES, issued=issued, forecast=forecast(issued), observed=at(np.array([issued]))[0],
                       incidents=incidents_of(), by="chance", any_server=0.04, **changed)


def critical(issued: float = ISSUED, **changed):
    """The first server's CPU will be saturated in an hour, as on 6 of 7 days."""
    incidents = incidents_of(chance={(0, 0): (0.42, 0.97), (1, 2): (0.02, 0.18)}, begins={(0, 0): 3600},
                             recurring=(6, 7))
    return make_result(SERVERS, PROFILES, issued=issued, forecast=forecast(issued, True), by="chance",
                       observed=at(np.array([issued]))[0], incidents=incidents, any_server=0.97, **changed)


MOUNTS = (entity(SERVERS[0], "/"), entity(SERVERS[0], "/data"), entity(SERVERS[1], "/var/lib/ü <x>"),
          entity(SERVERS[2], "swap", "memory"))


def filling(issued: float = ISSUED, many: int = 0, mounts=MOUNTS):
    """Four mounts: one full, one full in three days that is P2 since 10 minutes, others not; and further servers."""
    entities = [*mounts, *(entity(f"more-{n:04}", "/data") for n in range(many))]
    rest = [0.3] * many
    made = make_outlook(entities, used=[0.42, 0.88, 1.0, 0.6, *rest], ahead=[0.45, 0.98, 1.0, 0.65, *rest],
                        priority=[0, 2, 1, 0, *[0] * many], full=[False, False, True, False, *[False] * many],
                        full_at=[np.nan, issued + 3.2 * DAY, issued, np.nan, *[np.nan] * many], instant=issued,
                        since=issued - 600)
    hours = np.arange(168)
    week = np.tile(np.array(made.used)[:, None], (1, 168)) - 0.0016 * hours[::-1] * (np.array(made.used)[:, None] > 0.7)
    ramp = np.linspace(0, 1, 336)[None, :, None]
    spread = np.array([-0.08, 0.0, 0.08]) * ramp
    target = np.array([0.45, 1.1, 1.0, 0.65, *rest])[:, None, None]
    used = made.used[:, None, None] + (target - made.used[:, None, None]) * ramp + spread
    made.filling.used[:] = np.clip(used, 0, 1)
    chance = np.array([[0, 0, 0, 0.01], [0.01, 0.12, 0.93, 0.99], [1, 1, 1, 1], [0, 0, 0.02, 0.05], *[[0] * 4] * many])
    made.filling.chance[:] = chance
    object.__setattr__(made, "week", week.astype(np.float32))
    return made


def firing(problem: str | None = None, *alerts: Alert):
    """What Alertmanager answers."""
    given = alerts or (
        Alert({"alertname": "FleetcastServerP1", "server": SERVERS[0], "priority": "P1"},
              {"summary": f"{SERVERS[0]} (database): cpu saturated expected at 10:13 UTC"}, ISSUED - 240, "firing"),
        Alert({"alertname": "FleetcastCapacityP2", "server": SERVERS[0], "priority": "P2"},
              {"summary": "/data is full on Thu"}, ISSUED - 86400, "silenced"),
        Alert({"alertname": "FleetcastWatchdog", "severity": "none"}, {"summary": "The pipeline works"},
              ISSUED - 9e5, "firing"))
    answer = Answer(ISSUED, () if problem else given, problem)
    return SimpleNamespace(url="http://127.0.0.1:9093", fleet="127.0.0.1:8000", latest=lambda: answer)
