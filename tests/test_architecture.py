"""The page of the architecture names only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_segany"
TEXT = (ROOT / "docs" / "architecture.md").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_/.]+?\.(?:py|yaml|toml))`", TEXT))))
def test_files_that_are_named_exist(path: str) -> None:
    places = (ROOT / path, PACKAGE / path, *PACKAGE.glob(f"*/{path}"))
    assert any(place.exists() for place in places), path


@pytest.mark.parametrize("room", [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()])
def test_every_module_of_a_room_is_named(room: str) -> None:
    modules = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}
    missing = sorted(name for name in modules if f"`{name}`" not in TEXT and f"{name}.py`" not in TEXT)
    assert room == "cli" or not missing, missing
