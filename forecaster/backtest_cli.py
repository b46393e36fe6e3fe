"""`fleet-forecaster backtest`: how good any model or yardstick would have been on recorded or simulated history."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from serving.settings import SettingsError

DAY = 86400.0
SIMULATED_END = 1_790_000_000 // DAY * DAY  # a fixed day, so that the same seed is the same history on any day
YARDSTICKS = ("heuristic", "persistence", "seasonal-naive", "last-day", "predict-linear")


def add_command(commands, common: argparse.ArgumentParser) -> None:
    """Adds `backtest` to the command line; nothing heavy is imported before it runs."""
    parser = commands.add_parser(
        "backtest",
        allow_abbrev=False,
        parents=[common],
        help="measure forecasts against what came",
        description="Forecasts from many instants of the past, as in serving, and holds each against what came. Data: the "
        "simulator's (default), a Prometheus (--source prometheus --start --end), or --data FILE.npz.",
    )
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        metavar="NAME",
        help=f"default, servers, a model folder, or {', '.join(YARDSTICKS)}; repeat to compare (default: the "
        "configuration's model and the heuristic)",
    )
    parser.add_argument("--data", type=Path, metavar="FILE", help="recorded history (.npz)")
    parser.add_argument("--start", metavar="TIME", help="RFC 3339 or Unix seconds, with --source prometheus")
    parser.add_argument("--end", metavar="TIME", help="RFC 3339 or Unix seconds, with --source prometheus")
    parser.add_argument("--days", type=float, default=9.0, help="days of each simulated fleet (default: %(default)g)")
    parser.add_argument("--fleets", type=int, default=3, help="simulated fleets (default: %(default)d)")
    parser.add_argument(
        "--fleet.file", dest="fleet_file", default=None, metavar="FILE", help="fleet file of the simulation"
    )
    parser.add_argument("--per-server", type=int, default=8, help="windows of each server (default: %(default)d)")
    parser.add_argument("--seed", type=int, default=90001, help="seed of simulation and windows (default: %(default)d)")
    parser.add_argument("--windows", type=Path, metavar="FILE", help="int array (N, 2): server index, origin step (.npy)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the first model's forecasts (.npz)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write all figures (.json)")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write fan charts, reliability, error by horizon")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; the exit code."""
    from forecaster.__main__ import read_config

    models, arguments.model = arguments.models, None
    config = read_config(arguments)
    from forecaster import backtest, scoring
    from forecaster.dataset import DatasetError
    from forecaster.model import ModelError
    from forecaster.readings import SourceError

    for path in (arguments.out, arguments.report):
        _writable(path)
    if arguments.plots:
        try:
            from forecaster import plots
        except ImportError as error:
            raise SettingsError(f"--plots: {error.name} is not installed; pip install 'fleetcast[train]'") from error
        arguments.plots.mkdir(parents=True, exist_ok=True)
    try:
        histories = _histories(arguments, config)
        signals = _signals(arguments, config, histories[0])
        names = models or [config.model or "heuristic", *(["heuristic"] if config.model else [])]
        forecasters = [backtest.Forecaster(n, signals, _load(n, config)) for n in dict.fromkeys(names)]
        parts = [_windows(arguments, config, history) for history in histories]
        truth = np.concatenate([part.truth() for part in parts])
        scale = np.concatenate([backtest.scale(part) for part in parts])
        report: dict[str, object] = {
            "data": _described(arguments),
            "windows": len(truth),
            "context_steps": backtest.CONTEXT_STEPS,
            "seed": arguments.seed,
            "models": {},
        }
        made = {}
        for forecaster in forecasters:
            bar = _progress(forecaster.name)
            forecast = np.concatenate([backtest.run(forecaster, part, bar) for part in parts])
            made[forecaster.name] = forecast
            known = [i for i, s in enumerate(signals) if s not in forecaster.unknown]
            if forecaster.unknown:
                print(f"{forecaster.name} knows nothing of {', '.join(forecaster.unknown)}: NaN", file=sys.stderr)
            report["models"][forecaster.name] = (
                scoring.figures(forecast[:, known], truth[:, known], scale[:, known], [list(signals)[i] for i in known])
                | {"left_to_heuristic": forecaster.left_to_heuristic}
                | {"incidents": backtest.incidents(forecast, truth, list(signals), config.risk)}
            )
    except (DatasetError, ModelError, SourceError) as error:
        raise SettingsError(f"backtest: {error}") from error
    _print(report)
    first = forecasters[0].name
    if arguments.out:
        np.savez_compressed(arguments.out, forecast=made[first].astype(np.float32))
    if arguments.report:
        arguments.report.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.plots:
        context = np.concatenate([part.context(slice(None)) for part in parts]) if len(truth) < 20_000 else None
        plots.write(arguments.plots, made, truth, context, scale, list(signals), config.risk)
    return 0


def _histories(arguments, config) -> list:
    """The data, one history per fleet; raises DatasetError or SourceError."""
    from forecaster import histories
    from forecaster.dataset import SCENARIO_DAYS, DatasetError, simulate

    given = [
        name
        for name, value in (("--data", arguments.data), ("--source", arguments.source), ("--windows", arguments.windows))
        if value
    ]
    if "--data" in given and "--source" in given:
        raise DatasetError("--data and --source are two sources of history; give one")
    if "--windows" in given and "--data" not in given:
        raise DatasetError("--windows names servers and steps of a file; give it with --data")
    if arguments.data:
        return [histories.from_file(arguments.data)]
    if arguments.source == "scrape":
        raise DatasetError("--source scrape keeps three hours, too few to look back; use --source prometheus")
    if arguments.source:
        if not arguments.start or not arguments.end:
            raise DatasetError("--source prometheus needs --start and --end, RFC 3339 or Unix seconds")
        start, end = (_instant(flag, getattr(arguments, flag)) for flag in ("start", "end"))
        if end <= start:
            raise DatasetError(f"--end {arguments.end} is not after --start {arguments.start}")
        return [histories.from_prometheus(config, start // config.step * config.step, end, config.step)]
    from exporter.profiles import METRICS, load_fleet

    if tuple(config.signals) != METRICS:
        raise DatasetError(
            f"the simulator has the signals {', '.join(METRICS)}, {arguments.config_file} others: use --data or --source"
        )
    fleet = load_fleet(arguments.fleet_file)
    if arguments.fleets < 1:
        raise DatasetError(f"--fleets {arguments.fleets}; expected at least 1")
    out = []
    for i in _progress("simulating")(range(arguments.fleets)):
        seeded = fleet.model_copy(update={"seed": arguments.seed + i})
        start = SIMULATED_END - arguments.days * DAY - i * 41 * DAY
        out.append(simulate(seeded, start, arguments.days, config.step, SCENARIO_DAYS, arguments.seed + i))
    return out


def _signals(arguments, config, history) -> dict:
    """Name -> Signal in the history's order."""
    from forecaster.histories import select

    return select(history, config.signals, str(arguments.data or "the source"))


def _windows(arguments, config, history):
    from forecaster import backtest
    from forecaster.dataset import DatasetError

    if arguments.windows is None:
        return backtest.draw(history, config.step, arguments.per_server, arguments.seed)
    try:
        pairs = np.load(arguments.windows, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"--windows {arguments.windows}: cannot be read as .npy ({error})") from error
    return backtest.at_origins(history, config.step, pairs)


def _load(name: str, config):
    """A Model, or the yardstick's name; raises ModelError."""
    from forecaster.model import Model, ModelError, folder_of

    if name in YARDSTICKS:
        return name
    folder = folder_of(name)
    if not folder.is_dir():
        raise ModelError(f"--model {name}: expected default, servers, a model folder, or one of {', '.join(YARDSTICKS)}")
    return Model.load(folder, config.device)


def _instant(flag: str, text: str) -> float:
    from forecaster.dataset import DatasetError

    try:
        return float(text)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise DatasetError(f"--{flag} {text}: expected RFC 3339 (2026-03-01T00:00:00Z) or Unix seconds") from error
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _writable(path: Path | None) -> None:
    """Refuses an output before the work rather than after it."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror}); name another file") from error


def _progress(label: str):
    if not sys.stderr.isatty():
        return iter
    from tqdm import tqdm

    return lambda items: tqdm(items, desc=label, leave=False)


def _described(arguments) -> str:
    if arguments.data:
        return str(arguments.data)
    return f"prometheus {arguments.start}..{arguments.end}" if arguments.source else f"{arguments.fleets} simulated fleets"


def _print(report: dict) -> None:
    """The table people read."""
    print(f"{report['data']}: {report['windows']} windows of one server, 8 h each\n")
    for name, figures in report["models"].items():
        print(f"{name}  (left to the heuristic: {figures['left_to_heuristic']})")
        print(f"  {'signal':14}{'wql 30m':>9}{'wql 8h':>9}{'sql':>9}{'cover 30m':>11}{'cover 8h':>10}{'acc 30m':>9}{'acc 8h':>8}")
        for signal, row in figures["signals"].items():
            print(
                f"  {signal:14}{row['wql_30m']:9.4f}{row['wql_8h']:9.4f}{row['sql']:9.4f}{row['coverage80_30m']:11.3f}"
                f"{row['coverage80_8h']:10.3f}"
                + (f"{row['accuracy_30m']:9.2f}{row['accuracy_8h']:8.2f}" if "accuracy_8h" in row else "")
            )
        print(
            f"  {'all':14}{figures['wql_mean_30m']:9.4f}{figures['wql_mean_8h']:9.4f}{figures['sql_geo']:9.4f}"
            f"{'inside80':>15} {figures['inside80']:.3f}"
        )
        for key, row in figures["incidents"].items():
            if key.startswith("probability"):
                print(
                    f"  incident {key[12:]}: base rate {row['base_rate']:.4f}, Brier {row['brier']:.4f}, skill "
                    f"{row['skill']:.3f}, AUROC {row['auroc']:.3f}, calibration error {row['ece']:.4f}"
                )
            elif key != "thresholds":
                print(
                    f"  {key}: {row['alarms']} alarms, {row['incidents']} incidents, precision {row['precision']:.3f}, recall "
                    f"{row['recall']:.3f}, lead {row['lead_minutes']:.0f} min"
                )
        print()
