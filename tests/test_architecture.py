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


def function_lengths() -> dict[str, int]:
    """Lines of every function, its documentation included."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, kinds)
    }


def test_functions_are_short() -> None:
    lengths = sorted(function_lengths().values())
    assert lengths[len(lengths) // 2] <= 7
    assert lengths[len(lengths) * 9 // 10] <= 25


def test_no_function_is_long() -> None:
    assert not {name: lines for name, lines in function_lengths().items() if lines > 80}


def members_of_classes() -> dict[str, set[str]]:
    """What every class of the package has: methods, fields, and attributes that its methods set; bases included."""
    found: dict[str, set[str]] = {}
    bases: dict[str, list[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.ClassDef):
                continue
            names = {one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
            assigned = [one for one in ast.walk(node) if isinstance(one, ast.Assign | ast.AnnAssign)]
            for one in assigned:
                for target in one.targets if isinstance(one, ast.Assign) else [one.target]:
                    names |= {part.attr for part in ast.walk(target) if isinstance(part, ast.Attribute)}
                    names |= {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}
            found[node.name] = names
            bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
    for name, own in bases.items():
        found[name] |= set().union(*(found.get(base, set()) for base in own))
    return found


THEIRS = {"Labels", "Points", "Shapes", "Image"}
"""Classes of napari that the page names."""


def test_classes_and_methods_that_are_named_exist() -> None:
    members = members_of_classes()
    named = set(re.findall(r"\b([A-Z]\w*[a-z]\w*)\.(_?[a-z]\w*)\b", TEXT))
    named = {(owner, name) for owner, name in named if owner not in THEIRS and name not in ("md", "py")}
    assert len(named) > 40
    missing = [f"{owner}.{name}" for owner, name in named if name not in members.get(owner, ())]
    assert not sorted(missing)


def test_the_files_of_the_ten_changes_exist() -> None:
    section = TEXT.split("## Ten changes", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"(?m)^\| (?!change|-)([^|]+) \| (.+) \|$", section)
    assert len(rows) == 10
    for change, files in rows:
        paths = [path for path in re.findall(r"`([\w/.]+)`", files) if "/" in path]
        assert paths, change
        for path in paths:
            assert any((root / path).exists() for root in (ROOT, PACKAGE)), (change, path)


def test_there_is_one_fake_segmenter() -> None:
    """All segmenters of the tests are made from it, so that a change of the protocol is made once."""
    alone = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.bases:
                names = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
                if {"embed", "segment"} <= names:
                    alone.add((path.name, node.name))
    assert alone == {("fakes.py", "FakeSegmenter")}


def test_no_function_of_the_widget_is_held_by_its_own_signals() -> None:
    """Qt keeps a function that a signal is connected to, and all that it holds: the widget would never go."""
    tree = ast.parse((PACKAGE / "widgets" / "wiring.py").read_text())
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".connect")
    ]
    assert len(calls) > 20
    assert not [ast.unparse(call) for call in calls if not isinstance(call.args[0], ast.Attribute | ast.Name)]
