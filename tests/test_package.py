"""The package as it is installed: its public names and its manifest."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from npe2 import PluginManifest
from packaging.requirements import Requirement

import napari_segany


@pytest.mark.parametrize("name", napari_segany.__all__)
def test_public_names(name: str) -> None:
    assert getattr(napari_segany, name).__name__ == name
    assert name in dir(napari_segany)


def test_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = napari_segany.nothing


def test_the_widget_is_in_both_menus() -> None:
    manifest = PluginManifest.from_file(Path(napari_segany.__file__).with_name("napari.yaml"))
    # a single one: the menu of plugins opens it at once
    (widget,) = manifest.contributions.widgets
    assert widget.display_name == "Segment Anything"
    menus = manifest.contributions.menus
    assert set(menus) == {f"napari/layers/{name}" for name in ("segment", "annotate", "track", "measure")}
    assert menus["napari/layers/segment"][0].command == widget.command
    assert menus["napari/layers/measure"][0].command == "napari-segany.measurements"
    known = {command.id for command in manifest.contributions.commands}
    assert {entry.command for entries in menus.values() for entry in entries} <= known


def test_the_manifest_is_linked_at_the_root() -> None:
    root = Path(__file__).parents[1] / "napari.yaml"
    assert root.resolve() == Path(napari_segany.__file__).with_name("napari.yaml").resolve()


ROOT = Path(__file__).parents[1]


def test_the_recipe_needs_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "recipe" / "recipe.yaml").read_text()
    needed = yaml.safe_load(text)["requirements"]["run"]
    renamed = {"torch": "pytorch", "dask": "dask-core", "matplotlib": "matplotlib-base"}
    wanted = {renamed.get(one.name, one.name): str(one.specifier) for one in map(Requirement, project["dependencies"])}
    assert dict((*one.split(maxsplit=1), "")[:2] for one in needed if not one.startswith("python ")) == wanted


def test_links_on_the_package_index_are_absolute() -> None:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    text = hook.absolute((ROOT / "README.md").read_text(), "https://example.org/here")
    assert (
        "![Nuclei segmented by clicks and boxes, in napari](https://example.org/here/raw/main/docs/images/demo.png)"
        in text
    )
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 5
    assert all(link.startswith("https://") for link in links)
    for path in re.findall(r"https://example.org/here/(?:raw|blob)/main/([^)#]+)", text):
        assert (ROOT / path).exists(), path


def test_the_address_of_the_repository_stands_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    address = project["urls"]["Repository"].removeprefix("https://")
    found = [
        path
        for path in ROOT.rglob("*")
        if path.suffix in (".md", ".toml", ".cff", ".yaml") and ".venv" not in path.parts
    ]
    holding = [path.name for path in found if ".tox" not in path.parts and address in path.read_text(errors="replace")]
    assert holding == ["pyproject.toml"]
