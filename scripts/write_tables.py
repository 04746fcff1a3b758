"""Write the tables of keys, export formats and settings into the manifest and the documentation.

``python scripts/write_tables.py`` writes them; with ``--check`` it changes nothing, and fails where one is out of date.
Each file holds them between two lines, "table: NAME" and "end of table"; what stands between is replaced.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from napari_segany.io.export import FORMATS
from napari_segany.widgets.actions import ACTIONS, key_titles
from napari_segany.widgets.settings import SETTINGS

ROOT = Path(__file__).parents[1]
MANIFEST = Path("src/napari_segany/napari.yaml")
PANEL = Path("docs/panel.md")
KINDS = {bool: "boolean", int: "integer", str: "string"}


def commands() -> str:
    """Commands of the manifest, one for each action."""
    lines = []
    for name, action in ACTIONS.items():
        lines += [
            f"    - id: napari-segany.{name}",
            f"      title: {_quoted(f'{action.title}  ({action.key})')}",
            f"      python_name: napari_segany.widgets.commands:{name}",
        ]
    return "\n".join(lines)


def settings() -> str:
    """Settings of the manifest."""
    lines = []
    for name, setting in SETTINGS.items():
        entries: dict[str, Any] = {
            "type": KINDS[type(setting.default)],
            "default": setting.default,
            "title": setting.title,
            "description": setting.description,
        }
        if setting.choices:
            entries["enum"] = list(setting.choices)
        lines.append(f"        {name}:")
        lines += [f"          {entry}: {_quoted(value)}" for entry, value in entries.items()]
    return "\n".join(lines)


def keys() -> str:
    """Keys for the documentation."""
    return _table(("key", "what it does"), key_titles().items())


def formats() -> str:
    """Formats of export for the documentation."""
    rows = ((one.title, ", ".join(f"`{ending}`" for ending in one.endings), one.about) for one in FORMATS.values())
    return _table(("format", "files", "what it is for"), rows)


TABLES: Mapping[tuple[Path, str], Callable[[], str]] = {
    (MANIFEST, "actions"): commands,
    (MANIFEST, "settings"): settings,
    (PANEL, "keys"): keys,
    (PANEL, "formats"): formats,
}


def filled(path: Path, text: str) -> str:
    """The text of a file with its tables as they are to be."""
    for (place, name), make in TABLES.items():
        if place == path:
            pattern = rf"(?m)^([^\n]*table: {name}\b[^\n]*\n).*?(^[^\n]*end of table)"
            gap = "\n" if path.suffix == ".md" else ""
            text, count = re.subn(pattern, rf"\1{gap}{{table}}\n{gap}\2", text, flags=re.DOTALL)
            if count != 1:
                raise SystemExit(f"{path} has {count} places for the table {name}")
            text = text.replace("{table}", make())
    return text


def outdated() -> list[Path]:
    """Files whose tables are not as they are to be."""
    return [path for path in _files() if (text := (ROOT / path).read_text("utf-8")) != filled(path, text)]


def write() -> None:
    """Write all tables."""
    for path in outdated():
        (ROOT / path).write_text(filled(path, (ROOT / path).read_text("utf-8")), "utf-8")


def _files() -> list[Path]:
    return list(dict.fromkeys(path for path, _ in TABLES))


def _quoted(value: Any) -> str:
    """A value as YAML takes it: all JSON is YAML."""
    return json.dumps(value, ensure_ascii=False)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, and fail where a table is out of date")
    if not parser.parse_args().check:
        write()
    elif old := outdated():
        raise SystemExit(f"out of date: {', '.join(map(str, old))}; run python scripts/write_tables.py")


if __name__ == "__main__":
    main()
