"""`fleet-forecaster backtest --capacity` from the command line to its table and report."""

import json

import pytest

from forecaster.__main__ import main

pytestmark = pytest.mark.slow



@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """The shipped fleet with two servers."""
    import yaml

    from exporter.profiles import DEFAULT_FILE

    path = tmp_path_factory.mktemp("fleet") / "fleet.yml"
    held = yaml.safe_load(DEFAULT_FILE.read_text())
    held["servers"] = {name: 1 if place < 2 else 0 for place, name in enumerate(held["servers"])}
    path.write_text(yaml.safe_dump(held))
    return path


def test_a_backtest_of_what_fills_up_prints_a_table_and_writes_figures(fleet, tmp_path, capsys):
    given = ["--fleet.file", str(fleet), "--fleets", "2", "--days", "15", "--rollouts", "20"]
    assert main(["backtest", "--capacity", *given, "--report", str(tmp_path / "r.json")]) == 0
    printed = capsys.readouterr().out
    for text in ("simulator, 2 fleets x 15 days", "12 entities", "fleetcast", "oracle", "holt-winters", "last week",
                 "node-mixin warning", "loss over oracle", "allowed 4 h of notice"):
        assert text in printed
    report = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert report["entities"] == 12 and report["hours"] == pytest.approx(360, abs=1)
    assert set(report["alerts"]) >= {"P1", "P2", "P3", "node-mixin warning", "node-mixin critical"}
    assert sum(of["entities"] for of in report["patterns"].values()) == 12
    for row in report["alerts"].values():
        assert row["alerts"] == row["true"] + row["prevented"] + row["false"] and row["noticed"] <= row["foreseeable"]
    oracle, product = (report["forecasts"][name]["loss"] for name in ("oracle", "fleetcast"))
    assert oracle["1d"] < product["1d"] < 0.5


@pytest.mark.parametrize(("given", "words"), [
    (["--episodes", "15", "--model", "default"], "leave out --episodes, --model"),
    (["--days", "7"], "--days 7; expected 15 to 366"),
    (["--source", "scrape"], "--source scrape holds three hours"),
    (["--source", "prometheus"], "needs --start and --end"),
    (["--start", "0"], "expected --source prometheus"),
])
def test_flags_that_do_not_go_with_capacity_are_refused(given, words, capsys):
    assert main(["backtest", "--capacity", *given]) != 0
    assert words in capsys.readouterr().err
