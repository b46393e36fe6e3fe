"""What a configuration is made into: chances beside the model, and what is said of settings of the last release."""

import pytest

from forecaster.config import load_config
from forecaster.models.artifact import ModelError
from forecaster.models.model import Model
from forecaster.risk.chances import FILE
from forecaster.risk.thresholds import RiskConfig
from forecaster.service.assembly import load_chances, log_deprecated, make_session
from tests.tiny_models import tiny_chances, write_untrained

HOT = {"hot": {"signal": "cpu_pct", "above": 95}}


@pytest.fixture
def folder(tmp_path):
    return write_untrained(tmp_path / "tiny")


def loaded(folder, **overrides):
    return load_chances(load_config("fleet", {"model": str(folder)} | overrides), Model.load(folder, "cpu"))


def put(folder, sha: str | None = None) -> None:
    weights = Model.load(folder, "cpu").facts["weights_sha256"]
    (folder / FILE).write_bytes(tiny_chances().to_bytes(sha or weights))


def test_chances_beside_the_model_are_loaded_without_a_word(folder, caplog):
    put(folder)
    found, problem = loaded(folder)
    assert found.report == tiny_chances().report and problem is None and caplog.text == ""
    assert loaded(folder, **{"risk.method": "calibrated"})[0] is not None


@pytest.mark.parametrize(("sha", "problem"), [(None, "has no chances.npz"), ("f" * 64, "made for weights ffff")])
def test_without_chances_of_these_weights_forecasts_go_on_and_the_remedy_is_said(folder, caplog, sha, problem):
    if sha is not None:
        put(folder, sha)
    found, said = loaded(folder)
    assert found is None and problem in said and f"run fleet-forecaster calibrate --model {folder}" in said
    assert "no chances of incidents, only those that are on are shown" in caplog.text
    assert said in caplog.text


def test_a_method_that_needs_chances_is_refused_without_them(folder):
    with pytest.raises(ModelError, match=rf"risk.method is calibrated, but .*{FILE}: run fleet-forecaster calibrate.*"
                                         "or set risk.method: weighted"):
        loaded(folder, **{"risk.method": "calibrated"})


@pytest.mark.parametrize(("risk", "said"), [
    ({}, ""),
    ({"incidents": HOT}, ""),
    ({"severe": {"cpu": 90}}, "risk.severe is deprecated and goes with the next release: name incidents in risk"),
    ({"severe": {"cpu": 90}, "incidents": HOT}, "risk.severe is not used beside risk.incidents: remove it"),
    ({"method": "calibrated"}, "risk.method is deprecated and goes with the next release"),
    ({"method": "weighted"}, "risk.method is deprecated and goes with the next release"),
])
def test_settings_of_the_last_release_are_used_and_what_replaces_them_is_logged_once(caplog, risk, said):
    log_deprecated(RiskConfig.model_validate(risk))
    assert said in caplog.text and len(caplog.records) == bool(said)


def test_the_presets_use_nothing_that_is_deprecated(caplog):
    for preset in ("fleet", "node_exporter"):
        log_deprecated(load_config(preset).risk)
    assert caplog.text == ""


@pytest.mark.parametrize(("given", "asked"), [
    ({}, "identity"), ({"source.headers": {"accept-encoding": "gzip"}}, "gzip"),
    ({"source.kind": "scrape"}, "gzip, deflate"),
])
def test_prometheus_compresses_answers_only_where_the_headers_ask_for_it(given, asked):
    config = load_config("fleet", given)
    assert make_session(config.source, 0).headers["Accept-Encoding"] == asked
