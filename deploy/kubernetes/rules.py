"""Writes prometheusrule.yaml from prometheus/rules, the one source of rules:  python deploy/kubernetes/rules.py"""

from pathlib import Path

import yaml

HERE = Path(__file__).parent
RULES = HERE.parent.parent / "prometheus" / "rules"
DEMONSTRATION = {"FleetcastTargetDown"}  # watches the simulated fleet's exporter, which a cluster does not run
HEAD = "# Made from prometheus/rules by deploy/kubernetes/rules.py.\n"


def manifest() -> str:
    """The text of prometheusrule.yaml."""
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    for group in groups:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") not in DEMONSTRATION]
    labels = {"app.kubernetes.io/name": "forecaster", "app.kubernetes.io/part-of": "fleetcast"}
    content = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "fleetcast", "labels": labels},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    (HERE / "prometheusrule.yaml").write_text(manifest())
