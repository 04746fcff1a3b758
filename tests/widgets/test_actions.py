"""Every action by key, by the command palette and on the sheet; what was chosen is chosen again next time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from napari import Viewer
from npe2 import PluginManager

from napari_segany.widgets import commands, settings
from napari_segany.widgets.actions import ACTIONS
from napari_segany.widgets.main import SeganyWidget
from napari_segany.widgets.panels.key_sheet import KeySheet
from napari_segany.widgets.settings import DEFAULTS, Settings
from tests.widgets.conftest import Opened, run_command


def test_a_command_reaches_the_widget_of_its_window(opened: Opened) -> None:
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    commands.keep(opened.viewer)
    assert opened.widget.binding.labels.data[30, 40] == 1
    assert commands.docked(opened.viewer) is opened.widget


def test_commands_run_from_napari_with_its_viewer(opened: Opened) -> None:
    run_command("toggle_sign")
    assert opened.widget.prompt_box._negative


def test_the_sheet_lists_every_key(opened: Opened) -> None:
    opened.hand.press("slash")
    sheet = opened.widget.findChild(KeySheet)
    assert sheet.isVisible()
    text = " ".join(label.text() for label in sheet.findChildren(type(opened.widget.status_box._text)))
    assert all(action.title in text and f"<b>{action.key}</b>" in text for action in ACTIONS.values())
    opened.hand.press("slash")
    assert not sheet.isVisible()


def test_objects_are_walked_through_and_deleted_under_the_cursor(opened: Opened) -> None:
    widget = opened.widget
    for place in ((15, 15), (40, 60)):
        opened.hand.click(*place)
        opened.wait_for_mask()
        opened.hand.press("k")
    labels = widget.binding.labels
    opened.hand.press("period")
    first = labels.selected_label
    opened.hand.press("period")
    assert {first, labels.selected_label} == {1, 2}
    opened.hand.press("comma")
    assert labels.selected_label == first
    # the picture was moved to the object
    opened.viewer.reset_view()
    opened.hand.draw()
    opened.hand.move(40, 60)
    opened.hand.press("w")
    assert not (labels.data == 2).any()
    assert (labels.data == 1).any()
    assert widget.session.history.undo_name == "delete"
    widget.binding.undo()
    assert labels.data[40, 60] == 2
    opened.hand.move(2, 2)
    opened.hand.press("w")
    assert "no object under the cursor" in opened.text


def test_the_brush_paints_a_prompt_and_rubs_it_out(opened: Opened) -> None:
    widget = opened.widget
    widget.prompt_box.take("Brush")
    opened.hand.drag((20, 20), (20, 50))
    opened.wait_for_mask()
    prompt = widget.session.prompt
    assert prompt.mask[20, 35]
    painted = prompt.mask.sum()
    opened.hand.press("n")
    assert widget.binding.preview.layer.mode == "erase"
    opened.hand.drag((20, 42), (20, 60))
    opened.hand.qtbot.waitUntil(lambda: not widget.session.waiting)
    assert widget.session.prompt.mask.sum() != painted
    assert not widget.session.prompt.mask[20, 50]
    widget.discard()
    assert widget.binding.preview.layer.mode == "paint", "the next object begins with what lies on it"


def test_what_was_chosen_is_chosen_next_time(
    make_napari_viewer: Callable[..., Viewer], sessions: Path, tmp_path: Path
) -> None:
    first = SeganyWidget(make_napari_viewer())
    assert {name: first.settings.get(name) for name in DEFAULTS} == dict(DEFAULTS)
    first.act("toggle_hint")
    first.prompt_box._overwrite.setChecked(True)
    first.export_box.choose("geojson")
    first.close_session()
    first.deleteLater()
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert kept == {"hint": False, "overwrite": True, "export": "geojson"}
    second = SeganyWidget(make_napari_viewer())
    assert not second.hover.enabled
    assert second.prompt_box.overwrite
    assert second.export_box.format == "geojson"
    second.close_session()
    second.deleteLater()


def test_damaged_settings_and_a_full_disk_harm_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"hint": "perhaps", "model": ')
    assert Settings().get("hint") is True
    file.write_text('{"hint": "perhaps", "overwrite": true}')
    assert Settings().get("hint") is True
    assert Settings().get("overwrite") is True

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    Settings().set("hint", False)
    assert Settings().get("hint") is True


def test_napari_keeps_them_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = SimpleNamespace(hint=False, model="tiny", overwrite=False, export="csv")
    monkeypatch.delenv(settings.FILE)
    monkeypatch.setattr(settings, "plugin_settings", lambda plugin, group: theirs)
    mine = Settings()
    assert mine.get("export") == "csv"
    mine.set("hint", True)
    assert theirs.hint is True


def test_the_real_settings_of_napari(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    theirs = pytest.importorskip("napari.settings")
    if not hasattr(theirs, "get_plugin_settings"):
        pytest.skip("this napari has no settings of plugins")
    monkeypatch.delenv(settings.FILE)
    monkeypatch.setattr(theirs, "_PLUGIN_SETTINGS", {})
    monkeypatch.setattr(theirs, "_CFG_PATH", str(tmp_path / "napari" / "settings.yaml"))
    PluginManager.instance().discover()
    mine = Settings()
    assert mine.get("hint") is True
    mine.set("hint", False)
    assert Settings().get("hint") is False
    assert "hint: false" in (tmp_path / "napari" / "napari-segany.yaml").read_text()
