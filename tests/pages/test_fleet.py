"""What the Fleet page says, as HTML; tests/browser has how it looks and moves."""

import re
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
from markupsafe import Markup

from forecaster.pages import words
from forecaster.pages.incidents import coming
from forecaster.publish.result import Result
from forecaster.risk.state import Course, State
from forecaster.risk.thresholds import Priorities
from tests.outlooks import INSTANT, entity, make_outlook
from tests.results import ISSUED, curves, incidents_of, make_result
from tests.stage import Stage


def page(*put, query="", **known) -> str:
    """The page over a Result and an Outlook; known: what a Stage knows besides."""
    stage = Stage()
    vars(stage).update(known)
    stage.put(*put)
    return stage.app.test_client().get(f"/{query}").text


def part(html: str, name: str) -> str:
    """The text of a fragment, or of a server's row."""
    [found] = re.findall(rf'<(\w+) [^>]*?id="{name}"(.*?)</\1>', html, re.DOTALL)
    return Markup(f"<i {found[1]}").striptags()


def rows(html: str) -> dict[str, list[str]]:
    """Server -> its cells."""
    return {name: [Markup(cell).striptags() for cell in re.findall("<td[^>]*>(.*?)</td>", cells)]
            for name, cells in re.findall('<tr id="([^"]+)"(.*?)</tr>', html)}


def test_a_server_has_its_state_priority_chances_profile_and_message():
    incidents = incidents_of(chance={(0, 0): (0.72, 0.86)}, begins={(0, 0): 900}, recurring=(6, 7))
    found = rows(page(make_result(incidents=incidents, by="chance")))
    assert found["ppdb001"] == [
        "LIKELY P2", "72%", "86%", "database",
        ("cpu_pct above 95 expected at 09:08 UTC, chance 72% within 30 minutes, 86% within 8 hours; above 95 at this "
         "time of day on 6 of the last 7 days")]
    assert found["ppweb001"] == ["SAFE P3", "1%", "4%", "web_api", ""]


def test_a_chance_is_never_certain_and_unknown_is_no_number():
    assert [words.chance(value) for value in (0.0, 0.004, 0.01, 0.5, 0.99, 0.999, np.nan)] == [
        "<1%", "<1%", "1%", "50%", "99%", ">99%", "-"]


def test_servers_are_listed_by_state_then_priority_then_risk_then_chance():
    forecast = curves(4)
    forecast[3, 0, :6, 2] = 97  # points, and P3, but SAFE
    incidents = incidents_of(4, chance={(1, 0): (0.01, 0.3), (2, 0): (0.9, 0.95)})
    for by, listed in (("score", "cbda"), ("chance", "cbda")):
        result = make_result(("a", "b", "c", "d"), ("x",) * 4, forecast=forecast, incidents=incidents, by=by)
        assert "".join(rows(page(result))) == listed


class Fleet:
    """Three servers and their course, from ISSUED on; P1 and P2 are by the risk score, whatever the chances are."""

    def __init__(self):
        self.course, self.now = Course(Priorities(), 15.0), ISSUED - 15

    def cycle(self, p1=(), p2=(), chance=(0.23, 0.3)) -> Result:
        """The next result, in which the servers at these rows are at P1 and at P2."""
        self.now += 15
        forecast = curves(3)
        forecast[[*p1], :2, :6, 2] = forecast[[*p2], :1, :6, 2] = 99
        incidents = incidents_of(chance={(row, 0): chance for row in (*p1, *p2)})
        made = make_result(forecast=forecast, issued=self.now, incidents=incidents)
        state = self.course.step(self.now, made.servers, made.last_seen, made.risk)
        return replace(made, state=state, pending=self.course.pending)

    def cycles(self, number: int, *of, **more) -> Result:
        """The last of so many."""
        return [self.cycle(*of, **more) for _ in range(number)][-1]


def headline(html: str) -> tuple[str, str, str]:
    """(state, colour and text) of the headline."""
    colour, word, text = re.search(
        'id="ui-headline" class="headline" data-state="([^"]+)">.*?<b class="state">([^<]+)</b>(.*?)</section>', html,
        re.DOTALL).groups()
    return word, colour, Markup(text).striptags()


def test_a_p1_that_has_only_begun_is_pending_and_asks_nobody_to_act():
    html = page(Fleet().cycle([0]))
    assert headline(html) == (
        "PENDING", "LIKELY", (
            "Not sure yet: 1 server at P1 since 08:53:20 UTC. Its alert fires soon after 08:54:20 if that lasts. "
            "By the risk score alone: chance of an incident within 30 minutes 23%."))
    assert part(html, "ui-figures").endswith("1 PENDING 2 SAFE")
    assert rows(html)["ppdb001"][0] == "PENDING P1" and '<tr id="ppdb001" data-state="LIKELY"' in html
    assert rows(html)["ppdb001"][4].startswith(
        "P1 since 08:53:20 UTC, its alert fires soon after 08:54:20 if that lasts; CPU predicted to reach 99.0% in 5 "
        "minutes (p90), risk score 75; cpu_pct above 95 possible, chance 23% within 30 minutes")
    assert "act now" not in html.lower() and 'data-state="ACT NOW"' not in html


def test_a_server_that_is_at_p1_for_less_than_its_alert_takes_never_asks_anybody_to_act():
    fleet = Fleet()
    said = [page(fleet.cycle(p1)) for p1 in ([], [0], [0], [0], [], *[[0]] * 4, [])]
    assert [headline(html)[0] for html in said] == [
        "SAFE", *["PENDING"] * 3, "SAFE", *["PENDING"] * 4, "CLEARING"]
    assert not any("act now" in html.lower() or 'data-state="ACT NOW"' in html for html in said)


def test_a_p1_that_has_lasted_asks_to_act_and_says_where_no_chance_speaks_for_it():
    fleet = Fleet()
    assert headline(page(fleet.cycles(5, [0]))) == (
        "ACT NOW", "ACT NOW",
        "Act now: 1 server at P1. By the risk score alone: chance of an incident within 30 minutes 23%.")
    assert headline(page(fleet.cycle([0], chance=(0.7, 0.9)))) == ("ACT NOW", "ACT NOW", "Act now: 1 server at P1.")
    assert headline(page(fleet.cycle()))[0] == "CLEARING"
    assert headline(page(fleet.cycle([0])))[0] == "ACT NOW", "its alert goes on"


def test_of_several_servers_those_that_have_lasted_are_counted_first():
    fleet = Fleet()
    fleet.cycles(2, [0])
    assert headline(page(fleet.cycle([0, 1])))[2].startswith(
        "Not sure yet: 2 servers at P1, the first since 08:53:20 UTC. The first alert fires soon after 08:54:20 "
        "if that lasts. By the risk score alone: chance of an incident within 30 minutes 23% at most.")
    html = page(fleet.cycles(2, [0, 1]))
    assert headline(html)[2].startswith(
        "Act now: 1 server at P1. By the risk score alone: chance of an incident within 30 minutes 23%. "
        "Not sure yet: 1 more server at P1 since 08:53:50 UTC. Its alert fires soon after 08:54:50 if that lasts.")
    assert [(name, cells[0]) for name, cells in rows(html).items()] == [
        ("ppdb001", "ACT NOW P1"), ("ppdb002", "PENDING P1"), ("ppweb001", "SAFE P3")]
    assert part(html, "ui-figures").endswith("1 ACT NOW 1 PENDING 1 SAFE")
    only = fleet.cycle([0, 1]).only({"ppdb002", "ppweb001"})
    assert headline(page(only))[2].startswith("Not sure yet: 1 server at P1 since"), "a tenant's fleet is its own"


def test_a_p2_is_not_called_an_incident_where_only_the_score_speaks_for_it():
    fleet = Fleet()
    assert headline(page(fleet.cycle(p2=[0]))) == (
        "PENDING", "LIKELY", (
            "Not sure yet: 1 server at P2 since 08:53:20 UTC. Its alert fires soon after 08:56:20 if that lasts. "
            "By the risk score alone: chance of an incident within 8 hours 30%."))
    lasted = page(fleet.cycles(12, p2=[0]))
    assert headline(lasted) == ("LIKELY", "LIKELY", (
        "At risk: 1 server at P2. By the risk score alone: chance of an incident within 8 hours 30%."))
    assert rows(lasted)["ppdb001"][0] == "LIKELY P2"
    likely = page(Fleet().cycle(p2=[0], chance=(0.3, 0.6)))
    assert headline(likely)[::2] == ("LIKELY", "An incident is on or likely on 1 server.")
    assert "P2 since 08:53:20 UTC, its alert fires soon after 08:56:20" in likely


def test_the_chance_of_any_server_is_unknown_where_it_is_or_the_fleet_is_blind():
    blind = [State.BLIND, State.BLIND, State.SAFE]
    for chance, state, said in ((0.29, None, "29%"), (0.001, None, "<1%"), (np.nan, None, "unknown"),
                                (0.5, blind, "unknown")):
        assert part(page(make_result(any_server=chance, state=state)), "ui-figures").count(said) >= 2
    html = page(make_result(state=blind))
    assert [cells[1:3] for cells in rows(html).values() if "BLIND" in cells[0]] == [["-", "-"]] * 2


def test_what_comes_is_sorted_by_time_and_not_said_of_what_is_not_seen():
    found = incidents_of(on=[(2, 1)], chance={(0, 0): (0.2, 0.6), (0, 1): (0.6, 0.9), (1, 0): (0.6, 0.9)},
                         begins={(0, 0): 7200, (0, 1): 3600, (1, 0): 60})
    said = coming(make_result(incidents=found, state=[State.LIKELY, State.BLIND, State.ACT_NOW]))
    assert [(one.server, one.text, one.when) for one in said] == [
        ("ppweb001", "mem_pct above 95", "now"), ("ppdb001", "mem_pct above 95", "at 09:53 UTC"),
        ("ppdb001", "cpu_pct above 95", "at 10:53 UTC")]


def test_times_are_those_of_the_configured_zone():
    found = incidents_of(chance={(0, 0): (0.2, 0.6)}, begins={(0, 0): 7200})
    object.__setattr__(found, "zone", ZoneInfo("Europe/Vienna"))
    assert "expected at 12:53 CEST" in page(make_result(incidents=found))


def test_servers_that_are_seen_and_not_forecast_are_listed_with_the_reason_in_words():
    html = page(make_result(stale=["ppdb002"], unforecast={f"win{n:03}": "no_values" for n in range(60)}))
    assert "Seen, not forecast: 61" in html and "<b>ppdb002</b> no value for stale_after" in html
    assert "<b>win000</b> up or known, and no signal has a value to forecast from" in html
    assert html.count("no signal has a value") == 49 and "and 11 more" in html


def test_what_cannot_be_read_of_what_fills_up_is_named_beside_what_can():
    for used, said in ((0.4, "Nothing of what can be read within 14 days"), (1.0, "full now")):
        outlook = replace(make_outlook(used=used, full=used == 1), unread=("memory",))
        listed = part(page(make_result(), outlook), "ui-filling")
        assert said in listed and "Cannot be read: Memory." in listed
    assert "Cannot be read" not in page(make_result(), make_outlook())


def test_what_is_not_known_yet_of_what_fills_up_is_named():
    waits = replace(make_outlook(used=0.4), waits_for=("memory",))
    listed = part(page(make_result(), waits), "ui-filling")
    assert "Nothing of what can be read within 14 days" in listed and "Not known yet: Memory." in listed
    nothing = "What fills up is not known."
    watched = {"watched": 1920.0}
    assert nothing in page(make_result(), more=watched) and nothing not in page(make_result(), waits, more=watched)
    assert nothing not in page(make_result()), "nothing is watched"


def test_what_fills_up_is_listed_by_date_and_what_has_room_is_not():
    entities = (entity("web1", "/"), entity("web1"), entity("db1"))
    outlook = make_outlook(entities, used=(0.4, 0.91, 1.0), priority=(0, 2, 0), full=(False, False, True),
                           full_at=(np.nan, INSTANT + 3600, np.nan), chance=(0.02, 0.7, 0.9, 0.999))
    said = part(page(make_result(), outlook), "ui-filling")
    assert "db1 File systems /data, 100% used full now web1 File systems /data, 91% used Thu 09 Oct 10:00" in said
    assert "has" not in said
    new = make_outlook(entities[1:2], used=0.91, priority=1, since=INSTANT, full_at=INSTANT + 3600)
    assert "Thu 09 Oct 10:00 UTC, P1 pending" in part(page(make_result(), new), "ui-filling")
    meant = make_outlook([entity("web9")], used=1.0, full=False, full_at=INSTANT)  # full for a week
    assert "Nothing within 14 days" in page(make_result(), meant)
    assert "has 15 more" in page(make_result(), make_outlook([entity(f"web{n}") for n in range(20)], full=True))
    assert "Nothing within 14 days" in page(make_result(), make_outlook())
    assert "Unknown: there is no current outlook" in page(make_result())


def test_details_say_what_is_wrong_with_the_model_the_clock_and_the_service():
    model = {"model": "none", "problem": "no folder nowhere", "chances_problem": "default has no chances.npz"}
    html = page(make_result(), model=model, problem="query: no answer")
    for item, said in (("Model problem", "no folder nowhere"), ("Not ready", "query: no answer"),
                       ("No chances of incidents", "default has no chances.npz"),
                       ("Forecast issued", "Thu 09 Oct 08:53 UTC"), ("Methods", "tft 3"), ("Source", "prometheus")):
        assert f"<dt>{item}</dt><dd>{said}</dd>" in html
    assert '<a href="/status">/status</a>' in html and '<a href="/runbook"' in html


def test_a_filter_hides_servers_whatever_its_text_is():
    result = make_result(("a&b", 'c"d', "e"), ('"x"', "<y>", "z"), incidents=incidents_of())
    for query, left in (("?text=A%26B", ["a&amp;b"]), ("?profile=%22x%22", ["a&amp;b"]), ("?text=%3Cy", ["c&#34;d"]),
                        ("?text=span", []), ("?priority=P1", []), ("?profile=", ["a&amp;b", "c&#34;d", "e"])):
        html = page(result, query=query)
        assert re.findall('<tr id="([^"]+)"', html) == left and f">{len(left)} of 3</output>" in html
    assert "<option selected>&lt;y&gt;</option>" in page(result, query="?profile=%3Cy%3E")


def test_1000_servers_are_a_page_of_at_most_250_kb_and_an_update_of_all_chances_one_of_60_kb():
    names, stage = tuple(f"node-{n:04}.rack{n % 40}.example.test" for n in range(1000)), Stage()
    every = [(s, i) for s in range(1000) for i in range(3)]
    pages = []
    for turn in range(2):
        rng = np.random.default_rng(7)
        base = rng.beta(0.6, 14, len(every)) * (1 + 0.01 * turn)
        chance = {pair: (value / 3, value) for pair, value in zip(every, np.minimum(base, 0.99), strict=True)}
        stage.put(make_result(names, ("database",) * 1000, by="chance", issued=ISSUED + 15 * turn,
                              incidents=incidents_of(1000, chance=chance)))
        pages.append(stage.app.test_client().get("/").text)
    assert max(len(one.encode()) for one in pages) < 250_000
    assert 1000 < len(stage.update(pages[0])) < 60_000


def test_20_servers_are_less_than_100_kb_with_scripts_and_styles():
    stage = Stage()
    stage.put(make_result(tuple(f"s{n}" for n in range(20)), ("x",) * 20, incidents=incidents_of(20)))
    client = stage.app.test_client()
    html = client.get("/").text
    files = re.findall('(?:href|src)="(/ui/static/[^"]+)"', html)
    assert len(files) == 5 and len(html) + sum(len(client.get(path).data) for path in files) < 100_000


def test_a_server_with_the_name_of_a_part_of_the_page_does_not_take_its_place():
    names = ("live", "main", "ui-headline")
    html = page(make_result(servers=names))
    assert [*rows(html)] == [f"server {name}" for name in names]
    assert [html.count(f'id="{name}"') for name in names] == [1, 1, 1]


def test_incidents_are_unknown_where_no_chance_is_and_not_said_to_be_absent():
    unknown = {(s, i): (np.nan, np.nan) for s in range(3) for i in range(3)}
    without = page(make_result(incidents=incidents_of(chance=unknown), by="chance"))
    blind = page(make_result(state=[State.BLIND] * 3))
    for html in (without, blind):
        assert "Unknown: there is no current forecast of incidents." in part(html, "ui-line")
    assert "No incident is on or expected" in part(page(make_result(incidents=incidents_of())), "ui-line")
