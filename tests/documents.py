"""The documents as the tests read them: sections, tables, code blocks and commands."""

import re
import shlex

from stack.layout import ROOT

DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for pattern in ("*.md", "docs/**/*.md", "exporter/*.md", "forecaster/*.md", "prometheus/*.md", "examples/*.md")
    for path in sorted(ROOT.glob(pattern))
}

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """The text without its code blocks, where a # is no heading."""
    return _FENCED.sub("", text)


def section(title: str, document: str) -> str:
    """What stands under a heading, up to the next heading of any level, without code blocks."""
    found = re.findall(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", prose(DOCUMENTS[document]),
                       flags=re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{document}: {len(found)} headings {title!r}, expected one"
    return found[0]


def sentences(document: str) -> str:
    """A document as one line, for sentences that span two."""
    return " ".join(prose(DOCUMENTS[document]).split())


def table(title: str, document: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """The rows of the table under a heading, by their first two cells; none repeats, no cell is empty.

    The first two cells come without the code marks around them; – stands for nothing.
    """
    lines = [line for line in section(title, document).splitlines() if line.startswith("|")]
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines[2:]]
    assert rows, f"{document}: no table under {title!r}"
    found = {(bare(row[0]), bare(row[1])): row[2:] for row in rows}
    assert len(found) == len(rows), f"{title}: a row stands there twice"
    assert all(all(row) for row in rows), f"{title}: an empty cell in {[row for row in rows if not all(row)]}"
    return found


def bare(cell: str) -> str:
    """A cell without its code marks, where it is one piece of code."""
    return cell.strip("`") if cell.count("`") == 2 else cell


def by_name(title: str, document: str) -> dict[str, tuple[str, ...]]:
    """The rows of a table by their first cell alone, which is a name that stands there once."""
    rows = table(title, document)
    found = {name: (second, *more) for (name, second), more in rows.items()}
    assert len(found) == len(rows), f"{title}: a name stands there twice"
    return found


def blocks(language: str, document: str) -> list[str]:
    """The code blocks in a language."""
    return [text for of, text in _FENCED.findall(DOCUMENTS[document]) if of == language]


def commands() -> list[str]:
    """Every command of all shell blocks as written; one goes on in the next line after a backslash or in quotes."""
    text = "\n".join(block for document in DOCUMENTS for block in blocks("sh", document)).replace("\\\n", " ")
    found, held = [], ""
    for line in text.splitlines():
        held = f"{held}\n{line}" if held else line
        if held.partition(" #")[0].count("'") % 2 == 0:
            found, held = [*found, held], ""
    return [command for command in found if words(command)]


def words(command: str) -> list[str]:
    """The words of a command, without its comment."""
    return shlex.split(command, comments=True)


def anchors(text: str) -> set[str]:
    """What a link's #… can lead to."""
    headings = re.findall(r"^#+ (.*)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
