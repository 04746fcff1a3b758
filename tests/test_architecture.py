"""The page of the architecture names only what exists."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable
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


def modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path.stem not in {"__init__", "__main__"}]


def repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_no_two_modules_have_one_name() -> None:
    assert not repeated(path.stem for path in modules())


def test_no_two_public_classes_have_one_name() -> None:
    trees = (ast.parse(path.read_text()) for path in modules())
    names = (node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert not repeated(name for name in names if not name.startswith("_"))


def test_every_path_of_a_document_exists() -> None:
    """Modules and tests that the pages name by their path."""
    pages = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]
    pattern = r"`((?:src|tests|scripts|benchmarks)/[\w/.]+\.py)"
    named = {(page.name, path) for page in pages for path in re.findall(pattern, page.read_text())}
    assert not sorted(one for one in named if not (ROOT / one[1]).exists())


def class_of(path: str, name: str) -> ast.ClassDef:
    tree = ast.parse((PACKAGE / path).read_text())
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


@pytest.mark.parametrize(("path", "name"), [("widgets/main.py", "SeganyWidget"), ("layers/binding.py", "Binding")])
def test_the_classes_that_hold_everything_together_stay_small(path: str, name: str) -> None:
    found = class_of(path, name)
    bases = {base.id for base in found.bases if isinstance(base, ast.Name)}
    methods = [node.name for node in found.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert found.end_lineno - found.lineno + 1 < 250
    assert len(methods) < 20, methods
    # what is inherited would only hide the lines
    assert bases <= {"QWidget"}, bases


NOT_NAPARIS = {("region.py", "chunks")}
"""Looked for on other objects than napari's: arrays that may have chunks."""
ASKS = {"compat.py", "proxies.py"}
"""Modules that may look whether napari has something; `proxies` takes its wrappers off, whatever the version."""


def sniffing(tree: ast.AST) -> set[str]:
    """What a module looks for: attributes that may be missing, modules that may be, versions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            given = [one.value if isinstance(one, ast.Constant) else ast.unparse(one) for one in node.args]
            if node.func.id == "hasattr" or (node.func.id == "getattr" and len(given) == 3):
                found.add(str(given[1]))
        if isinstance(node, ast.ExceptHandler) and node.type is not None and "ImportError" in ast.unparse(node.type):
            found.add("ImportError")
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node).endswith(("__version__", "napari.version")):
            found.add("__version__")
    return found


@pytest.mark.parametrize("room", ["layers", "widgets"])
def test_one_module_knows_the_versions_of_napari(room: str) -> None:
    # qtpy's versions are no napari's
    others = [path for path in (PACKAGE / room).rglob("*.py") if path.name not in ASKS | {"qt_versions.py"}]
    found = {(path.name, what) for path in others for what in sniffing(ast.parse(path.read_text()))}
    assert not sorted(found - NOT_NAPARIS)


def test_sniffing_is_noticed() -> None:
    text = "hasattr(layer, 'units')\ngetattr(viewer, 'scene', 0)\nnapari.__version__\ngetattr(layer, name)\n"
    text += "try:\n    import napari.later\nexcept (ImportError, KeyError):\n    pass\n"
    assert sniffing(ast.parse(text)) == {"units", "scene", "__version__", "ImportError"}
