"""What the documents say of links, files and versions, held against the tree."""

import re
import tomllib

import pytest

from serving import __version__
from stack.layout import ROOT
from tests.documents import DOCUMENTS, anchors, prose, table

FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_of_a_document_leads_to_a_file_and_heading(document):
    for target in re.findall(r"\]\(([^)]+)\)", DOCUMENTS[document]):
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert path.startswith("https://") or file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_and_folder_a_document_names_is_there(document):
    for path in re.findall(r"`([\w.-]+/[\w./-]*)`", DOCUMENTS[document]):
        assert path.split("/")[0] not in FOLDERS or (ROOT / path).exists(), path
    for name in re.findall(r"`(\w+\.(?:py|yml|md|toml|txt))`", DOCUMENTS[document]):
        assert (ROOT / name).exists() or (ROOT / document).with_name(name).exists(), name


def test_the_changelog_begins_with_the_version_that_runs():
    text = DOCUMENTS["CHANGELOG.md"]
    versions = re.findall(r"^## \[(.*?)\] - (?:unreleased|\d{4}-\d\d-\d\d)$", text, flags=re.MULTILINE)
    assert versions[0] == __version__
    kinds = set(re.findall(r"^### (.*)$", text, flags=re.MULTILINE))
    assert kinds
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


PAGES = [name for name in DOCUMENTS if name.startswith("docs/")]


def test_the_readme_is_read_in_two_minutes():
    assert len(DOCUMENTS["README.md"].splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_reached_from_the_first_page_and_from_the_sites_navigation(page):
    name = page.removeprefix("docs/")
    navigation = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert name in _pages(navigation)
    assert name == "index.md" or f"]({name})" in DOCUMENTS["docs/index.md"]


def _pages(navigation: object) -> list[str]:
    """The files that a navigation of titles, lists and files names."""
    if isinstance(navigation, str):
        return [navigation]
    items = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for item in items for page in _pages(item)]


def test_every_term_of_the_glossary_is_used():
    terms = [row[0] for row in table("Glossary", "docs/glossary.md")]
    others = " ".join(prose(text) for name, text in DOCUMENTS.items() if name != "docs/glossary.md")
    assert terms == sorted(terms)
    assert [term for term in terms if not re.search(rf"\b{re.escape(term)}", others, flags=re.IGNORECASE)] == []
