"""docker-compose.yml alone or with deploy/compose/secure.yml, merged as the Compose specification has it."""

from pathlib import Path
from typing import Any

import yaml

from stack.layout import ROOT

PLAIN = (ROOT / "docker-compose.yml",)
SECURE = (*PLAIN, ROOT / "deploy" / "compose" / "secure.yml")


class _Instead(list[Any]):
    """A list marked with !override."""


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!override", lambda loader, node: _Instead(loader.construct_sequence(node)))


def read(files: tuple[Path, ...]) -> dict[str, Any]:
    """The content of files, each merged into those before it."""
    found: dict[str, Any] = {}
    for file in files:
        found = _merged("", found, yaml.load(file.read_text(), _Loader))  # a safe one
    return found


def _merged(key: str, first: Any, then: Any) -> Any:
    if isinstance(first, dict):
        return {**first, **{name: _merged(name, first[name], one) if name in first else one
                            for name, one in then.items()}}
    if isinstance(then, list) and not isinstance(then, _Instead) and key != "command":
        return first + then
    return then
