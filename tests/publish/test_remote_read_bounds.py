"""Remote read: what one request may cost, and that the ordinary ones cost little."""

import time

import pytest

from forecaster.publish import budget
from forecaster.publish import remote_pb as pb
from forecaster.publish.budget import MATCHERS, QUERIES
from forecaster.publish.matching import LONGEST
from forecaster.publish.remote_read import remote_read_blueprint
from tests.bounded import measured
from tests.publish.test_remote_read import CPU, CURVE, packed, post, query, series, unpacked
from tests.results import Clock, app_of, board_with, make_result

NAMES = tuple(f"web-{n:05}.{'x' * 35}.example.com" for n in range(1000))


@pytest.fixture
def client():
    return app_of(remote_read_blueprint(board_with(make_result()), Clock())).test_client()


def matching(expression: str, name: str = "server", kind: int = pb.RE):
    return query(CURVE, CPU, (kind, name, expression))


def test_expressions_made_to_take_memory_are_answered_in_little_of_it():
    """They took 2 to 20 GB and up to half a minute each, as RE2's captures grow with the square of the groups."""
    took = measured("""
        from tests.publish.test_remote_read_bounds import *
        client = app_of(remote_read_blueprint(board_with(make_result()), Clock())).test_client()
        post(client, packed(matching("pp.*")))
    """, """
        groups = "(a?)" * 500
        said = [post(client, packed(matching(expression))).status_code for expression in (
            groups, "(" * 900 + "a" + ")" * 900, "(?:" + groups + "){300}", "(a?)" * 5_000, "(a?)" * 60_000,
            r"[\\pL\\pN]{0,1000}" * 8, "((a{0,100}){0,10})" * 400, ".*a" * 2000)]
    """)
    assert set(took.said) <= {200, 400} and took.said[0] == 200
    assert took.mebibytes < 100 and took.seconds < 5


def test_a_thousand_names_are_matched_with_or_without_an_expression():
    result = make_result(servers=("web-00999." + "x" * 35 + ".example.com", "other"), profiles=("a", "b"))
    escaped = "|".join(NAMES).replace(".", r"\.")
    for expression in ("|".join(NAMES), escaped, f"({escaped})", f"(?i){'|'.join(NAMES)}"):
        found = series(result, CURVE, CPU, (pb.RE, "server", expression))
        assert {dict(labels)["server"] for labels in found} == {result.servers[0]}
        found = series(result, CURVE, CPU, (pb.NRE, "server", expression))
        assert {dict(labels)["server"] for labels in found} == {"other"}


@pytest.mark.parametrize(("expression", "matches"), [
    ("ppdb001|ppdb002", ["ppdb001", "ppdb002"]), ("(ppdb001)", ["ppdb001"]), ("ppdb001)", None), ("(ppdb001", None),
    ("ppdb", []), (r"ppdb\.1|ppweb001", ["ppweb001"]), ("ppdb.01", ["ppdb001"]), ("", []), ("|ppdb002|", ["ppdb002"]),
    ("(ppdb001)|(ppdb002)", ["ppdb001", "ppdb002"]), ("((ppdb001))", ["ppdb001"])])
def test_names_joined_by_a_bar_mean_what_the_expression_means(client, expression, matches):
    answer = post(client, packed(matching(expression)))
    assert answer.status_code == (400 if matches is None else 200)
    if matches is not None:
        found = {label.value for one in unpacked(answer).results[0].timeseries for label in one.labels
                 if label.name == "server"}
        assert found == set(matches)


@pytest.mark.parametrize(("queries", "field"), [
    ([query()] * (QUERIES + 1), "queries"), ([query(CURVE, CURVE)] * QUERIES + [query()], "queries"),
    ([query(*[CURVE] * (MATCHERS + 1))], "matchers")])
def test_more_queries_or_matchers_than_allowed_are_refused_before_any_is_looked_at(client, queries, field):
    refused = post(client, packed(*queries))
    assert (refused.status_code, refused.json["field"]) == (400, field)
    allowed = packed(*[query(CURVE, CPU, span=(0, 1))] * (QUERIES - 1), query(*[CPU] * 100))
    assert post(client, allowed).status_code == 200


def test_a_request_that_takes_longer_than_allowed_is_ended(client, monkeypatch):
    monkeypatch.setattr(budget, "SECONDS", 0.2)
    slow = [matching(f"(?:[ab]?[bc]?){{500}}{n}") for n in range(QUERIES)]
    board = board_with(make_result(servers=tuple("abc" * 80 + str(n) for n in range(300)), profiles=("x",) * 300))
    started = time.thread_time()
    refused = post(app_of(remote_read_blueprint(board, Clock())).test_client(), packed(*slow))
    assert refused.status_code == 400 and "0.2 s" in refused.json["error"]
    assert time.thread_time() - started < 2


@pytest.mark.parametrize("wrong", [
    matching("x" * 300 + "["), matching("[" + "x" * LONGEST), matching("(" * 60_000), matching("(?:a{1000}){1000}"),
    matching("a", name="n" * 100_000, kind=9), matching("[", name="n" * 100_000),
    matching("(" * 300, name="n" * 300)])
def test_a_refusal_quotes_little_of_what_was_given(client, wrong):
    refused = post(client, packed(wrong))
    assert refused.status_code == 400
    assert len(refused.text) < 400


def test_a_refusal_of_headers_and_response_types_quotes_little_too(client):
    assert len(post(client, b"x", Content_Encoding="y" * 10_000).text) < 500
    assert len(post(client, packed(query(), accepted=range(1, 10_000))).text) < 500


def test_many_series_with_few_samples_are_refused_before_they_are_made():
    board = board_with(make_result(servers=tuple(map(str, range(50))), profiles=("x",) * 50))
    client = app_of(remote_read_blueprint(board, Clock(), sample_limit=1000)).test_client()
    result = board.current(Clock()())
    first = round(float(result.times()[0]) * 1000)
    refused = post(client, packed(query(CURVE, CPU, span=(first, first))))
    assert refused.status_code == 400 and "100 series" in refused.json["error"]
