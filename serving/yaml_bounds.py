"""Bounds on a YAML file, checked on its events before anything is built from them.

An alias stands for all that its anchor holds: nine levels of nine aliases in 300 bytes are 400 million values. A file
with thousands of keys or levels takes minutes to parse and to refuse key by key. 20,000 targets fit the bounds.
"""

import yaml

from serving.shown import cut

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one of libyaml is ten times as fast, where PyYAML has it
BYTES = 1 << 20  # of the file
VALUES = 30_000  # keys, values, lists and mappings, those of an alias counted where it stands
LEVELS = 50
CHARACTERS = 1 << 16  # of one value

REMEDY = "check that this is the right file"


def check(text: str) -> str | None:
    """What is too much in a YAML text and what to do, or None; raises yaml.YAMLError where it is no YAML."""
    values, sizes = 0, dict[str, int]()  # sizes: values of each anchor
    inside: list[tuple[str | None, int]] = []  # anchor of each list and mapping around, and the values before it
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in inside}:
                return f"the alias *{cut(event.anchor or '', 80)} is inside its own anchor; expected no loop; remove it"
            values += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            inside.append((event.anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = inside.pop()
            if anchor is not None:
                sizes[anchor] = values - before
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if (length := len(event.value)) > CHARACTERS:
                return f"{_line(event)}{length:,} characters in one value; expected at most {CHARACTERS:,}; {REMEDY}"
        if values > VALUES:
            return f"has more than {VALUES:,} keys and values, counted at each alias; expected fewer; {REMEDY}"
        if len(inside) > LEVELS:
            return f"{_line(event)}more than {LEVELS} levels; expected fewer; {REMEDY}"
    return None


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}: " if event.start_mark else ""
