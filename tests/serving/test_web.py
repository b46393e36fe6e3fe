import pytest
from flask import Blueprint, Response, request

from serving.settings import SettingsError
from serving.web import RequestError, Service, create_app


@pytest.fixture
def state() -> dict:
    return {"reason": None, "error": None, "reloads": 0}


@pytest.fixture
def client(state):
    def reload() -> None:
        if state["error"]:
            raise state["error"]
        state["reloads"] += 1

    views = Blueprint("views", __name__)

    @views.get("/broken")
    def broken():
        raise RuntimeError("secret detail")

    @views.post("/strict")
    def strict():
        request.get_data()
        raise RequestError("the size is wrong", "size", "a number", given="big")

    service = Service(
        name="example",
        description="An <b>example</b>.",
        ready=lambda: state["reason"],
        reload=reload,
    )
    return create_app(service, views, max_request_bytes=100).test_client()


def test_a_service_without_a_landing_page_says_what_it_is(client):
    page = client.get("/")
    assert (page.mimetype, page.text) == ("text/plain", "example: An <b>example</b>.\n")


def test_a_service_may_have_a_landing_page_of_its_own():
    service = Service("example", "An example.", landing=lambda: Response("<h1>Mine</h1>", mimetype="text/html"))
    assert create_app(service).test_client().get("/").text == "<h1>Mine</h1>"


def test_healthy_stays_200_while_ready_tells_why_not(client, state):
    assert (client.get("/-/ready").status_code, client.get("/-/healthy").status_code) == (200, 200)
    state["reason"] = "the window is still filling"
    answer = client.get("/-/ready")
    assert (answer.status_code, answer.text, answer.mimetype) == (
        503,
        "the window is still filling\n",
        "text/plain",
    )
    assert client.get("/-/healthy").status_code == 200


@pytest.mark.parametrize("method", ["post", "put"])
def test_reload_reloads_by_post_and_put(client, state, method):
    assert getattr(client, method)("/-/reload").status_code == 200
    assert state["reloads"] == 1


def test_reload_by_get_is_refused_and_does_nothing(client, state):
    answer = client.get("/-/reload")
    assert (answer.status_code, state["reloads"]) == (405, 0)
    assert answer.json == {"error": "/-/reload does not take GET", "field": "method", "expected": "POST, PUT"}
    assert "POST" in answer.headers["Allow"]


def test_a_reload_that_fails_says_what_is_wrong(client, state):
    state["error"] = SettingsError("fleet.yml: seed: got 'x'; expected a number")
    answer = client.post("/-/reload")
    assert answer.status_code == 500
    assert "fleet.yml: seed: got 'x'; expected a number" in answer.json["error"]
    assert set(answer.json) == {"error", "field", "expected"}


def test_an_unknown_path_lists_those_that_exist(client):
    answer = client.get("/nothing")
    assert (answer.status_code, answer.json["field"]) == (404, "path")
    assert "/-/ready" in answer.json["expected"]


def test_a_refusal_of_a_path_quotes_little_of_it(client):
    refused = client.get("/x" * 5000)
    assert refused.status_code == 404 and refused.json["error"].endswith("...")
    assert len(refused.json["error"]) < 300


def test_a_request_error_is_answered_with_its_field_and_what_was_expected(client):
    answer = client.post("/strict")
    assert answer.status_code == 400
    assert answer.json == {
        "error": "the size is wrong",
        "field": "size",
        "expected": "a number",
        "given": "big",
    }


def test_a_body_that_is_too_large_is_refused_as_json(client):
    answer = client.post("/strict", data=b"x" * 101)
    assert answer.status_code == 413
    assert set(answer.json) == {"error", "field", "expected"}


def test_a_failure_of_our_own_is_a_500_that_keeps_its_details_to_the_log(client):
    answer = client.get("/broken")
    assert (answer.status_code, set(answer.json)) == (500, {"error", "field", "expected"})
    assert "secret detail" not in answer.text


def test_a_service_without_reload_still_answers_it():
    client = create_app(Service("example", "An example.")).test_client()
    assert client.post("/-/reload").status_code == 200
    assert client.get("/").status_code == 200
