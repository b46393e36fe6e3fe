"""Heartbeats: the watchdog of each fleet, which Alertmanager sends again and again while the whole chain works.

A heartbeat proves that forecasts are current, rules are evaluated and alerts are delivered. Its annotation `time` is
when Prometheus evaluated it: Alertmanager repeats the last one for minutes after Prometheus has died, and one that
repeats is no proof. Prometheus hands an alert to Alertmanager once a minute and Alertmanager passes it on after its
`group_interval`, so that 90 s between two new ones are usual; the limit for that is therefore 4/3 of the other.

Times are seconds of a clock that only moves forward (`time.monotonic`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from serving.web import RequestError
from stack.webhook import Alert

LOST = "FleetcastHeartbeatLost"  # the alert that the pager makes itself
TIMEOUT = 90.0  # seconds without a heartbeat after which a fleet counts as lost
_UNCHANGED = 4 / 3  # times the timeout
_EXPLAINED = 2  # times the timeout; forecasts stay current for 2 minutes (forecast_ttl) after the last cycle
_MOST = 1000  # fleets


@dataclass
class Beat:
    """The heartbeats of one (job, fleet)."""

    job: str
    fleet: str
    heard: float  # the last one
    fresh: float  # the last one with a new `time`
    awaited: float  # from when on the next one is awaited: later than both where a page says why there is none
    time: str = ""  # the annotation of the last one
    ended: bool = False  # the rule does not fire: there is no current forecast
    lost: bool = False
    links: dict[str, str] = field(default_factory=dict)


class Heartbeats:
    """The fleets that have sent a heartbeat since the pager started. Not safe to use from several threads."""

    def __init__(self, timeout: float = TIMEOUT):
        self.timeout = timeout
        self.beats: dict[tuple[str, str], Beat] = {}

    def take(self, alert: Alert, now: float) -> Beat | None:
        """Takes a watchdog as it arrived; the fleet if it was lost and is back. RequestError for too many fleets."""
        job, fleet = alert.labels.get("job", "")[:200], alert.labels.get("fleet", "")[:200]
        if (job, fleet) not in self.beats and len(self.beats) >= _MOST:
            problem = f"more than {_MOST} fleets send heartbeats"
            raise RequestError(problem, "alerts", "a watchdog for each job and fleet")
        beat = self.beats.setdefault((job, fleet), Beat(job, fleet, now, now, now))
        if alert.status == "resolved":
            if not beat.ended:  # that this was delivered leaves time for the page that says why
                beat.ended, beat.awaited = True, now
            return None
        beat.ended, beat.heard = False, now
        time = alert.text("time")[:100]
        if time and time == beat.time:
            return None
        beat.fresh, beat.time = now, time
        beat.links = alert.links
        was_lost, beat.lost = beat.lost, False
        return beat if was_lost else None

    def overdue(self, now: float, covered: Mapping[str, float]) -> list[Beat]:
        """The fleets that are lost now and were not before.

        covered: fleets with a page that says why they are not watched, and when it came. Their time begins anew when it
        is over. A page after which heartbeats went on for long, as about one of two replicas, is not the reason.
        """
        for beat in self.beats.values():
            if beat.fleet in covered and beat.fresh - covered[beat.fleet] < _EXPLAINED * self.timeout:
                beat.awaited = now
        late = [beat for beat in self.beats.values() if not beat.lost and self._late(beat, now, beat.awaited)]
        for beat in late:
            beat.lost = True
        return late

    def blind(self, fleet: str | None, now: float) -> bool:
        """Whether nothing proves that the rules of a fleet are evaluated; None stands for any fleet.

        False for a fleet that never sent a heartbeat.
        """
        beats = [beat for beat in self.beats.values() if fleet in (None, beat.fleet)]
        return bool(beats) and all(beat.lost or beat.ended or self._late(beat, now) for beat in beats)

    def reason(self, beat: Beat, now: float) -> str:
        """Why a fleet is lost, in words."""
        if beat.ended:
            return "its heartbeat ended: no current forecast"
        if now - beat.heard > self.timeout:
            return f"no heartbeat for {now - beat.heard:.0f} s"
        return f"the same heartbeat for {now - beat.fresh:.0f} s: Prometheus evaluates no rules, or cannot send alerts"

    def alert(self, beat: Beat, status: str, now: float, at: datetime) -> Alert:
        """The alert that a fleet's heartbeat is lost or, resolved, is back."""
        fleet = beat.fleet or "the fleet"
        summary = f"{fleet} is watched again: its heartbeat is back"
        if status == "firing":
            reason = self.reason(beat, now)
            summary = f"{fleet} is not watched: {reason}. Check Prometheus, Alertmanager and the forecaster"
        return Alert.model_validate({
            "status": status,
            "labels": {"alertname": LOST, "priority": "P1", "severity": "critical",
                       "job": beat.job, "fleet": beat.fleet},
            "annotations": {
                "summary": summary,
                "description": "Alerts of this fleet may not arrive. Check that Prometheus is up, scrapes the "
                               "forecaster and reaches Alertmanager, and that Alertmanager is up and delivers. If the "
                               "fleet was removed on purpose, restart the pager.", **beat.links},
            "startsAt": at.isoformat(timespec="seconds")})

    def _late(self, beat: Beat, now: float, awaited: float = 0.0) -> bool:
        heard, fresh = max(beat.heard, awaited), max(beat.fresh, awaited)
        return now - heard > self.timeout or now - fresh > _UNCHANGED * self.timeout
