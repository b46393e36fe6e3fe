"""Thanos, Mimir and Cortex as a source: what they want in a request, and what they answer with."""

import json
import logging
from collections.abc import Callable

import pytest

from forecaster.config import ForecasterConfig, load_config
from forecaster.readings import SourceRefused
from forecaster.service.assembly import make_source
from tests.local_server import LocalServer, Request, local_server

T0 = 1_700_000_100
ANSWER = {"status": "success", "data": {"resultType": "vector", "result": [
    {"metric": {"server": "db1", "profile": "db"}, "value": [T0, "0.5"]}]}}


def source(url: str, **given):
    """The product's own source, from its configuration."""
    settings = {f"source.{name}": value for name, value in given.items()}
    return make_source(load_config("fleet", {"source.url": url, "source.retries": 0, **settings}), lambda: float(T0))


def asking(server: LocalServer, config: ForecasterConfig) -> ForecasterConfig:
    """The configuration with this server as its source."""
    return config.model_copy(update={"source": config.source.model_copy(update={"url": server.url})})


def refusing(status: int, error: str, kind: str = "") -> Callable[[Request], None]:
    body = json.dumps({"status": "error", "errorType": kind, "error": error})
    return lambda request: request.answer(status, body, Retry_After="60")


def mimir(request: Request) -> None:
    if request.headers.get("X-Scope-OrgID") is None:
        request.answer(401, "no org id\n")
    elif request.path != "/prometheus/api/v1/query":
        request.answer(404, "404 page not found\n")
    else:
        request.answer(200, json.dumps(ANSWER | {"infos": ["PromQL info: metric might not be a counter"]}))


def test_mimir_is_asked_under_its_prefix_and_for_its_tenant(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    with local_server(mimir) as server:
        asked = source(f"{server.url}/prometheus", headers={"X-Scope-OrgID": "team-a"}, bearer_token_file=str(token))
        assert asked.latest(T0).servers == ("db1",)
        assert {r.headers["X-Scope-OrgID"] for r in server.seen} == {"team-a"}
        assert {r.headers["Authorization"] for r in server.seen} == {"Bearer secret"}
        asked.close()
        shown = asked.describe()["signals"]["cpu_pct"]["warnings"]
    assert shown == ["PromQL info: metric might not be a counter"]


@pytest.mark.parametrize("key", ["infos", "warnings"])
def test_what_is_said_of_a_query_is_shown_and_not_logged_as_if_servers_were_missing(key, caplog):
    said = "PromQL info: metric might not be a counter"
    with local_server(lambda request: request.answer(200, json.dumps(ANSWER | {key: [said]}))) as server:
        asked = source(server.url)
        asked.latest(T0)
        asked.close()
        assert asked.describe()["signals"]["cpu_pct"]["warnings"] == [said]
    assert said not in caplog.text


def test_a_missing_tenant_is_told_in_mimirs_words():
    with local_server(mimir) as server, pytest.raises(SourceRefused, match="HTTP 401.*no org id"):
        source(f"{server.url}/prometheus").latest(T0)


def test_cortex_is_asked_with_basic_auth_under_its_own_prefix(tmp_path):
    (tmp_path / "password").write_text("open sesame")
    with local_server(lambda request: request.answer(200, json.dumps(ANSWER))) as server:
        login = {"username": "ali", "password_file": str(tmp_path / "password")}
        asked = source(f"{server.url}/api/prom", basic_auth=login, headers={"X-Scope-OrgID": "1"})
        asked.latest(T0)
        asked.close()
        assert {r.path for r in server.seen} == {"/api/prom/api/v1/query"}
        assert {r.headers["Authorization"] for r in server.seen} == {"Basic YWxpOm9wZW4gc2VzYW1l"}


def test_thanos_gets_its_parameters_with_every_query_and_they_never_replace_ours():
    with local_server(lambda request: request.answer(200, json.dumps(ANSWER))) as server:
        asked = source(server.url, parameters={"dedup": "true", "partial_response": "false", "query": "up"})
        asked.latest(T0)
        asked.close()
        assert {(r.form["dedup"], r.form["partial_response"]) for r in server.seen} == {("true", "false")}
        assert "up" not in {r.form["query"] for r in server.seen}


def test_a_partial_answer_of_thanos_is_said_once_in_the_log_and_stays_visible(caplog):
    partial = ANSWER | {"warnings": ["No StoreAPIs matched for this query"]}
    caplog.set_level(logging.WARNING)
    with local_server(lambda request: request.answer(200, json.dumps(partial))) as server:
        asked = source(server.url)
        for _ in range(3):
            asked.latest(T0)
        asked.close()
        signals = asked.describe()["signals"]
    assert all(one["warnings"] == ["No StoreAPIs matched for this query"] for one in signals.values())
    assert caplog.text.count("signal cpu_pct: answered with warnings, servers may be missing") == 1


@pytest.mark.parametrize(("status", "kind", "error"), [
    (422, "execution", "err-mimir-max-chunks-per-query: the query exceeded the maximum number of chunks"),
    (429, "too_many_requests", "too many outstanding requests"),
    (500, "internal", "expanding series: not enough healthy store gateways"),
    (503, "unavailable", "not enough healthy instances in the ring"),
])
def test_refusals_of_a_gateway_are_told_in_its_words_with_the_query(status, kind, error):
    with local_server(refusing(status, error, kind)) as server, pytest.raises(SourceRefused) as caught:
        source(server.url).latest(T0)
    assert caught.value.status == status
    assert error in str(caught.value) and "the query was" in str(caught.value)


@pytest.mark.parametrize(("headers", "attempts"), [({}, 3), ({"Retry_After": "60"}, 1)])
def test_who_asks_to_be_left_alone_is_asked_once_a_cycle(headers, attempts):
    config = load_config("fleet")
    one = config.model_copy(update={"signals": {"cpu_pct": config.signals["cpu_pct"]}})
    with local_server(lambda request: request.answer(429, "too many outstanding requests", **headers)) as server:
        asked = make_source(asking(server, one), lambda: float(T0))
        with pytest.raises(SourceRefused, match="HTTP 429.*too many outstanding requests"):
            asked.latest(T0)
        asked.close()
    assert len(server.seen) == attempts


def test_warnings_in_another_order_or_fewer_of_them_are_no_news(caplog):
    told = [["store a is away", "store b is away"], ["store b is away", "store a is away"], ["store b is away"]]
    warnings = iter(told)
    config = load_config("fleet", {"source.retries": 0})
    one = config.model_copy(update={"signals": {"cpu_pct": config.signals["cpu_pct"]}})
    with local_server(lambda request: request.answer(200, json.dumps(ANSWER | {"warnings": next(warnings)}))) as server:
        asked = make_source(asking(server, one), lambda: float(T0))
        for _ in told:
            asked.latest(T0)
        asked.close()
    assert caplog.text.count("answered with warnings") == 1


def test_a_long_query_travels_in_the_body_where_no_proxy_cuts_it():
    query = " or ".join(f'avg_over_time(cpu{{rack="r{n}"}}[$step])' for n in range(500))
    config = load_config("fleet", {"source.retries": 0})
    signals = {"cpu_pct": config.signals["cpu_pct"].model_copy(update={"query": query})}
    with local_server(lambda request: request.answer(200, json.dumps(ANSWER))) as server:
        asked = make_source(asking(server, config.model_copy(update={"signals": signals})), lambda: float(T0))
        asked.latest(T0)
        asked.close()
        (request,) = server.seen
    assert len(request.path) < 100 and len(request.form["query"]) > 16_000
