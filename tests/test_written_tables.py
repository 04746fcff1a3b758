"""Keys, export formats and settings stand in one table each; all that is made from it agrees with it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from npe2 import PluginManifest

import napari_segany
from napari_segany.io.export import FORMATS, check_export
from napari_segany.widgets import commands
from napari_segany.widgets.actions import ACTIONS, OTHER_KEYS, key_titles
from napari_segany.widgets.settings import DEFAULTS, GROUP, SETTINGS

ROOT = Path(__file__).parents[1]
MANIFEST = PluginManifest.from_file(Path(napari_segany.__file__).with_name("napari.yaml"))


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_tables", ROOT / "scripts" / "write_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_written_from_the_tables_is_up_to_date(script: ModuleType) -> None:
    assert not script.outdated(), "run python scripts/write_tables.py"


def test_a_table_that_differs_is_noticed(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in (script.MANIFEST, script.PANEL):
        (tmp_path / path).parent.mkdir(parents=True)
        text = (ROOT / path).read_text("utf-8")
        (tmp_path / path).write_text(text.replace("Show the next candidate mask", "Show another"), "utf-8")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    assert script.outdated() == [script.MANIFEST, script.PANEL]
    script.write()
    assert not script.outdated()
    assert (tmp_path / script.MANIFEST).read_text("utf-8") == (ROOT / script.MANIFEST).read_text("utf-8")


def test_no_key_does_two_things() -> None:
    keys = [action.key for action in ACTIONS.values()]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & set(OTHER_KEYS)


def test_the_manifest_has_a_command_for_each_action() -> None:
    ours = {command.id: command for command in MANIFEST.contributions.commands}
    made = {name for name, command in ours.items() if "widgets.commands" in command.python_name}
    assert made == {f"napari-segany.{name}" for name in ACTIONS}
    for name, action in ACTIONS.items():
        command = ours[f"napari-segany.{name}"]
        assert command.title == f"{action.title}  ({action.key})"
        assert command.python_name == f"napari_segany.widgets.commands:{name}"
        assert getattr(commands, name).__name__ == name


def test_there_is_no_command_without_an_action() -> None:
    assert set(ACTIONS) <= set(dir(commands))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = commands.nothing


def test_the_keys_of_the_readme_are_in_the_table() -> None:
    rows = re.findall(r"(?m)^\| ([A-Z/][^|*]*) \|", (ROOT / "README.md").read_text("utf-8"))
    keys = {key for row in rows for key in row.split(", ") if len(key) == 1 or "+" in key}
    assert len(keys) > 8
    assert not keys - set(key_titles())


def test_the_manifest_says_the_same_of_settings() -> None:
    groups = getattr(MANIFEST.contributions, "configurations", None)
    if groups is None:
        pytest.skip("this npe2 knows no settings of plugins")
    kept = groups[GROUP].properties
    assert {name: setting.default for name, setting in kept.items()} == dict(DEFAULTS)
    assert {name: tuple(setting.enum or ()) for name, setting in kept.items()} == {
        name: setting.choices for name, setting in SETTINGS.items()
    }


def test_settings_and_the_manifest_offer_every_format() -> None:
    assert SETTINGS["export"].choices == tuple(FORMATS)
    assert SETTINGS["export"].default in FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_the_command_line_writes_every_ending_of_every_format(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: package)  # optional ones too
    for ending in FORMATS[name].endings:
        assert check_export(tmp_path / f"a{ending}", format=name) == name
        assert ending in FORMATS[check_export(tmp_path / f"a{ending}")].endings


@pytest.mark.parametrize("name", FORMATS)
def test_the_documentation_tells_of_every_format(name: str) -> None:
    one = FORMATS[name]
    assert f"| {one.title} |" in (ROOT / "docs" / "panel.md").read_text("utf-8")
