"""The generator of the reference pages: the pages are what it writes, and it leaves nothing out."""

import re
import typing
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from docs import generate
from docs.keys import is_section
from exporter.profiles import FleetConfig
from forecaster.config import ForecasterConfig
from stack.layout import ROOT
from tests.documents import DOCUMENTS


def models_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A settings model and all that its fields hold, at any depth."""
    yield model
    for hint in typing.get_type_hints(model).values():
        for part in parts_of(hint):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from models_of(part)


def parts_of(hint: object) -> Iterator[object]:
    """A type and those it is made of."""
    yield hint
    for part in typing.get_args(hint):
        yield from parts_of(part)


def test_the_pages_are_what_the_code_says():
    assert generate.main(["--check"]) == 0, "run `make docs`"


def test_a_page_that_differs_is_named_with_the_remedy_and_left_as_it_is(monkeypatch, capsys):
    monkeypatch.setattr(generate, "PAGES", {"docs/index.md": lambda: "something else"})
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/index.md: not as the code has it; run `make docs`\n"
    assert (ROOT / "docs/index.md").read_text() == DOCUMENTS["docs/index.md"]


def test_a_text_that_is_missing_in_the_code_is_refused_with_its_name():
    with pytest.raises(ValueError, match=r"^`key`: a cell of key \| meaning is empty; expected a text in the code"):
        generate.table("key | meaning", [("`key`", "")])


MODELS = [*dict.fromkeys([*models_of(ForecasterConfig), *models_of(FleetConfig)])]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_setting_has_a_description(model):
    hints = typing.get_type_hints(model)
    assert [name for name, field in model.model_fields.items()
            if not field.description and not is_section(hints[name])] == []


@pytest.mark.parametrize("app", [generate.FORECASTER, generate.EXPORTER], ids=lambda app: app.name)
def test_every_series_of_a_running_program_is_listed(app):
    families = text_string_to_metric_families(app.test_client().get("/metrics").text)
    exposed = {re.sub(r"_(bucket|sum|count)$", "", sample.name) for family in families for sample in family.samples
               if not re.match(r"(process|python)_|.*_created$", sample.name)}
    assert {name for name in exposed if f"| `{name}` |" not in DOCUMENTS["docs/reference/series.md"]} == set()


def test_every_package_says_which_modules_it_has():
    for init in (ROOT / "forecaster").glob("*/**/__init__.py"):
        modules = {path.stem for path in init.parent.glob("*.py")} - {"__init__"}
        told = set(re.findall(r"\w+", init.read_text()))
        assert init.parent.name == "commands" or modules <= told, init
