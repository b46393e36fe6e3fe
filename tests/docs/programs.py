"""What the programs take: the endpoints of the services and the flags of the commands."""

import argparse
from functools import cache

import exporter.__main__
import forecaster.__main__
from exporter.app import create_app as create_exporter
from exporter.profiles import load_fleet
from forecaster.config import load_config
from forecaster.service.app import Forecaster

NOW = 1_760_000_000.0
PARSERS = {"fleet-exporter": exporter.__main__._parser(), "fleet-forecaster": forecaster.__main__._parser()}


@cache
def routes(service: str) -> frozenset[tuple[str, str]]:
    """(method, path) pairs of a service; that a reload takes PUT as well is left out."""
    if service == "exporter":
        app = create_exporter(load_fleet(), clock=lambda: NOW)
    else:
        app = Forecaster(lambda: load_config("fleet", {"model": "none"}), clock=lambda: NOW).app
    return frozenset((method, rule.rule) for rule in app.url_map.iter_rules()
                     for method in rule.methods - {"HEAD", "OPTIONS", "PUT"})


def flags_of(program: str) -> dict[tuple[str, str], str | None]:
    """Default by (flag, the commands that take it); None where it has none of its own."""
    found: dict[tuple[str, str | None], list[str]] = {}
    [subparsers] = [action for action in PARSERS[program]._actions
                    if isinstance(action, argparse._SubParsersAction)]
    for command, parser in subparsers.choices.items():
        for action in parser._actions:
            default = action.default or None
            text = f"{default:g}" if isinstance(default, float) else default and str(default)
            if not isinstance(action, argparse._HelpAction):
                of = found.setdefault((action.option_strings[0], "required" if action.required else text), [])
                of.append(command)
    return {("--version", "–"): None,
            **{(flag, " ".join(of)): default for (flag, default), of in found.items()}}
