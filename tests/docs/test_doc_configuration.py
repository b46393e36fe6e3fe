"""The examples of configuration and the figures in the text, held against the models and the presets."""

import re

import yaml

from docs.generate import PARSERS
from forecaster.config import load_config
from forecaster.risk.thresholds import Band
from serving.doors.logins import Tokens
from serving.doors.web_config import read
from stack.layout import ROOT
from tests.documents import DOCUMENTS, blocks, commands, sentences, table, words
from tests.doors import write_certificates


def points(bands: tuple[Band, ...]) -> tuple[str, str]:
    """(points, limits) of the bands, lowest first: ("15, 30, 40", "90, 95, 98")."""
    return tuple(", ".join(f"{getattr(band, of):g}" for band in reversed(bands)) for of in ("points", "above"))


def test_every_example_of_a_configuration_can_be_used(tmp_path):
    examples = [yaml.safe_load(text) for document in DOCUMENTS for text in blocks("yaml", document)]
    ours = [example for example in examples if "scrape_configs" not in example]
    assert ours
    fleet = yaml.safe_load((ROOT / "forecaster/presets/fleet.yml").read_text())
    for example in ours:
        (tmp_path / "example.yml").write_text(yaml.safe_dump(example if "base" in example else fleet | example))
        assert load_config(tmp_path / "example.yml") != load_config("fleet")


def test_the_examples_of_tls_users_and_tokens_can_be_used(tmp_path):
    write_certificates(tmp_path)
    web, tokens = blocks("yml", "docs/tls-and-logins.md")
    (tmp_path / "web.yml").write_text(web)
    assert [*read(tmp_path / "web.yml").users] == ["alice"]
    for text in (tokens, *blocks("yml", "docs/tenants.md")):
        (tmp_path / "tokens.yml").write_text(text)
        for name in re.findall(r"file: ([\w.-]+)", text):
            (tmp_path / name).write_text(f"{name}-0123456789")
        assert Tokens.read(tmp_path / "tokens.yml")


def test_the_example_for_another_prometheus_says_what_ours_is_told():
    [theirs] = [yaml.safe_load(text) for text in blocks("yaml", "docs/your-hosts.md") if "scrape_configs" in text]
    ours = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    address = load_config("node_exporter").listen
    [job] = theirs["scrape_configs"]
    [told] = [PARSERS["fleet-forecaster"].parse_args(words(line)[1:]) for line in commands() if "export rules" in line]
    assert job == {"job_name": told.job, "static_configs": [{"targets": [address], "labels": {"fleet": told.fleet}}]}
    assert job["job_name"] in [ours_too["job_name"] for ours_too in ours["scrape_configs"]]
    assert theirs["remote_read"] == [{key: read[key] for key in ("url", "read_recent", "required_matchers")}
                                     for read in ours["remote_read"] if address in read["url"]]


def test_the_table_of_points_has_the_defaults():
    risk = load_config("fleet").risk.points
    units = {"CPU": (risk.cpu, "%"), "memory": (risk.memory, "%"), "latency": (risk.latency, "ms")}
    assert table("Risk", "docs/how-it-works.md") == {
        (name, points(bands)[0]): (f"{points(bands)[1]} {unit}",) for name, (bands, unit) in units.items()}


def test_the_numbers_in_the_text_are_the_defaults():
    config, hosts = load_config("fleet"), load_config("node_exporter").live
    priorities, health = config.risk.priorities, config.risk.health
    severe, moderate = config.risk.incident["30m"].severe, config.risk.incident["30m"].moderate
    sample, span = config.warmup.sample_interval, config.warmup.samples * config.warmup.sample_interval
    text = sentences("docs/how-it-works.md")
    for said in (
        f"Every {config.refresh:g} s (`refresh`)",
        f"mean of the last {config.step / 60:g} minutes (`step`)",
        f"window of {config.encoder_steps * config.step / 3600:g} hours",
        f"up to {config.encoder_steps} steps of it (`encoder_steps`)",
        f"{config.warmup.samples} samples of {sample:g} s, {span / 60:g} minutes",
        f"From {priorities.p1:g} on a server is P1, from {priorities.p2:g} on P2",
        f"adds {severe.weight:g} (severe) or {moderate.weight:g} (moderate)",
        f"{severe.p50:g} and {severe.p90:g} therefore mean MB/s",
        f"Above {health.warning:g} the fleet's health is warning, above {health.critical:g} critical",
        f"The minimum is {config.live.minimum} by default and {hosts.minimum} in the preset",
        f"no cycle succeeds for {config.forecast_ttl / 60:g} minutes (`forecast_ttl`)",
        f"silent for {config.stale_after / 60:g} minutes (`stale_after`)",
        f"after {config.drop_after / 3600:g} h (`drop_after`)",
    ):
        assert said in text, said
