"""What a reload keeps, what it closes, and what it refuses; 200 of them are in tests/integration/test_reloads.py."""

import json
import time
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.service import assembly
from forecaster.service.app import Forecaster
from serving.storage import StorageError, claim
from tests.grafana_stack import await_true
from tests.local_server import Request, local_server
from tests.tiny_models import write_untrained

pytestmark = pytest.mark.slow


def prometheus_of(*servers: str) -> Callable[[Request], None]:
    """Answers of a Prometheus that holds 0.5 of every signal of these servers, at any time."""
    def respond(request: Request) -> None:
        ranged, form = "query_range" in request.path, request.form
        kind, result = ("matrix", "values") if ranged else ("vector", "value")
        value: object = [float(form.get("time", 0)), "0.5"]
        if ranged:
            times = np.arange(float(form["start"]), float(form["end"]) + 1e-3, float(form["step"]))
            value = [[round(t, 3), "0.5"] for t in times.tolist()]
        series = [{"metric": {"server": name, "profile": "web_api"}, result: value} for name in servers]
        request.answer(200, json.dumps({"status": "success", "data": {"resultType": kind, "result": series}}))

    return respond


@contextmanager
def running(**overrides):
    """A started forecaster whose overrides can be changed; it has its first forecast."""
    forecaster = Forecaster(lambda: load_config("fleet", overrides), time.time)
    forecaster.start()
    try:
        await_ready(forecaster)
        yield forecaster, overrides
    finally:
        forecaster.close()


def await_ready(forecaster: Forecaster) -> None:
    client = forecaster.app.test_client()
    await_true(lambda: client.get("/-/ready").status_code == 200, 60, "there is a forecast")


def names_of(forecaster: Forecaster) -> set[str] | None:
    """The servers that are forecast; None without a forecast."""
    answer = forecaster.app.test_client().get("/predictions/current")
    return set(answer.json["predictions"]) if answer.status_code == 200 else None


@pytest.mark.parametrize("failure", ["folder in use", "no chances", "half assembled"])
def test_a_reload_that_fails_closes_what_it_had_opened_and_leaves_the_snapshots(failure, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.storage.PATIENCE", 0.0)
    monkeypatch.setenv("FLEETCAST_COMPILED", "0")
    monkeypatch.setattr("forecaster.models.model.Model.close", lambda model: closed.append(model))
    closed, models = [], []
    overrides = {"model": str(write_untrained(tmp_path / "tiny")), "source.url": "http://127.0.0.1:9",
                 "storage": str(tmp_path / "mine")}
    forecaster = Forecaster(lambda: load_config("fleet", overrides), time.time)
    load = assembly.load_model
    monkeypatch.setattr(assembly, "load_model", lambda *given: models.append(load(*given)) or models[-1])
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "window.npz").write_text("of another process")
    overrides["timezone"] = "America/New_York"  # another model
    if failure == "folder in use":
        taken, overrides["storage"] = claim(tmp_path / "taken"), str(tmp_path / "taken")
    elif failure == "no chances":
        overrides["risk.method"] = "calibrated"
    else:
        monkeypatch.setattr(assembly, "make_push", lambda config: int("no number"))
    try:
        for _ in range(2):
            with pytest.raises(ValueError):
                forecaster.reload()
        assert len(models) == 2 and closed == models
        assert forecaster.parts.loaded not in models
        assert (tmp_path / "taken" / "window.npz").read_text() == "of another process"
    finally:
        forecaster.close()
        if failure == "folder in use":
            taken.close()


def test_a_reload_to_another_fleet_shows_nothing_of_the_one_before(tmp_path):
    with local_server(prometheus_of("red1")) as red, local_server(prometheus_of("blue1")) as blue, running(
            **{"source.url": red.url, "model": "none"}) as (forecaster, overrides):
        assert names_of(forecaster) == {"red1"}
        overrides["source.url"] = blue.url
        forecaster.reload()
        assert names_of(forecaster) in (None, {"blue1"}), "none before the first cycle"
        await_ready(forecaster)
        assert names_of(forecaster) == {"blue1"}
        assert "red1" not in forecaster.app.test_client().get("/metrics").text


def test_a_reload_that_changes_how_often_what_fills_up_is_read_keeps_the_pages_and_waits_as_long_as_it_must(tmp_path):
    with local_server(prometheus_of("red1")) as red, running(
            **{"source.url": red.url, "model": "none"}) as (forecaster, overrides):
        before = forecaster.parts.cycle.memory.pages
        overrides["capacity.refresh"] = 7200.0
        forecaster.reload()
        pages = forecaster.parts.cycle.memory.pages
        assert pages is before and pages.rules[2].gap == pages.rules[3].gap == 3 * 7200


def test_a_model_that_is_the_same_is_kept_and_another_one_replaces_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FLEETCAST_COMPILED", "0")
    overrides = {"model": str(write_untrained(tmp_path / "tiny")), "source.url": "http://127.0.0.1:9"}
    forecaster = Forecaster(lambda: load_config("fleet", overrides), time.time)
    first = forecaster.parts.loaded
    try:
        forecaster.reload()
        assert forecaster.parts.loaded is first
        overrides["timezone"] = "America/New_York"
        forecaster.reload()
        assert forecaster.parts.loaded is not first
        assert forecaster.parts.loaded.encoding.timezone == "America/New_York"
    finally:
        forecaster.close()


def test_a_folder_of_another_process_is_refused_at_start_and_by_a_reload_and_free_after_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.storage.PATIENCE", 0.0)
    overrides = {"model": "none", "source.url": "http://127.0.0.1:9", "storage": str(tmp_path / "mine")}
    taken = claim(tmp_path / "taken")
    forecaster = Forecaster(lambda: load_config("fleet", overrides), time.time)
    with pytest.raises(StorageError, match="mine is in use by process"):
        Forecaster(lambda: load_config("fleet", overrides), time.time)
    overrides["storage"] = str(taken.folder)
    with pytest.raises(ValueError, match="taken is in use by process"):
        forecaster.reload()
    assert forecaster.parts.config.storage == tmp_path / "mine"
    taken.close()
    forecaster.reload()
    claim(tmp_path / "mine", 0.0).close()
    overrides["storage"] = str(tmp_path / "mine" / ".." / "taken")  # the same by another name
    forecaster.reload()
    forecaster.close()
    claim(tmp_path / "taken", 0.0).close()
