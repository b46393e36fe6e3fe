"""Tenants: on every path, a request of one gets nothing of the servers of others."""

import json
import re
from pathlib import Path

import cramjam
import pytest
from prometheus_client.parser import text_string_to_metric_families

from forecaster.config import load_config
from forecaster.memory.episodes import Episode
from forecaster.publish import remote_pb as pb
from forecaster.service import assembly
from forecaster.service.admission import HEADER
from forecaster.service.app import Forecaster
from serving.doors.entry import Doors
from serving.net import wsgi
from serving.net.streams import STREAM
from tests.doors import HASH, PASSWORD, basic, bearer, token_of, write_tokens, write_users
from tests.outlooks import Entity, make_outlook
from tests.results import ISSUED, Clock, incidents_of, make_result
from tests.service.test_cycle import START, Fleet

PAY, SEARCH, LONE = ('pay-"1"\\', "pay-db", "pay-café"), ("qsearchq-1", "qsearchq-\u001b[2J"), ("qloneq",)
PROFILES = ("web", "database", "web", "qprofileq", "generic", "generic")
DARK = {"pay-dark": "no_values", "qsearchq-dark": "no_values", "qloneq-dark": "unusable_values"}
ENTITIES = tuple(Entity(server, "filesystem", f"/of/{server}", "generic")  # as of a query without the profile
                 for server in (*PAY, *SEARCH, *LONE, "pay-disk", "qloneq-disk"))
TENANTS = {"pay": 'server=~"pay-.+",profile!="database"', "search": 'server=~"qsearchq.*"', "all": 'server=~".*"',
           "odd": 'server="pay-\\"1\\"\\\\"', "none": 'server="nobody"', "rest": 'server!~"pay.*|qsearchq.*"'}
OTHERS = ("qsearchq", "qloneq", "qprofileq", "pay-db")  # what nothing of "pay" may have
OTHERS_SERVERS = ("pay-db", "qsearchq-1", "qloneq", "qsearchq-dark", "qloneq-disk")
REQUIRED = {"tenants.required": True}


def whole_result():
    """Two fleets and a server of neither; stale and P1 ones among each."""
    incidents = incidents_of(6, on=[(0, 0), (1, 1), (3, 1), (5, 0)], chance={(4, 2): (0.9, 0.95)})
    return make_result((*PAY, *SEARCH, *LONE), PROFILES, stale=("pay-café", "qsearchq-1"), unforecast=DARK,
                       incidents=incidents)


class Bench:
    """A forecaster with a result and an outlook, and tenants."""

    def __init__(self, doors: Doors | None = None, **settings):
        self.clock, self.settings = Clock(ISSUED + 10), {"model": "none", "tenants.servers": TENANTS, **settings}
        self.forecaster = Forecaster(lambda: load_config("fleet", self.settings), self.clock, doors)
        parts = self.forecaster.parts
        parts.board.publish(whole_result())
        parts.capacity.board.publish(make_outlook(ENTITIES, priority=1, full_at=ISSUED + 1e5, instant=ISSUED))
        parts.cycle.memory.pages._held += [Episode(rule, name, "", ISSUED - 3600, ISSUED, ISSUED)
                                           for rule in (0, 1) for name in (*PAY, *SEARCH, *LONE)]
        parts.cycle.errors["query"] = "qsearchq-1 has qloneq"  # as the text of a source may
        self.app = self.forecaster.app
        self.client = self.app.test_client()

    def get(self, path: str, tenant: str | None = "pay", **headers: str):
        return self.client.get(path, headers={**({} if tenant is None else {HEADER: tenant}), **headers})

    def read(self, *matchers: tuple[int, str, str], tenant: str = "pay"):
        """The series that remote read has, as labels."""
        query = pb.Query(start_timestamp_ms=0, end_timestamp_ms=1 << 60, matchers=[
            pb.LabelMatcher(type=kind, name=name, value=value)
            for kind, name, value in ((pb.EQ, "source", "curve"), *matchers)])
        body = bytes(cramjam.snappy.compress_raw(pb.ReadRequest(queries=[query]).SerializeToString()))
        answer = self.client.post("/api/v1/read", data=body, headers={HEADER: tenant, "Content-Encoding": "snappy"})
        assert answer.status_code == 200, answer.data
        [found] = pb.ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(answer.data))).results
        return [{label.name: label.value for label in one.labels} for one in found.timeseries]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def text_of(answer) -> str:
    """Its headers and body, as they are and as JSON would have them."""
    body = answer.get_data()
    if answer.headers.get("Content-Encoding") == "snappy":
        body = bytes(cramjam.snappy.decompress_raw(body))
    body = body.decode("utf-8", "replace")
    body = re.sub(r"(&amp;since=[0-9a-f]+)-\d+", r"\1", body)  # the number of a rendering
    headers = [(name, value) for name, value in answer.headers if name != "Content-Length"]
    return f"{headers}{body}{json.loads(body) if answer.is_json else ''}"


def asking(name: str) -> tuple[str, ...]:
    """Query strings that ask for this server in every way there is."""
    return f"?server={name}", f"?view=server&{'&'.join(f'{key}={name}' for key in ('server', 'name', 'q', 'text'))}"


def routes(app) -> list[tuple[str, str]]:
    """(method, path) of all that the application serves, and of what it does not."""
    found = [(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods - {"OPTIONS", "HEAD"}]
    assert {"/", "/metrics", "/status", "/alerts", "/capacity", "/predictions/current", "/api/v1/read",
            "/-/ready"} <= {path for _, path in found}
    return [*found, ("GET", "/nothing"), ("GET", "/-/reload"), ("POST", "/alerts")]


def test_before_the_first_forecast_a_tenant_is_told_nothing_of_the_pages_of_others():
    bench, path = Bench(), f"/ui/server?name={SEARCH[0]}"
    bench.forecaster.parts.board._last = bench.forecaster.parts.capacity.board._last = None
    assert "None was sent" in text_of(bench.get(path)) and "Pages of servers (P1)" in text_of(bench.get(path, None))


def test_no_path_tells_a_tenant_of_servers_that_are_not_its_own(bench):
    seen = 0
    for method, path in routes(bench.app):
        for query in ("", "?resource=filesystem", "?at=1760000000&profile=generic", *asking("pay-café")):
            text = text_of(bench.client.open(path + query, method=method, headers={HEADER: "pay"}))
            assert not [other for other in OTHERS if other in text], (path, text)
            seen += "pay-caf" in text
    assert seen >= 20, "the tenant's own servers are there"


def test_no_path_tells_a_tenant_whether_there_is_a_server_that_is_not_its_own(bench):
    for method, path in routes(bench.app):
        for name in OTHERS_SERVERS:
            nobody = "x" * len(name)
            asked, unknown = ([text_of(bench.client.open(path + query, method=method, headers={HEADER: "pay"}))
                               for query in asking(of)] for of in (name, nobody))
            assert [text.replace(name, nobody) for text in asked] == unknown, path


@pytest.mark.parametrize("view", ("fleet", "server&name=pay-caf%C3%A9", "capacity", "record", "alerts"))
def test_a_stream_tells_a_tenant_of_its_own_servers_only(bench, view):
    request = wsgi.environ("GET", f"/ui/events?view={view}", "HTTP/1.1", (("Host", "localhost"), (HEADER, "pay")))
    request |= {"wsgi.url_scheme": "http", "SERVER_NAME": "localhost", "SERVER_PORT": "80"}
    answer = wsgi.run(bench.app, request)
    assert answer.status == "200 OK", answer.body
    text = request[STREAM].message().decode()
    assert not [other for other in OTHERS if other in text], text


def test_a_tenant_sees_its_own_pages_and_how_they_turned_out(bench):
    own, whole = text_of(bench.get("/ui/record")), text_of(bench.get("/ui/record", None))
    assert own.count('data-turned="open"') == 2 and "pay-caf" in own
    assert whole.count('data-turned="open"') == 6
    assert "forecast_live_pages" not in text_of(bench.get("/metrics"))


def test_a_path_that_is_not_told_of_tenants_would_be_noticed(bench):
    text = text_of(bench.get("/status", None))
    assert all(other in text for other in ("qsearchq", "qloneq", "pay-db"))


def test_an_old_forecast_tells_a_tenant_of_its_own_servers_only():
    bench = Bench()
    bench.clock.now += 1e6
    for _, path in routes(bench.app):
        text = text_of(bench.get(path))
        assert not [other for other in OTHERS if other in text], (path, text)
    assert bench.get("/alerts").status_code == 503
    assert "pay-caf" in bench.get("/metrics").text, "when it was last seen outlives it"


def test_a_tenant_gets_the_figures_of_a_fleet_of_its_own(bench):
    own = bench.get("/predictions/current").json
    assert list(own["predictions"]) == ['pay-"1"\\'] and own["environment"]["total_servers"] == 1
    assert own["metadata"]["unforecast"] == {"pay-café": "stale"}, "no profile is known of pay-dark"
    assert bench.get("/alerts", "search").json["metadata"]["unforecast"] == {
        "qsearchq-1": "stale", "qsearchq-dark": "no_values"}
    status = bench.get("/status").json
    assert (status["servers"]["total"], status["servers"]["seen"], status["capacity"]["entities"]) == (2, 2, 2)
    assert status.keys() & {"source", "room", "errors"} == set()
    assert bench.get("/status", None).json["servers"]["total"] == 6
    filling = {one["server"] for one in bench.get("/capacity").json["capacity"]}
    assert filling == {'pay-"1"\\', "pay-café"}, "no profile is known of pay-disk, which is not forecast"


def test_metrics_of_a_tenant_have_its_servers_and_no_series_that_count_others(bench):
    families = [*text_string_to_metric_families(bench.get("/metrics").text)]
    servers = {sample.labels["server"] for family in families for sample in family.samples if "server" in sample.labels}
    assert servers == {'pay-"1"\\', "pay-café"}
    values = {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}
    assert values["forecast_fleet_servers"] == 1
    names = {family.name for family in families}
    assert {"forecaster_forecast_ttl_seconds", "forecaster_model_info"} <= names
    assert not [name for name in names if name.startswith(("process_", "python_", "fleetcast_", "forecast_live_"))]
    assert not names & {"forecaster_capacity_entities", "forecaster_exposition_bytes", "forecaster_refused_servers"}


@pytest.mark.parametrize("matcher", [
    (pb.RE, "server", ".*"), (pb.RE, "server", "qsearchq.*|pay.*"), (pb.NEQ, "profile", "x"), (pb.NRE, "server", "x"),
    (pb.RE, "__name__", "forecast_.*"),
])
def test_remote_read_has_a_tenants_curves_whatever_is_asked_for(bench, matcher):
    found = {(labels["__name__"], labels["server"]) for labels in bench.read(matcher)}
    assert {server for _, server in found} == {'pay-"1"\\', "pay-café"}, "the second has what fills up only"
    assert ("forecast_capacity_used_ratio", "pay-café") in found and ("forecast_cpu_pct", 'pay-"1"\\') in found
    assert bench.read((pb.EQ, "server", "qloneq")) == []


@pytest.mark.parametrize(("tenant", "live"), [
    ("search", {"qsearchq-\u001b[2J"}), ("odd", {'pay-"1"\\'}), ("rest", {"qloneq"}), ("none", set()),
    ("all", {'pay-"1"\\', "pay-db", "qsearchq-\u001b[2J", "qloneq"}),
])
def test_each_tenant_gets_the_servers_that_its_matchers_accept(bench, tenant, live):
    assert set(bench.get("/predictions/current", tenant).json["predictions"]) == live
    for _, path in routes(bench.app):
        assert bench.get(path, tenant).status_code < 500 or path == "/-/ready"


def test_a_view_is_made_once_for_each_result(bench):
    view = bench.forecaster.parts.views.of(frozenset({"pay"}))
    assert view.board.last is view.board.last and view.filling.last is view.filling.last
    assert view.exposition()[0] is view.exposition()[0]
    filling = view.filling.last
    bench.forecaster.parts.board.publish(whole_result())
    assert view.filling.last is filling, "nothing of what fills up has changed"


@pytest.mark.parametrize("path", ["/", "/metrics", "/predictions/current", "/ui/events?view=fleet", "/-/healthy"])
def test_without_tenants_a_request_that_names_one_is_refused_and_every_other_gets_the_whole_fleet(path):
    bench = Bench(**{"tenants.servers": {}})
    answer = bench.get(path, "pay")
    assert answer.status_code == 403 and answer.json["field"] == HEADER
    assert "no tenants" in answer.json["error"] and "without this header" in answer.json["expected"]
    assert bench.get(path, None).status_code == 200
    assert bench.get("/predictions/current", None).json["predictions"].keys() >= {"pay-db", "qloneq"}


@pytest.mark.parametrize("tenants", [TENANTS, {}])
def test_caches_learn_that_answers_differ_by_tenant(tenants):
    bench = Bench(**{"tenants.servers": tenants})
    for path in ("/", "/status", "/metrics", "/nothing"):
        vary = bench.get(path).headers["Vary"]
        assert HEADER in vary and "Authorization" in vary


# -- who gets what -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", ["unknown", "", "pay,search", "pay|search", "*", "PAY"])
def test_a_tenant_that_is_not_known_is_refused(bench, tenant):
    answer = bench.get("/status", tenant)
    assert answer.status_code == 403 and answer.json["field"] == HEADER and "may not read" in answer.json["error"]


def test_a_tenant_may_only_read(bench):
    answer = bench.client.post("/-/reload", headers={HEADER: "pay"})
    assert answer.status_code == 403 and "not a tenant's" in answer.json["error"]


def test_where_a_tenant_is_required_nothing_goes_without():
    bench = Bench(**REQUIRED)
    for method, path in routes(bench.app):
        answer = bench.client.open(path, method=method)
        assert answer.status_code == (200 if path in ("/-/healthy", "/-/ready") and method == "GET" else 403), path
    assert bench.get("/status").status_code == 200
    bench.clock.now += 1e6
    assert bench.get("/-/ready", None).text == "There is no current forecast.\n"


def doors(folder: Path, users: str = "") -> Doors:
    """Logins; tokens: bound to pay, to two tenants, to one that is not known, to the whole fleet, and to none."""
    bound = {"bound": "pay", "two": "search, rest", "lost": "gone", "whole": '"*"'}
    file = write_tokens(folder, dict.fromkeys((*bound, "free"), ("read", "control")))
    text = file.read_text()
    for name, tenants in bound.items():
        text = text.replace(f"{name}.token,", f"{name}.token, tenants: [{tenants}],")
    file.write_text(text + users)
    return Doors("test", write_users(folder, alice=HASH, bob=HASH), file)


def seen(bench: Bench, login: dict[str, str], tenant: str | None = None) -> set[str] | int:
    """The live servers that a login gets, or the status."""
    answer = bench.get("/predictions/current", tenant, **login)
    return set(answer.json["predictions"]) if answer.status_code == 200 else answer.status_code


def test_a_token_is_held_to_its_tenants(tmp_path):
    bench, everybody = Bench(doors(tmp_path)), {'pay-"1"\\', "pay-db", "qsearchq-\u001b[2J", "qloneq"}
    bound, two, lost, whole, free = (bearer(token_of(name)) for name in ("bound", "two", "lost", "whole", "free"))
    assert seen(bench, bound) == seen(bench, bound, "pay") == {'pay-"1"\\'}
    assert seen(bench, bound, "search") == seen(bench, bound, "all") == seen(bench, bound, "unknown") == 403
    assert seen(bench, two) == {"qsearchq-\u001b[2J", "qloneq"} and seen(bench, two, "rest") == {"qloneq"}
    assert seen(bench, lost) == seen(bench, lost, "pay") == 403
    assert seen(bench, whole) == seen(bench, free) == seen(bench, basic("alice", PASSWORD)) == everybody
    assert seen(bench, whole, "pay") == seen(bench, free, "pay") == {'pay-"1"\\'}
    assert bench.client.post("/-/reload", headers=bound).status_code == 403
    assert bench.client.get("/status", headers={HEADER: "pay"}).status_code == 401, "a header is no login"


def test_where_a_tenant_is_required_logins_that_are_bound_to_none_have_to_name_one(tmp_path):
    bench = Bench(doors(tmp_path), **REQUIRED)
    assert seen(bench, bearer(token_of("free"))) == 403 and len(seen(bench, bearer(token_of("free")), "pay")) == 1
    assert len(seen(bench, bearer(token_of("bound")))) == 1 and len(seen(bench, bearer(token_of("whole")))) == 4


def test_a_user_is_held_to_its_tenants_and_one_that_is_not_named_gets_none(tmp_path):
    bench = Bench(doors(tmp_path, "users: {alice: {tenants: [pay]}}"))
    alice, bob = (basic(name, PASSWORD) for name in ("alice", "bob"))
    assert seen(bench, alice) == seen(bench, alice, "pay") == {'pay-"1"\\'} and seen(bench, alice, "search") == 403
    assert seen(bench, bob) == seen(bench, bob, "pay") == 403
    assert len(seen(bench, bearer(token_of("free")))) == 4, "tokens say it themselves"


def test_a_login_that_is_bound_gets_nothing_where_there_are_no_tenants(tmp_path):
    bench = Bench(doors(tmp_path), **{"tenants.servers": {}})
    assert seen(bench, bearer(token_of("bound"))) == 403 and len(seen(bench, bearer(token_of("whole")))) == 4


def test_a_reload_changes_tenants_and_wrong_ones_leave_them(monkeypatch):
    source = Fleet()
    monkeypatch.setattr(assembly, "make_source", lambda *_: source)
    settings = {"model": "none", "capacity.enabled": False, "tenants.servers": {"pay": 'server=~"ppdb.+"'}}
    forecaster = Forecaster(lambda: load_config("fleet", settings), Clock(START))
    client = forecaster.app.test_client()

    def servers() -> set[str] | int:
        answer = client.get("/predictions/current", headers={HEADER: "pay"})
        return {name[:4] for name in answer.json["predictions"]} if answer.status_code == 200 else answer.status_code

    try:
        assert forecaster.parts.cycle.run_once() and servers() == {"ppdb"}
        settings["tenants.servers"] = {"pay": 'server=~"ppweb.+"'}
        forecaster.reload()
        assert servers() == {"ppwe"}
        settings["tenants.servers"] = {"pay": 'server=~"("'}
        with pytest.raises(ValueError, match="RE2"):
            forecaster.reload()
        assert servers() == {"ppwe"}
        for left in ({"other": 'server=~".+"'}, {}):
            settings["tenants.servers"] = left
            forecaster.reload()
            assert servers() == 403
    finally:
        forecaster.close()
