"""Writes prometheusrule.yaml from prometheus/rules, the one source of rules:  python deploy/kubernetes/rules.py"""

from pathlib import Path

from forecaster.shipped.files import SHIPPED, prometheus_rule

HEAD = "# Made from prometheus/rules by deploy/kubernetes/rules.py.\n"


def manifest() -> str:
    """The text of prometheusrule.yaml."""
    return HEAD + prometheus_rule(SHIPPED)


if __name__ == "__main__":
    Path(__file__).with_name("prometheusrule.yaml").write_text(manifest())
