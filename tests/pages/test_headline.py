"""The headline of the Fleet page: the states of servers -> what is said first, and in which colour."""

from datetime import UTC

import numpy as np
import pytest

from forecaster.pages.headline import headline
from forecaster.publish.result import Result
from forecaster.risk.state import State
from tests.outlooks import INSTANT, entity, make_outlook
from tests.results import ISSUED, curves, incidents_of, make_result

P1, P2 = {"hot": 2}, {"hot": 1}  # components at their limit, which gives the priority by the risk score
BY_CHANCE, BY_SCORE = {"chance": (0.7, 0.9)}, {"chance": (0.23, 0.3)}
KINDS = {
    "P1": P1 | BY_CHANCE, "P1 by score": P1 | BY_SCORE,
    "new P1": P1 | BY_CHANCE | {"from": (0, 60)}, "newer P1": P1 | BY_CHANCE | {"from": (15, 75)},
    "new P1 by score": P1 | BY_SCORE | {"from": (0, 60)},
    "P2": P2 | BY_CHANCE, "new P2": P2 | BY_CHANCE | {"from": (0, 180)},
    "P2 by score": P2 | BY_SCORE, "new P2 by score": P2 | BY_SCORE | {"from": (0, 180)},
    "clearing": {"state": State.CLEARING}, "clearing at P2": P2 | BY_SCORE | {"state": State.CLEARING},
    "watch": {"state": State.WATCH}, "safe": {}, "blind": {"state": State.BLIND},
}


def fleet(*kinds: str) -> Result:
    """Servers of these KINDS, one each."""
    of = [KINDS[kind] for kind in kinds]
    names, forecast = tuple(f"s{n}" for n in range(len(of))), np.repeat(curves(1), len(of), axis=0)
    for s, one in enumerate(of):
        forecast[s, :one.get("hot", 0), :6, 2] = 99
    incidents = incidents_of(len(of), chance={(s, 0): one["chance"] for s, one in enumerate(of) if "chance" in one})
    return make_result(
        names, ("x",) * len(of), forecast=forecast, incidents=incidents,
        state=[one.get("state", (State.SAFE, State.LIKELY, State.ACT_NOW)[one.get("hot", 0)]) for one in of],
        pending={name: one["from"] for name, one in zip(names, of, strict=True) if "from" in one})


SINCE, FIRES = "since 08:53:20 UTC", "fires soon after 08:54:20 if that lasts."
CHANCE = "the risk score alone: chance of an incident within 30 minutes 23%"
CHANCE_OF_P2 = "the risk score alone: chance of an incident within 8 hours 30%"


@pytest.mark.parametrize(("kinds", "state", "said"), [
    # one kind
    (["P1", "safe"], "ACT NOW", "Act now: 1 server at P1."),
    (["P1", "P1"], "ACT NOW", "Act now: 2 servers at P1."),
    (["P1 by score"], "ACT NOW", f"Act now: 1 server at P1. By {CHANCE}."),
    (["P1", "P1 by score"], "ACT NOW", f"Act now: 2 servers at P1. 1 of them by {CHANCE}."),
    (["new P1", "safe"], "PENDING", f"Not sure yet: 1 server at P1 {SINCE}. Its alert {FIRES}"),
    (["newer P1", "new P1"], "PENDING",
     f"Not sure yet: 2 servers at P1, the first {SINCE}. The first alert {FIRES}"),
    (["new P1 by score"], "PENDING", f"Not sure yet: 1 server at P1 {SINCE}. Its alert {FIRES} By {CHANCE}."),
    (["P2", "safe"], "LIKELY", "An incident is on or likely on 1 server."),
    (["P2", "new P2"], "LIKELY", "An incident is on or likely on 2 servers."),
    (["P2 by score"], "LIKELY", f"At risk: 1 server at P2. By {CHANCE_OF_P2}."),
    (["new P2 by score"], "PENDING", (f"Not sure yet: 1 server at P2 {SINCE}. Its alert fires soon after 08:56:20 if "
                                      f"that lasts. By {CHANCE_OF_P2}.")),
    (["clearing", "safe"], "CLEARING", "Getting better: 1 server was at P1 or P2 and is not clear yet."),
    (["clearing", "clearing at P2"], "CLEARING", "Getting better: 2 servers were at P1 or P2 and are not clear yet."),
    (["watch", "safe"], "WATCH", "Nothing urgent; watch 1 server."),
    (["safe"] * 3, "SAFE", "Quiet: no incident is on or expected within 8 hours."),
    (["blind"], "BLIND", "Blind: 1 server cannot be judged."),
    ([], "BLIND", "Blind: no server is known."),
    # several: of a page that is sure, only further pages are said
    (["P1", "P2", "new P2 by score", "clearing", "watch"], "ACT NOW", "Act now: 1 server at P1."),
    (["P1", "new P1"], "ACT NOW",
     f"Act now: 1 server at P1. Not sure yet: 1 more server at P1 {SINCE}. Its alert {FIRES}"),
    (["P1", "new P1", "newer P1"], "ACT NOW", (
        f"Act now: 1 server at P1. Not sure yet: 2 more servers at P1, the first {SINCE}. The first alert {FIRES}")),
    (["P2", "P2 by score", "clearing"], "LIKELY", ("An incident is on or likely on 1 server. At risk: 1 more server at "
                                                   f"P2. By {CHANCE_OF_P2}.")),
    (["P2 by score", "new P2 by score"], "LIKELY", (
        f"At risk: 1 server at P2. By {CHANCE_OF_P2}. Not sure yet: 1 more server at P2 {SINCE}. Its alert fires soon "
        f"after 08:56:20 if that lasts. By {CHANCE_OF_P2}.")),
    # what may wait hides nothing
    (["new P1", "P2", "P2", "clearing", "watch"], "PENDING", (
        f"Not sure yet: 1 server at P1 {SINCE}. Its alert {FIRES} An incident is on or likely on 2 more servers. "
        "Getting better: 1 more server was at P1 or P2 and is not clear yet.")),
    (["new P2 by score", "clearing"], "PENDING", (
        f"Not sure yet: 1 server at P2 {SINCE}. Its alert fires soon after 08:56:20 if that lasts. By {CHANCE_OF_P2}. "
        "Getting better: 1 more server was at P1 or P2 and is not clear yet.")),
    # silent servers
    (["safe", "safe", "blind"], "WATCH",
     "Nothing urgent, but not every server is seen. 1 server cannot be judged (BLIND)."),
    (["watch", "safe", "blind"], "WATCH", "Nothing urgent; watch 1 server. 1 server cannot be judged (BLIND)."),
    (["P1", "blind", "blind"], "ACT NOW", "Act now: 1 server at P1. 2 servers cannot be judged (BLIND)."),
    (["new P1", "blind", "blind"], "PENDING",
     f"Not sure yet: 1 server at P1 {SINCE}. Its alert {FIRES} 2 servers cannot be judged (BLIND)."),
    (["P2", "watch", "blind", "blind", "blind"], "BLIND",
     "Blind: 3 servers cannot be judged. An incident is on or likely on 1 more server."),
])
def test_the_headline_says_what_asks_for_most_first_and_hides_nothing_behind_what_may_wait(kinds, state, said):
    badge, text, more = headline(
        fleet(*kinds) if kinds else fleet("safe").only(()), None, ISSUED, UTC)
    assert (badge.word, badge.hue) == (state, "LIKELY" if state == "PENDING" else state)
    assert " ".join([f"{text}.", *more]) == said


DATA, LOGS, VAR = (entity("web1", "/data"), entity("web1", "/logs"), entity("web2", "/var"))
MAYBE = "since 09:00:00 UTC. Its alert fires soon after 09:15:00 if that lasts."


@pytest.mark.parametrize(("kinds", "entities", "state", "said"), [
    (["safe"], {DATA: "full"}, "ACT NOW", "Act now: /data of web1 is full."),
    (["safe"], {DATA: "P1"}, "ACT NOW", "Act now: /data of web1 is about to be full (P1)."),
    (["safe"], {DATA: "P1", LOGS: "P1", VAR: "P1"}, "ACT NOW", (
        "Act now: /data of web1 and 2 more are about to be full (P1).")),
    (["safe"], {DATA: "full", LOGS: "P1"}, "ACT NOW", (
        "Act now: /data of web1 and 1 more are full or about to be (P1).")),
    (["watch"], {DATA: "new P1"}, "PENDING", f"Not sure yet: /data of web1 at P1 {MAYBE}"),
    (["watch"], {DATA: "newer P1", LOGS: "new P1"}, "PENDING", (
        "Not sure yet: /data of web1 and 1 more at P1, the first since 09:00:00 UTC. The first alert fires soon after "
        "09:15:00 if that lasts.")),
    (["watch"], {DATA: "rings"}, "CLEARING", (
        "Getting better: /data of web1 was full or about to be and is not clear yet.")),
    (["watch"], {DATA: "P2"}, "WATCH", "Nothing urgent; watch 1 server."),
    (["watch"], {DATA: "new P2"}, "WATCH", "Nothing urgent; watch 1 server."),
    # beside servers
    (["P1"], {DATA: "full"}, "ACT NOW", "Act now: 1 server at P1. Act now: /data of web1 is full."),
    (["P1"], {DATA: "new P1"}, "ACT NOW", f"Act now: 1 server at P1. Not sure yet: /data of web1 at P1 {MAYBE}"),
    (["new P1"], {DATA: "P1"}, "ACT NOW", (
        f"Act now: /data of web1 is about to be full (P1). Not sure yet: 1 server at P1 {SINCE}. Its alert {FIRES}")),
    (["P2"], {DATA: "P1"}, "ACT NOW", "Act now: /data of web1 is about to be full (P1)."),
    (["P2"], {DATA: "new P1"}, "PENDING", (
        f"Not sure yet: /data of web1 at P1 {MAYBE} An incident is on or likely on 1 server.")),
    (["P2"], {DATA: "rings"}, "LIKELY", "An incident is on or likely on 1 server."),
    # where servers are not seen
    (["safe", "blind", "blind"], {DATA: "full"}, "ACT NOW", (
        "Act now: /data of web1 is full. 2 servers cannot be judged (BLIND).")),
    (["safe", "blind", "blind"], {DATA: "new P1"}, "BLIND", (
        f"Blind: 2 servers cannot be judged. Not sure yet: /data of web1 at P1 {MAYBE}")),
    ([], {DATA: "full"}, "ACT NOW", "Act now: /data of web1 is full. Blind: no server is known."),
    (None, {DATA: "full"}, "ACT NOW", "Act now: /data of web1 is full. Blind: forecasts are stale."),
    (None, {DATA: "P2"}, "BLIND", "Blind: forecasts are stale."),
])
def test_what_fills_up_is_said_in_the_headline_where_it_pages_somebody(kinds, entities, state, said):
    of = [*entities.values()]
    outlook = make_outlook(
        [*entities], full=[one == "full" for one in of], rings=[one == "rings" for one in of],
        priority=[1 if "P1" in one else 2 if one in ("P2", "new P2", "rings") else 0 for one in of],
        since=[{"new P1": INSTANT, "newer P1": INSTANT + 60, "new P2": INSTANT}.get(one, INSTANT - 7200) for one in of])
    result = None if kinds is None else fleet(*kinds) if kinds else fleet("safe").only(())
    of_no_result = ("Blind: forecasts are stale",) if kinds is None else ()
    badge, text, more = headline(result, outlook, INSTANT + 120, UTC, *of_no_result)
    assert (badge.word, badge.hue) == (state, "LIKELY" if state == "PENDING" else state)
    assert " ".join([f"{text}.", *more]) == said
