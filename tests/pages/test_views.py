"""What the pages Server, Capacity, Record and Alerts show, as fragments: figures, and what is said where they lack."""

import re
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest
from markupsafe import escape

from forecaster.memory.outcomes import Outcomes
from forecaster.memory.pages import Pages
from forecaster.pages import alerts, capacity, chart, record, server, words
from forecaster.pages.seen import Seen
from forecaster.risk.chances import WINDOWS
from forecaster.risk.state import State
from forecaster.risk.thresholds import Roles
from serving.page.view import Asked
from serving.refusals import RequestError
from tests import fleets
from tests.outlooks import INSTANT, entity, make_outlook
from tests.results import ISSUED

DB, POD, WEB = fleets.SERVERS


def seen(result=None, now=None, outlook=None, **changed) -> Seen:
    """A fleet whose latest forecast is `result` (default: a quiet one) at `now` (default: when it was issued)."""
    last = fleets.quiet() if result is None else result
    now = last.issued if now is None else now
    made = Seen(now=now, ttl=120, last=last, result=last if now - last.issued <= 120 else None, outlook=outlook,
                roles=Roles(), model={"model": "default"}, source="prometheus", clock=None, room={}, problem=None,
                **fleets.more(last.issued))
    return replace(made, **changed)


def plain(html: str) -> str:
    """The text of a fragment."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def of_server(name: str, of: Seen, **query) -> dict[str, str]:
    return server.show(of, Asked({"name": name, **query})).fragments


# -- charts ---------------------------------------------------------------------------------------------


def test_a_line_goes_through_its_points_and_breaks_where_one_is_unknown_or_too_far():
    frame = chart.Frame(0, 12, 0, 4)
    at, values = np.array([0.0, 3, 6, 9, 12]), np.array([0, 4, np.nan, 2, 3])
    assert frame.line(at, values) == "M0 400l300-400M900 200l300-100"
    assert frame.line(at, np.ones(5), apart=2) == "M0 300M300 300M600 300M900 300M1200 300"
    assert frame.line(np.zeros(0), np.zeros(0)) == ""


def test_a_band_goes_along_its_upper_and_back_along_its_lower_edge():
    frame = chart.Frame(0, 12, 0, 4)
    assert frame.band(np.array([0.0, 12]), np.array([1, 1]), np.array([2, 3])) == "M0 200l1200-100 0 200 -1200 0Z"
    assert frame.band(np.array([0.0]), np.array([np.nan]), np.array([1.0])) == ""


def test_what_is_outside_of_a_frame_has_no_line():
    frame = chart.Frame(0, 12, 0, 4)
    assert frame.across(2) == "M0 200H1200" and frame.across(5) == ""
    assert frame.up(6) == "M600 0V400" and frame.up(13) == ""


@pytest.mark.parametrize("values, high", [([3.2], 4), ([0.0227], 0.04), ([100], 100), ([101], 200), ([0], 1), ([], 1)])
def test_an_axis_ends_at_a_round_number(values, high):
    assert chart.top([np.array(values, float)]) == pytest.approx(high)


def test_the_marks_of_an_axis_are_equal_spaces_around_now():
    assert chart.marks(-7200, 28800, 0, 7200) == ["-2 h", "now", "+2 h", "+4 h", "+6 h", "+8 h"]


def test_figures_have_three_digits_and_their_unit():
    assert [words.amount(*one) for one in ((93.16, "percent"), (1234567890, "bytes"), (0.02273, "ratio"),
                                           (np.nan, "percent"), (41.26, "megabytes_per_second"))] == [
        "93.2%", "1.23 GB", "0.0227", "-", "41.3 MB/s"]
    assert [words.share(one, 2) for one in (-0.00001, -0.021, 0.5, np.nan)] == ["0.00%", "-2.10%", "50.00%", "-"]
    assert [words.chance(one) for one in (0, 0.999, 0.4, np.nan)] == ["<1%", ">99%", "40%", "-"]


# -- one server -----------------------------------------------------------------------------------------


def test_a_chart_has_what_was_measured_what_was_said_and_what_is_forecast():
    of = seen(fleets.critical())
    shown = server.show(of, Asked({"name": DB}))
    data, result = shown.data["chart-0"], of.result
    assert data["forecast"][1] == pytest.approx(result.forecast[0, 0, :, 1].tolist(), abs=0.06)
    assert data["measured"][-1] == pytest.approx(float(result.observed[0, 0]), abs=0.06)
    assert data["first"] == -48 and len(data["measured"]) == 49, "four hours, as there is a past"
    lead = 6
    said = data["said"][1][-lead - data["said_first"]]  # of now minus 30 minutes
    assert said == pytest.approx(fleets.at(np.array([ISSUED - 1800]))[0, 0, 0], rel=0.05)
    drawing = shown.fragments["draw-0"]
    assert [name for name in ("measured", "median", "band", "said", "before", "limit", "now")
            if f'class="{name}"' not in drawing] == []
    assert re.search(r"CPU: now 6\d\.\d%; in 8 h 97%, p10 to p90 8\d\.\d% to 100%", drawing)


def test_two_hours_are_shown_where_no_past_is_kept():
    of = seen(memory=fleets.memory(past=False))
    data = server.show(of, Asked({"name": DB})).data["chart-0"]
    assert data["first"] == -24 and 'class="before"' not in of_server(DB, of)["draw-0"]


def test_incidents_have_their_chances_when_they_begin_and_on_how_many_days_they_were_on():
    text = plain(of_server(DB, seen(fleets.critical()))["server-chances"])
    assert "cpu_saturated cpu_pct above 95 for 5 min; above 95 at this time of day on 6 of the last 7 days" in text
    assert "09:53 42% 97%" in text
    assert text.index("cpu_saturated") < text.index("memory_exhausted")


def test_the_record_on_a_server_has_coverage_and_loss_of_each_signal_on_that_server():
    made = fleets.memory()
    made.record.by_server._sums[:] = 0
    made.record.by_server._sums[0, 0, :2] = [[28, 14, 30, 40], [28, 28, 44, 40]]
    text = plain(of_server(DB, seen(memory=made))["server-record"])
    assert "Of the last 7 days, as it was forecast 30 min before" in text
    assert text.endswith("CPU 50% 0.75 28 Memory 100% 1.10 28")
    assert "Not known yet" in plain(of_server(WEB, seen(memory=made))["server-record"])
    assert "Not known yet" in of_server(DB, seen(memory=None))["server-record"]


def test_a_moment_has_the_values_that_were_measured_said_or_are_forecast_then():
    past = plain(of_server(DB, seen(), at=str(ISSUED - 1800))["server-at"])
    assert re.search(r"At Thu 09 Oct 08:23 UTC .* CPU 6\d\.\d% - - 6\d\.\d%", past)
    ahead = plain(of_server(DB, seen(), at=str(ISSUED + 3600))["server-at"])
    assert re.search(r"CPU - 5\d\.\d% 5\d\.\d% to 6\d\.\d% -", ahead)
    for wrong in ("noon", "-1", "nan", "1e300"):
        with pytest.raises(RequestError, match="at is"):
            of_server(DB, seen(), at=wrong)


@pytest.mark.parametrize("away", (-30 * 86400, 86400))
def test_a_moment_that_is_not_drawn_says_so_in_place_of_empty_cells(away):
    shown = plain(of_server(DB, seen(), at=str(ISSUED + away))["server-at"])
    assert "outside of the time that the charts show" in shown and "Measured" not in shown


def test_of_a_stale_fleet_no_forecast_is_drawn_and_it_is_said():
    of = seen(fleets.critical(), now=ISSUED + 600)
    shown = server.show(of, Asked({"name": DB}))
    assert 'class="median"' not in shown.fragments["draw-0"] and 'class="band"' not in shown.fragments["draw-0"]
    assert 'class="measured"' in shown.fragments["draw-0"]
    data = shown.data["chart-0"]
    assert data["forecast"] == [[], [], []] and data["said_first"] + len(data["said"][1]) - 1 <= 0
    assert "is 10 min old and no longer shown" in shown.fragments["server-notes"]
    assert 'data-state="BLIND"' in shown.fragments["server-head"] and "97%" not in shown.fragments["server-chances"]


def test_of_a_blind_server_no_forecast_is_drawn_and_since_when_it_is_not_seen_is_said():
    result = fleets.critical(state=[State.BLIND, 0, 0], last_seen=[ISSUED - 300, ISSUED, ISSUED])
    of = seen(result)
    fragments = of_server(DB, of)
    assert 'class="median"' not in fragments["draw-0"] and "Unknown" in fragments["server-chances"]
    assert "Last seen Thu 09 Oct 08:48 UTC, 5 min ago." in fragments["server-notes"]
    assert 'class="median"' in of_server(WEB, of)["draw-0"]


def test_what_has_only_begun_is_said_on_the_pages_of_the_server_and_of_alerts():
    result = fleets.critical(state=[State.ACT_NOW, 0, 0], pending={DB: (-15, 30)})
    head, own = (of_server(DB, seen(result))["server-head"],
                 alerts.show(seen(result), Asked()).fragments["al-own"])
    for html in (head, own):
        assert '<b class="state" data-state="LIKELY">PENDING</b>' in html and "ACT NOW" not in html
        assert "since 08:53:05 UTC, its alert fires soon after 08:53:50 if that lasts; " in html
    lasted = of_server(DB, seen(fleets.critical(state=[State.ACT_NOW, 0, 0])))["server-head"]
    assert '<b class="state" data-state="ACT NOW">ACT NOW</b>' in lasted


def test_warm_up_and_missing_signals_are_said():
    made = fleets.forecast(ISSUED)
    made[0, 2] = np.nan
    result = replace(fleets.quiet(samples=[90, 150, 150]), forecast=made)
    text = plain(of_server(DB, seen(result))["server-notes"])
    assert "Warming up: 90 of 150 samples." in text and "No forecast of disk_io_mb_s" in text
    assert plain(of_server(WEB, seen(result))["server-notes"]) == ""


def test_a_name_that_nothing_is_known_of_is_refused_and_one_that_is_not_forecast_says_why():
    with pytest.raises(RequestError, match="there is no server 'nobody'") as error:
        of_server("nobody", seen())
    assert error.value.status == 404
    text = plain(of_server("win1", seen(fleets.quiet(unforecast={"win1": "no_values"})))["server-notes"])
    assert "Not forecast: up or known, and no signal has a value" in text


def test_before_the_first_forecast_a_server_has_none():
    of = replace(seen(), last=None, result=None, problem="The first cycle is under way.", memory=None)
    assert "There is no forecast yet. The first cycle is under way." in of_server(DB, of)["server-notes"]


def test_names_are_escaped():
    of = seen(fleets.critical(), outlook=fleets.filling())
    for html in of_server(POD, of).values():
        assert "<b>ü" not in html and "<x>" not in html
    assert str(escape(POD)) in of_server(POD, of)["server-head"]
    for shown in (capacity.show(of, Asked({"find": "<b>"})), alerts.show(replace(of, firing=fleets.firing()), Asked())):
        assert not any("<b>ü" in html or "<x>" in html for html in shown.fragments.values())


@pytest.mark.parametrize("signals", [8, 14])
def test_an_update_of_a_server_stays_under_60_kilobytes(signals):
    names = tuple(f"signal_{n}" for n in range(signals))
    one = fleets.more()["signals"]["cpu_pct"]

    def at(issued: float):
        made, of = fleets.critical(issued), fleets.more(issued)
        fold = np.arange(signals) % 5
        many = replace(made, signals=names, forecast=made.forecast[:, fold], observed=made.observed[:, fold],
                       trend=made.trend[:, fold])
        held = of["memory"]

        class Folded:
            past, outcomes, pages, lock = held.past, held.outcomes, held.pages, held.lock
            measured = staticmethod(lambda *asked: (held.measured(*asked)[0], held.measured(*asked)[1][:, fold]))
            scored = staticmethod(lambda name: (held.scored(name)[0], held.scored(name)[1][fold]))
            said = staticmethod(lambda name: (*held.said(name)[:2], held.said(name)[2][:, fold]))

        return server.show(replace(seen(many, outlook=fleets.filling(issued)), memory=Folded,
                                   signals=dict.fromkeys(names, one)), Asked({"name": DB}))

    message = at(ISSUED + 15).since(at(ISSUED), ISSUED + 15)
    assert 20_000 < len(orjson.dumps(message)) < 60_000


# -- what fills up --------------------------------------------------------------------------------------


def test_what_is_full_stands_first_then_what_is_full_soonest():
    shown = capacity.show(seen(outlook=fleets.filling()), Asked())
    rows = [plain(shown.fragments[key]) for key in shown.lists["cap-rows"]]
    assert [row.split(" ")[0] for row in rows] == ["/var/lib/ü", "/data", "swap", "/"]
    assert "full now" in rows[0] and "Sun 12 Oct 13:41 UTC 12% 93% 1.00% PENDING P2" in rows[1]
    assert "is full" in shown.fragments["cap-head"]


def test_resources_that_cannot_be_read_and_those_of_which_nothing_is_found_are_named():
    of = make_outlook([entity(DB)])
    assert "Nothing is found of: Memory." in plain(capacity.show(seen(outlook=of), Asked()).fragments["cap-head"])
    said = plain(capacity.show(seen(outlook=replace(of, unread=("memory",))), Asked()).fragments["cap-head"])
    assert "Of what can be read, nothing is expected to be full within 14 days" in said
    assert "Cannot be read, /status says why: Memory." in said and "found" not in said
    said = plain(capacity.show(seen(outlook=replace(of, waits_for=("memory",))), Asked()).fragments["cap-head"])
    assert "Of what can be read, nothing is expected to be full within 14 days" in said
    assert "Not known yet, history is being read: Memory." in said and "found" not in said


def test_a_server_of_which_only_what_fills_up_is_forecast_says_so():
    for of, said in ((make_outlook([entity("nas1")]), "None of its signals is forecast; what of it fills up is"),
                     (None, "Nothing is forecast for this server")):
        known = seen(fleets.quiet(unforecast={"nas1": "no_values"}), outlook=of)
        assert said in of_server("nas1", known)["server-head"]


def test_a_used_share_is_written_in_one_way_on_the_pages_of_a_server_and_of_what_fills_up():
    for used, said in ((1.0, "100%"), (0.998, "100%"), (0.002, "0%")):
        of = seen(outlook=make_outlook([entity(DB)], used=used))
        shown = capacity.show(of, Asked())
        assert f"File systems {DB} {said}" in plain(shown.fragments[shown.lists["cap-rows"][0]])
        assert f"/data File systems {said}" in plain(of_server(DB, of)["server-fill"])


def test_a_p1_of_what_fills_up_that_has_only_begun_is_pending_on_every_page_and_one_that_has_lasted_is_not():
    asked = Asked({"server": DB, "of": "filesystem", "entity": "/data"})
    for begun, pending in ((INSTANT, True), (INSTANT - 900, False)):
        of = seen(outlook=make_outlook([entity(DB)], used=0.9, priority=1, since=begun), now=INSTANT)
        shown = capacity.show(of, asked)
        row, [mount] = shown.fragments[shown.lists["cap-rows"][0]], server.mounts(of.outlook, DB, of.now)
        assert ("PENDING P1" in plain(row)) == pending and ('class="fill high"' in row) != pending
        assert ("1 P1 (1 pending)" in shown.fragments["cap-head"]) == pending == mount["pending"]
        said = "PENDING P1 since 09:00:00 UTC, its alert fires soon after 09:15:00 if that lasts."
        assert (said in plain(shown.fragments["cap-one"])) == pending
        assert ("PENDING P1" in plain(of_server(DB, of)["server-fill"])) == pending
        own = plain(alerts.show(replace(of, result=replace(of.last, issued=INSTANT)), Asked()).fragments["al-own"])
        assert ("90% used, P1 pending" in own) == pending and "90% used, P1" in own


def test_rows_are_found_by_text_and_resource_and_bounded():
    of = fleets.filling(many=300)
    assert [of.entities[row].name for row in capacity.chosen(of, "DB-1", "")] == ["/data", "/"]
    assert [of.entities[row].name for row in capacity.chosen(of, "", "memory")] == ["swap"]
    shown = capacity.show(seen(outlook=of), Asked())
    assert len(shown.lists["cap-rows"]) == 200 and "And 104 more" in shown.fragments["cap-more"]
    assert len(set(shown.lists["cap-rows"])) == 200


def test_one_entity_has_its_course_and_its_fan():
    of = fleets.filling()
    shown = capacity.show(seen(outlook=of), Asked({"server": DB, "of": "filesystem", "entity": "/data"}))
    data = shown.data["chart-0"]
    row = of.places[DB, "filesystem", "/data"]
    assert data["forecast"][1] == pytest.approx((100 * of.filling.used[row, :, 1]).tolist(), abs=0.06)
    assert data["first"] == -168 and data["measured"][-1] == pytest.approx(88, abs=0.1)
    assert "in 14 days 100%, p10 to p90 100% to 100%" in shown.fragments["draw-0"]
    text = plain(shown.fragments["cap-one"])
    assert "88.0% of 100 GB" in text and "1.00%, 0.10% before" in text


def test_where_nothing_is_watched_or_the_outlook_is_stale_it_is_said():
    assert "Nothing is watched" in capacity.show(seen(watched=None), Asked()).fragments["cap-head"]
    stale = capacity.show(seen(), Asked())
    assert "no current forecast" in stale.fragments["cap-head"] and stale.issued is None


# -- the record -----------------------------------------------------------------------------------------


def test_the_record_says_coverage_loss_and_what_came_of_chances():
    shown = record.show(seen(), Asked()).fragments
    assert "80% of the outcomes lay between p10 and p90, as they should (80%)" in shown["rec-head"]
    assert plain(shown["rec-day"]).count("80% loss 0.50") == 25
    found = record.reliability(seen())
    assert found[0]["counted"] == 57265 and found[0]["bins"][6] == {"counted": 120, "said": pytest.approx(0.46),
                                                                    "came": pytest.approx(57 / 120)}
    assert plain(shown["rec-chances"]).count("594 of 57,265 came; 817 were expected.") == 2


def test_what_is_not_known_yet_is_said_and_nothing_is_drawn():
    made = fleets.memory()
    made.outcomes = Outcomes(("cpu_saturated",), WINDOWS, 300.0)
    shown = record.show(seen(fleets.quiet(proven=False), memory=made), Asked()).fragments
    assert "Not known yet" in shown["rec-head"] and "Nothing is known yet" in shown["rec-day"]
    assert "Not known yet" in shown["rec-chances"] and "<svg" not in shown["rec-chances"]
    assert "None was sent" not in shown["rec-pages"]
    made.outcomes = made.pages = None
    assert "Not known: live.enabled is false" in record.show(seen(memory=made), Asked()).fragments["rec-pages"]
    assert "there are no calibrated chances" in record.show(seen(memory=made), Asked()).fragments["rec-chances"]


def test_pages_are_counted_by_how_they_turned_out_and_the_newest_are_listed_with_their_moment():
    shown = record.show(seen(), Asked()).fragments["rec-pages"]
    text = plain(shown)
    assert "Pages of servers (P1) meant for 30 minutes 4 2 1 - 1 - - 18 min 0.33" in text
    assert "Tickets of servers (P2 or P1) meant for 8 hours 7 2 1 - 2 1 1 40 min 0.58" in text
    assert "Pages of what fills up (P1) meant for 4 hours 1 1 - - - - - 2 h 0.08" in text
    newest = text[text.index("How it turned out") :]
    assert newest.index("P2 open") < newest.index("P1 false") < newest.index(
        f"{plain(str(escape(POD)))} P1 memory_exhausted true, 25 min before")
    assert f"name=db-1%3A9100&amp;at={ISSUED - 1080:.0f}" in shown
    assert newest.count("memory_exhausted") == 1, "its ticket is the same trouble"


def test_what_fills_up_has_no_row_where_it_is_not_watched_and_no_page_is_good_news_only_where_one_is_kept():
    made = fleets.memory()
    made.pages = Pages(300.0)
    text = plain(record.show(seen(memory=made, watched=None), Asked()).fragments["rec-pages"])
    assert "None was sent" in text and "fills up" not in text
    assert text.count("-") >= 16, "a rate and a median are not known yet"


def test_a_viewer_of_some_servers_sees_no_page_of_others():
    hidden = replace(fleets.quiet(), servers=(DB, "x", "y"))
    text = plain(record.show(seen(hidden, whole=False), Asked()).fragments["rec-pages"])
    assert "meant for 30 minutes 1 1" in text and str(escape(POD)) not in text and WEB not in text
    assert WEB in plain(record.show(seen(hidden), Asked()).fragments["rec-pages"]), "of one that is gone"
    assert f"?name={WEB}" not in record.show(seen(hidden), Asked()).fragments["rec-pages"]


def test_the_page_of_a_server_lists_its_own_pages():
    text = plain(of_server(DB, seen())["server-pages"])
    assert "Pages of servers (P1) 1 true, 0 false of 1" in text and "cpu_saturated true, 12 min before" in text
    assert "memory_exhausted" not in text and "fills up" not in text
    made = fleets.memory()
    made.pages = Pages(300.0)
    assert "None was sent in the last 28 days" in of_server(DB, seen(memory=made))["server-pages"]
    made.pages = None
    assert "Not known" in of_server(DB, seen(memory=made))["server-pages"]


def test_bands_that_are_too_narrow_or_too_wide_are_called_so():
    assert [record.word(one) for one in (0.5, 0.8, 0.95)] == ["narrow", "", "wide"]


# -- alerts ---------------------------------------------------------------------------------------------


def shown_alerts(firing=None, **of) -> dict[str, str]:
    return alerts.show(seen(fleets.critical(), firing=firing, **of), Asked()).fragments


def test_servers_that_need_attention_stand_with_why_and_alerts_with_their_runbook_entries():
    shown = shown_alerts(firing=fleets.firing(), outlook=fleets.filling())
    assert "2 servers need attention, 1 alert is firing" in shown["al-head"]
    assert "LIKELY P2 cpu_pct above 95 expected at 09:53 UTC" in plain(shown["al-own"])
    assert "/data: 88% used, P2 pending" in plain(shown["al-own"])
    assert 'href="/runbook#fleetcastserverp1"' in shown["al-sent"]
    sent = plain(shown["al-sent"])
    assert sent.index("FleetcastServerP1") < sent.index("FleetcastWatchdog") < sent.index("FleetcastCapacityP2")
    assert "silenced Wed 08 Oct 08:53 UTC" in sent


def test_an_alertmanager_that_does_not_answer_or_is_not_there_is_said():
    shown = shown_alerts(firing=fleets.firing("http://127.0.0.1:9093: no answer within 2s"))
    assert "no answer within 2s" in shown["al-sent"] and "what is firing is not known" in shown["al-head"]
    assert "no Alertmanager is configured" in shown_alerts()["al-sent"]


def test_a_viewer_of_some_servers_sees_no_alert_of_others_and_not_where_alertmanager_is():
    firing = fleets.firing()
    own = shown_alerts(firing, whole=False)["al-sent"]
    assert "FleetcastServerP1" in own and "FleetcastWatchdog" not in own
    silent = fleets.firing("http://127.0.0.1:9093: no answer within 2s")
    assert "does not answer" in (failed := shown_alerts(silent, whole=False)["al-sent"])
    assert "9093" in shown_alerts(firing)["al-sent"] and "9093" not in own + failed
    hidden = replace(seen(fleets.critical()).last, servers=("x", "y", "z"))
    shown = alerts.show(seen(hidden, firing=firing, whole=False), Asked()).fragments
    assert "Fleetcast" not in shown["al-sent"] and DB not in shown["al-sent"]


def test_what_is_meant_to_be_full_has_no_date_and_is_not_what_is_full_first():
    entities = (entity("db1", "/snap"), entity("db1", "/data"))
    of = make_outlook(entities, used=(1.0, 0.8), full=False, full_at=(INSTANT, INSTANT + 86400))
    shown = capacity.show(seen(outlook=of), Asked()).fragments
    assert "/data of db1 is full first" in shown["cap-head"]
    rows = [plain(html) for key, html in shown.items() if key.startswith("e-")]
    assert "/data" in rows[0] and "/snap" in rows[1] and "full for a week" in rows[1], rows
    assert [one["meant"] for one in server.mounts(of, "db1", INSTANT)] == [True, False]
    alone = capacity.show(seen(outlook=make_outlook(entities[:1], used=1.0, full=False, full_at=INSTANT)), Asked())
    assert "Nothing is expected to be full" in alone.fragments["cap-head"]


def test_times_are_those_of_the_configured_zone():
    shown = shown_alerts(firing=fleets.firing(), zone=ZoneInfo("Asia/Tokyo"))
    assert "Thu 09 Oct 17:49 JST" in shown["al-sent"]


def test_an_outlook_that_comes_while_a_page_is_open_fills_its_table():
    empty = capacity.show(seen(watched=1920.0), Asked())
    shown = capacity.show(seen(outlook=fleets.filling()), Asked())
    message = shown.since(empty, ISSUED)
    assert "gone" not in message and len(message["lists"]["cap-rows"]) == 4
    assert shown.fragments.keys() >= {*message["lists"]["cap-rows"]}


def test_a_course_that_is_not_known_yet_has_its_place_so_that_an_update_draws_it():
    asked = Asked({"server": DB, "of": "filesystem", "entity": "/data"})
    empty, shown = (capacity.show(seen(outlook=of, watched=1920.0), asked) for of in (None, fleets.filling()))
    assert "no current forecast of it" in empty.fragments["draw-0"] and f"/data of {DB}" in empty.fragments["cap-one"]
    message = shown.since(empty, ISSUED)
    assert "gone" not in message and {"draw-0", "cap-one"} <= message["set"].keys() and "chart-0" in message["data"]
    nobody = Asked({"server": DB, "of": "filesystem", "entity": "/nothing"})
    assert "no current forecast of it" in capacity.show(seen(outlook=fleets.filling()), nobody).fragments["draw-0"]
    assert "draw-0" not in capacity.show(seen(outlook=fleets.filling()), Asked()).fragments


def test_a_server_whose_outlook_is_stale_is_not_said_to_have_nothing_that_fills_up():
    assert "Unknown: there is no current" in of_server(DB, seen(outlook=None, watched=1920.0))["server-fill"]
    assert "Nothing of this server is watched" in of_server(DB, seen(outlook=None, watched=None))["server-fill"]


def test_that_no_server_needs_attention_is_not_said_of_those_that_are_blind():
    blind = replace(fleets.quiet(), state=np.array([State.BLIND, State.SAFE, State.SAFE]))
    shown = {key: plain(html) for key, html in alerts.show(seen(blind), Asked()).fragments.items()}
    assert shown["al-head"].startswith("No server that can be judged needs attention, 1 cannot be judged (BLIND)")
    assert "1 cannot be judged" in shown["al-own"]
