"""What a contributor meets first: hooks, templates and the check, held against the Makefile and the tree."""

import re

import pytest
import yaml

from docs.generate import PARSERS
from stack.layout import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def test_every_hook_runs_a_tool_of_this_repository():
    hooks = [hook for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
             for hook in repo["hooks"] if repo["repo"] == "local"]
    assert [hook["id"] for hook in hooks] == ["ruff", "check"]
    for hook in hooks:
        assert hook["language"] == "system"
        program, target, *_ = hook["entry"].split()
        assert program == ".venv/bin/ruff" or re.search(rf"^{target}: .*## ", MAKEFILE, flags=re.MULTILINE)


def test_the_check_before_a_commit_runs_lint_and_leaves_out_what_starts_real_programs():
    target = re.search(r"^check: lint .*\n((?:\t.*\n)+)", MAKEFILE, flags=re.MULTILINE)[1]
    assert "--ignore tests/integration" in target
    assert (ROOT / "tests/integration").is_dir()


@pytest.mark.parametrize("path", [path for path in TEMPLATES if path.name != "config.yml"], ids=lambda path: path.name)
def test_every_issue_template_asks_what_the_platform_can_show(path):
    template = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} == {*template}
    for field in template["body"]:
        assert field["type"] in ("textarea", "input") and field["id"] and field["attributes"]["label"]
    for program, command in re.findall(r"`(fleet-\w+) (\w[\w-]*)", path.read_text()):
        PARSERS[program].parse_args([command])
    assert any(field.get("validations", {}).get("required") for field in template["body"])
