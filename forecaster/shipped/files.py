"""The files that ship, made to fit an installation: texts by file name."""

import json
from importlib import resources
from typing import Any, get_args

import yaml

from forecaster.shipped.installation import Installation, Severity

SHIPPED = Installation.model_validate({})  # the values that stand in the files
DEMONSTRATION = {"FleetcastTargetDown"}  # watches the simulated fleet's exporter, which nobody else runs
BOARDS = {"fleetcast-servers": "overview", "fleetcast-fleet": "overview", "fleetcast-forecaster": "operations",
          "fleetcast-pipeline": "operations", "fleetcast-capacity": "operations"}  # of alerts that name no server
AHEAD = {"overview": ("6h", "8h"), "server": ("6h", "8h"), "capacity": ("14d", "14d")}  # ranges before and after now
PRIORITIES: dict[str, Severity] = {"P1": "critical", "P2": "warning", "P3": "info"}
Files = dict[str, str]


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines, such as an expression, line by line."""


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, "|" if "\n" in text else None)
)


def rules(to: Installation) -> Files:
    """Rule files for Prometheus, and the runbook that their alerts name."""
    made = {f"fleetcast-{name}": _yaml({"groups": groups}) for name, groups in _groups(to).items()}
    return made | {"fleetcast-runbook.md": _read("runbook.md")}


def dashboards(to: Installation) -> Files:
    """Dashboards for Grafana, by uid. Links between them are relative, so they work in any Grafana."""
    def with_job(fields: dict[str, Any]) -> dict[str, Any]:
        return {key: _selected(value, to.job) if isinstance(value, str) else value for key, value in fields.items()}

    made = {}
    for name in _names("dashboards", ".json"):
        board = json.loads(_read("dashboards", name), object_hook=with_job)
        variables = {variable["name"]: variable for variable in board["templating"]["list"]}
        del variables["datasource"]["current"]  # Grafana takes its default
        for variable, value in (("datasource", to.datasource), ("fleet", to.fleet)):
            if value:
                variables[variable]["current"] = {"text": value, "value": value}
        for link in board["links"]:
            link["url"] = link["url"].removesuffix("?alertmanager=Alertmanager")  # the demonstration's name for it
        made[f"{board['uid']}.json"] = json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return made


def alertmanager(to: Installation) -> Files:
    """Receivers, routes and inhibition. Routes of priorities below the lowest severity are left out."""
    config = yaml.safe_load(_read("alertmanager.yml"))
    route, urls = config["route"], {"pager": to.pager_url, "ticket": to.ticket_url, "heartbeat": to.heartbeat_url}
    below = {f'priority="{priority}"' for priority, severity in PRIORITIES.items() if not _wanted(severity, to)}
    route["routes"] = [one for one in route["routes"] if not below & {*one["matchers"]}]
    config["inhibit_rules"] = [one for one in config["inhibit_rules"] if not below & {*one["target_matchers"]}]
    used = {one["receiver"] for one in (route, *route["routes"])}
    config["receivers"] = [one for one in config["receivers"] if one["name"] in used]
    for receiver in config["receivers"]:
        for webhook in receiver.get("webhook_configs", ()):
            webhook["url"] = urls[receiver["name"]]
    return {"alertmanager.yml": _yaml(config)}


def kubernetes(to: Installation) -> Files:
    """Manifests for a cluster with the Prometheus operator."""
    made = {name: _read("kubernetes", name) for name in _names("kubernetes", ".yaml")}
    monitor, labels = yaml.safe_load(made["servicemonitor.yaml"]), {"job": to.job, "fleet": to.fleet}
    for endpoint in monitor["spec"]["endpoints"]:
        for relabeling in endpoint["relabelings"]:
            relabeling["replacement"] = labels[relabeling["targetLabel"]] or relabeling["replacement"]
    if to.fleet:
        flag = "--alertmanager.fleet="
        made["statefulset.yaml"] = made["statefulset.yaml"].replace(f"{flag}production", f"{flag}{to.fleet}")
    return made | {"servicemonitor.yaml": _yaml(monitor), "prometheusrule.yaml": prometheus_rule(to)}


def prometheus_rule(to: Installation) -> str:
    """The rules as a PrometheusRule of the Prometheus operator."""
    labels = {"app.kubernetes.io/name": "forecaster", "app.kubernetes.io/part-of": "fleetcast"}
    return _yaml({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "fleetcast", "labels": labels},
        "spec": {"groups": [group for groups in _groups(to).values() for group in groups]},
    })


def _groups(to: Installation) -> dict[str, list[dict[str, Any]]]:
    """Rule groups by file name: every recording rule, and the alerts that are wanted."""
    made = {name: yaml.safe_load(_read("rules", name))["groups"] for name in _names("rules", ".yml")}
    for group in (group for groups in made.values() for group in groups):
        group["rules"] = [rule for rule in group["rules"] if "alert" not in rule or (
            rule["alert"] not in DEMONSTRATION and _wanted(rule["labels"]["severity"], to))]
        for rule in group["rules"]:
            rule["expr"] = _selected(rule["expr"], to.job, to.fleet)
            if "alert" in rule:
                board = "quality" if "Coverage" in rule["alert"] else BOARDS[group["name"]]
                links, runbook = rule["annotations"], to.runbook_url or f"{to.forecaster_url}/runbook"
                links["dashboard_url"] = _dashboard(links["dashboard_url"], group["name"], board, to)
                links["runbook_url"] = f"{runbook}#{rule['alert'].lower()}"
    return made


def _dashboard(shipped: str, group: str, board: str, to: Installation) -> str:
    """The dashboard_url of an alert: the entity's, the server's or that board in Grafana, else the own page."""
    server = "$labels.server" in shipped
    if to.grafana_url is None:
        page = f"{to.forecaster_url}/{'#{{ $labels.server }}' if server else ''}"
        return shipped if to.forecaster_url == SHIPPED.forecaster_url else page
    chosen = "{{ with $labels.fleet }}var-fleet={{ urlquery . }}&{{ end }}"
    if server:
        filling = group == "fleetcast-capacity"
        board, labels = ("capacity", ("server", "resource", "entity")) if filling else ("server", ("server",))
        chosen += "".join(f"var-{label}={{{{ urlquery $labels.{label} }}}}&" for label in labels)
    before, after = AHEAD.get(board, ("6h", ""))
    return f"{to.grafana_url}/d/fleetcast-{board}?{chosen}from=now-{before}&to=now{after and f'%2B{after}'}"


def _wanted(severity: str, to: Installation) -> bool:
    """Whether alerts of a severity are; the watchdog's `none` always is."""
    order = get_args(Severity)
    return severity == "none" or order.index(severity) >= order.index(to.min_severity)


def _selected(promql: str, job: str, fleet: str | None = None) -> str:
    """A query whose matchers of the forecaster's job name another job, and the fleet where one is given."""
    matcher = f'job="{job}"' + (f',fleet="{fleet}"' if fleet else "")
    return promql.replace('job="forecaster"', matcher).replace('job!="forecaster"', f'job!="{job}"')


def _names(folder: str, suffix: str) -> list[str]:
    inside = resources.files(__package__).joinpath(folder).iterdir()
    return sorted(path.name for path in inside if path.name.endswith(suffix))


def _read(*path: str) -> str:
    return resources.files(__package__).joinpath(*path).read_text("utf-8")


def _yaml(content: object) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
