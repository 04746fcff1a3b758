"""The package as it is installed: its public names and its manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_segany
from napari_segany.run.export import FORMATS


@pytest.mark.parametrize("name", napari_segany.__all__)
def test_public_names(name: str) -> None:
    assert getattr(napari_segany, name).__name__ == name
    assert name in dir(napari_segany)


def test_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = napari_segany.nothing


def test_the_widget_is_in_both_menus() -> None:
    manifest = PluginManifest.from_file(Path(napari_segany.__file__).with_name("napari.yaml"))
    (widget,) = manifest.contributions.widgets
    assert widget.display_name == "Segment Anything"
    (entry,) = manifest.contributions.menus["napari/layers/segment"]
    assert entry.command == widget.command


def test_the_manifest_is_linked_at_the_root() -> None:
    root = Path(__file__).parents[1] / "napari.yaml"
    assert root.resolve() == Path(napari_segany.__file__).with_name("napari.yaml").resolve()


def test_the_manifest_knows_every_format_of_exports() -> None:
    manifest = PluginManifest.from_file(Path(napari_segany.__file__).with_name("napari.yaml"))
    setting = manifest.contributions.configurations["desk"].properties["export"]
    assert setting.enum == list(FORMATS)
    assert setting.default in FORMATS
