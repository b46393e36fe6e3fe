"""The exporter's control interface: the fleet's status and its scenario.

    GET  /status         the fleet at a glance
    POST /scenario/set   {"scenario": NAME}; the answer is that of /status
"""

from collections.abc import Callable

import orjson
from flask import Blueprint, Response, jsonify, request

from exporter.fleet import UnknownScenario
from exporter.live import LiveFleet
from exporter.profiles import STATES
from serving.shown import QUOTED, cut, quoted
from serving.web import RequestError


def fleet_status(live: LiveFleet, running: bool) -> dict[str, object]:
    """The fleet, ready for JSON: running, scenario, tick_count, fleet_size, affected_servers and more."""
    view = live.view()
    return {
        "running": running,
        "scenario": view.scenario,
        "tick_count": view.ticks,
        "fleet_size": len(view.servers),
        "affected_servers": int(view.affected.sum()),
        "affected_server_names": view.affected_servers,
        "servers_by_state": {name: int((view.snapshot.state == number).sum()) for number, name in enumerate(STATES)},
        "scenarios": {
            name: {"affected_share": scenario.affected_share, "multiplier": scenario.multiplier}
            for name, scenario in view.scenarios.items()
        },
        "seed": view.seed,
        "timestamp": view.snapshot.instant,
    }


def control_pages(live: LiveFleet, running: Callable[[], bool]) -> Blueprint:
    """The blueprint with /status and /scenario/set for one fleet."""
    blueprint = Blueprint("control", __name__)

    @blueprint.get("/status")
    def status() -> Response:
        """Scenario, affected servers, states and seed, as JSON."""
        return jsonify(fleet_status(live, running()))

    @blueprint.post("/scenario/set")
    def set_scenario() -> Response:
        """Sets the scenario: `{"scenario": "healthy"}`, `degrading` or `critical`; the answer is that of `/status`."""
        name = _requested_scenario(live)
        try:
            live.set_scenario(name)
        except UnknownScenario as error:
            raise _refusal(f"unknown scenario {quoted(name)}", name, live) from error
        return jsonify(fleet_status(live, running()))

    return blueprint


def _requested_scenario(live: LiveFleet) -> str:
    """The scenario's name in the request's body; RequestError if there is none.

    The content type must be JSON: browsers do not let pages of other origins send that.
    """
    if not request.is_json:
        problem = "the body is not declared as JSON"
        raise RequestError(problem, "Content-Type", "application/json", given=cut(request.mimetype))
    try:
        body: object = orjson.loads(request.get_data())  # refuses NaN and what is nested without end
    except orjson.JSONDecodeError as error:
        raise _refusal("the body is not valid JSON", request.get_data(as_text=True)[:100], live) from error
    if not isinstance(body, dict):
        raise _refusal("the body is not a JSON object", body, live)
    unknown = sorted(set(body) - {"scenario"})
    if "scenario" not in body:
        raise _refusal("the key scenario is missing", unknown, live)
    if unknown:
        key, given = cut(unknown[0]), _short(body[unknown[0]])
        raise RequestError(f"unknown key {quoted(key)}", key, "only the key scenario", given=given)
    name = body["scenario"]
    if not isinstance(name, str):
        raise _refusal("the scenario's name is not a string", name, live)
    return name


def _refusal(error: str, given: object, live: LiveFleet) -> RequestError:
    """The 400 answer with the valid scenarios."""
    valid = list(live.view().scenarios)
    expected = f'{{"scenario": NAME}} with NAME one of {", ".join(valid)}'
    return RequestError(error, "scenario", expected, given=_short(given), valid=valid)


def _short(given: object) -> object:
    """What was given as it is, or where that is long the start of it as text."""
    try:
        return given if len(orjson.dumps(given)) <= QUOTED else quoted(given)
    except orjson.JSONEncodeError:  # nested too deep to be written
        return quoted(given)
