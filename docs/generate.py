"""Writes the reference pages of docs/ from the code that they describe, and the runbook as a page (`make docs`).

`--check` compares them only. One function makes one page. Meanings are the descriptions, help texts and
docstrings of the code: to change a text on a page, change it there.
"""

import argparse
import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise

import yaml
from flask import Flask
from markdown_it import MarkdownIt
from prometheus_client.parser import text_string_to_metric_families

import exporter.__main__
import forecaster.__main__
from docs.keys import Row, keys
from exporter.app import create_app
from exporter.profiles import FleetConfig, load_fleet
from forecaster.config import ForecasterConfig, load_config
from forecaster.publish.gauges import METRICS
from forecaster.service.app import Forecaster
from serving.doors.entry import Doors
from stack.layout import PORTS, ROOT
from stack.pager import Pager
from stack.pager import create_app as create_pager

NOW = 1_760_000_000.0  # Unix s; any time does
EXPORTER = create_app(load_fleet(), clock=lambda: NOW)
FORECASTER = Forecaster(lambda: load_config("fleet", {"model": "none"}), clock=lambda: NOW).app
PAGER = create_pager(Pager(print, lambda: datetime.fromtimestamp(NOW, UTC), lambda: NOW))
PARSERS = {"fleet-forecaster": forecaster.__main__._parser(), "fleet-exporter": exporter.__main__._parser()}

WEB = "fleetcast_web_"
UNITS = {"_connections_closed_total": "connections", "_requests_refused_total": "requests",
         "_failures_total": "failures", "_ratio": "ratio", "_bytes_per_second": "bytes/s",
         "_timestamp_seconds": "Unix seconds", "_seconds": "seconds", "_bytes": "bytes", "_info": "1",
         "_ticks_total": "ticks", "_servers": "servers"}  # by the names' suffix


def configuration() -> str:
    """docs/reference/configuration.md"""
    return page("Configuration", "forecaster/config.py, forecaster/risk/thresholds.py and exporter/profiles.py", f"""
## Configuration of the forecaster

`--config.file` takes a YAML file or a preset (`fleet`, `node_exporter`, `kubernetes`). Unknown keys are refused. A
file has at most 1 MiB, 30,000 keys and values (those of an alias counted at each use) and 50 levels. Durations are
written like `15s`, `5m` or `1h30m`. Paths are relative to the working directory. `fleet-forecaster check-config`
checks a file.

{table("key | type | default | meaning", keys(ForecasterConfig))}

With a `step` below 5 minutes the forecaster runs in fast motion, for rehearsals. Names such as `30m` then still mean 6
steps.

## Fleet file

`fleet-exporter --config.file` takes a fleet file. All keys but the `mounts` of a profile are required; the
shipped `exporter/fleet.yml` explains every number. A copy with other `servers` is another fleet. SIGHUP reads a
changed file, and so does `POST /-/reload` with `--web.enable-lifecycle`.

{table("key | meaning", ((f"`{name}`", field.description or "") for name, field in FleetConfig.model_fields.items()))}
""")


def series() -> str:
    """docs/reference/series.md"""
    exposed = text_string_to_metric_families(EXPORTER.test_client().get("/metrics").text)
    fleets = [(sample.name, tuple(sample.labels), unit_of(sample.name), family.documentation)
              for family in exposed for sample in family.samples[:1] if not sample.name.startswith(WEB)]
    web = [(name := sample.name if sample else family.name, tuple(sample.labels) if sample else (), unit_of(name),
            family.documentation) for family in Doors("docs").collect() for sample in family.samples[:1] or [None]]

    def rows(metrics: Iterable[tuple[str, tuple[str, ...], str, str]]) -> Iterator[Row]:
        for name, labels, unit, meaning in metrics:
            yield f"`{name}`", f"`{' '.join(labels)}`" if labels else "–", unit, meaning

    return page("Series", "the HELP texts in forecaster/publish, exporter/collector.py and serving", f"""
## Series of the forecaster

`<signal>` is each signal of the configuration, in the unit given there. `percentile` is p10, p50 or p90; `horizon` and
`window` are those of the configuration. Of a server, only the essential ones of these series are shown unless
`publish.gauges` is `all`: [which they are](../scaling.md#series). A scrape adds `job` and `instance`. `process_*`,
`python_*` and the `*_created` series of counters come from the client library.

{table("series | labels | unit | meaning", rows(METRICS))}

## Series of the exporter

{table("series | labels | unit | meaning", rows(fleets))}

## Series of every service

Forecaster, exporter and pager have these, of [TLS and logins](../tls-and-logins.md) and of what they did not serve.

{table("series | labels | unit | meaning", rows(web))}
""")


def endpoints() -> str:
    """docs/reference/endpoints.md"""
    return page(
        "Endpoints",
        "the docstrings of the views in serving, exporter, forecaster and stack/pager.py",
        f"""
A refused request gets a 4xx whose JSON body has the keys `error`, `field` and `expected`.

## Forecaster

Port {PORTS["forecaster"]}, and {PORTS["forecaster-node"]} for this machine. The landing page shows the fleet, most
urgent first. The forecaster is ready while it has a current forecast. A reload reads the model, too; a new `listen`
needs a restart.
What is on `/metrics` is on the page [series](series.md). With `tenants`, the header `X-Scope-OrgID` or the login says
whose servers an answer has: [tenants](../tenants.md).

{table("request | answer", routes(FORECASTER))}

## Exporter

Port {PORTS["exporter"]}.

{table("request | answer", routes(EXPORTER))}

## Pager

Port {PORTS["pager"]}. `make up` runs it in place of an on-call service. The landing page shows what is open, the
heartbeats of the fleets and the last notifications.

{table("request | answer", routes(PAGER))}
""",
    )


def command_line() -> str:
    """docs/reference/command-line.md"""
    parts = ["A flag takes precedence over the same setting in the configuration file."]
    for program, parser in PARSERS.items():
        parts += [f"## {program}", parser.description or "", table("flag | default | meaning", flags(parser))]
        [commands] = [action for action in arguments(parser) if isinstance(action, argparse._SubParsersAction)]
        helps = {action.dest: action.help for action in commands._get_subactions()}
        for name, command in commands.choices.items():
            parts += [f"### {program} {name}", command.description or sentence(helps[name] or ""),
                      table("flag | default | meaning", flags(command))]
    return page("Command line", "the parsers in forecaster/commands and exporter/__main__.py", "\n\n".join(parts))


def alerts() -> str:
    """docs/reference/alerts.md"""
    text = (ROOT / "prometheus/runbook.md").read_text()
    first = re.compile(r"^## (\w+)\s+\*\*Means\.\*\* (.*?\.)(?=\s+[A-Z]|\n\n)", flags=re.MULTILINE | re.DOTALL)
    means = {name: " ".join(sentence.split()) for name, sentence in first.findall(text)}
    rules = [rule for file in sorted((ROOT / "prometheus/rules").glob("*.yml"))
             for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"] if "alert" in rule]
    rules.append({"alert": "FleetcastPrometheusDown", "for": "45s",  # sent by a forecaster
                  "labels": {"priority": "P1", "severity": "critical"}})
    rows = ((f"[{rule['alert']}](../../prometheus/runbook.md#{rule['alert'].lower()})",
             rule["labels"].get("priority", "–"), rule["labels"]["severity"], rule.get("for", "0s"),
             means.get(rule["alert"], "")) for rule in rules)
    return page("Alert reference", "prometheus/rules and prometheus/runbook.md", f"""
Each name leads to its entry in the runbook. What the priorities mean and where they go is on the page
[alerts](../alerts.md).

{table("alert | priority | severity | for | when", sorted(rows, key=lambda row: row[1]))}
""")


def runbook() -> str:
    """forecaster/shipped/runbook.html: the body of the page that the forecaster serves, with a list of its entries."""
    markdown = MarkdownIt()
    tokens = markdown.parse((ROOT / "prometheus/runbook.md").read_text())
    entries = ""
    for heading, title in pairwise(tokens):
        if heading.type == "heading_open":
            anchor = title.content.lower().replace(" ", "-")
            heading.attrSet("id", anchor)
            entries += f'<a href="#{anchor}">{title.content}</a>\n' if heading.tag == "h2" else ""
    text = markdown.renderer.render(tokens, markdown.options, {})
    first = "</h1>\n"
    return ("<!-- Written by `make docs` from prometheus/runbook.md: change the text there. -->\n"
            + text.replace(first, f"{first}<nav>\n{entries}</nav>\n", 1))


def development() -> str:
    """docs/development.md, whose table of the packages is generated and whose text is not."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract.get("containers") == ["forecaster"]]
    root = ROOT / "forecaster"
    inits = [path for package in reversed(layers) for path in sorted((root / package).glob("**/__init__.py"))]
    rows = []
    for init in [root / "__init__.py", *inits]:
        modules = (f"`{path.stem}`" for path in sorted(init.parent.glob("*.py")) if path != init)
        about = first_paragraph(ast.get_docstring(ast.parse(init.read_text())))
        rows.append((f"`{init.parent.relative_to(root.parent)}`", ", ".join(modules), about))
    text = (ROOT / "docs/development.md").read_text()
    begin, end = "<!-- Written by `make docs` from the packages' docstrings. -->\n", "\n<!-- end -->"
    before, rest = text.split(begin)
    return f"{before}{begin}\n{table('package | modules | what', rows)}\n{end}{rest.split(end)[1]}"


def page(title: str, sources: str, text: str) -> str:
    """A page that says on its first line where its text comes from."""
    return f"<!-- Written by `make docs` from {sources}: change the texts there. -->\n\n# {title}\n\n{text.strip()}\n"


def table(heads: str, rows: Iterable[Row]) -> str:
    """A table in Markdown; ValueError for a row with an empty cell, whose text is missing in the code."""
    lines = [f"| {heads} |", "|" + "---|" * len(heads.split(" | "))]
    for row in rows:
        if not all(row):
            raise ValueError(f"{row[0]}: a cell of {heads} is empty; expected a text in the code: add it there")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines)


def first_paragraph(docstring: str | None) -> str:
    """The first paragraph of a docstring on one line; empty without one."""
    return " ".join((docstring or "").split("\n\n")[0].split())


def sentence(text: str) -> str:
    """A help text as a sentence."""
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def unit_of(name: str) -> str:
    """The unit that a metric's name ends in; a name without one is a flag."""
    return next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), "0 or 1")


def routes(app: Flask) -> Iterator[Row]:
    """(methods and path, the first paragraph of the view's docstring) of each page, by path."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        methods = ", ".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
        yield f"`{methods} {rule.rule}`", first_paragraph(inspect.getdoc(app.view_functions[rule.endpoint]))


def arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What a parser takes; argparse has no public list of it."""
    return parser._actions


def flags(parser: argparse.ArgumentParser) -> Iterator[Row]:
    """(flag, default, meaning) of each flag; the default that a help text tells goes into its own cell."""
    for action in arguments(parser):
        if not action.option_strings or isinstance(action, argparse._HelpAction):
            continue
        value = "" if action.nargs == 0 else f" {action.metavar or '|'.join(action.choices or [action.dest.upper()])}"
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        told = re.search(r" \(default: (.*)\)$", text)
        own = action.default not in (None, False, [], {}, argparse.SUPPRESS)
        default = "required" if action.required else told[1] if told else str(action.default) if own else "–"
        yield (f"`{action.option_strings[0]}{value}`", f"`{default}`" if own else default,
               text[:told.start()] if told else text)


PAGES = {"docs/reference/configuration.md": configuration, "docs/reference/series.md": series,
         "docs/reference/endpoints.md": endpoints, "docs/reference/command-line.md": command_line,
         "docs/reference/alerts.md": alerts, "docs/development.md": development,
         "forecaster/shipped/runbook.html": runbook}


def main(argv: list[str] | None = None) -> int:
    """Writes the pages that differ, or names them with --check; the exit code is 1 where one differs."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description="Write the reference pages.")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a page differs")
    check = parser.parse_args(argv).check
    made = {name: make() for name, make in PAGES.items()}
    differing = [name for name, text in made.items() if (ROOT / name).read_text() != text]
    for name in differing:
        if not check:
            (ROOT / name).write_text(made[name])
    if check and differing:
        print(f"{', '.join(differing)}: not as the code has it; run `make docs`", file=sys.stderr)
    return int(check and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
