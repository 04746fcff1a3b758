"""Models of other packages: found by their entry points, used like ours, and refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany.core.automatic_masks import Grid
from napari_segany.core.errors import ModelError
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.propagate import propagate
from napari_segany.core.query import Query
from napari_segany.models.loading import load_segmenter
from napari_segany.models.registry import find, list_models
from napari_segany.models.weight_check import check_model

EXAMPLE = Path(__file__).parent / "flood_segmenter.py"
PAGE = Path(__file__).parents[2] / "docs" / "bring-your-own-model.md"


def installed(folder: Path, entries: str, module: str = "", name: str = "their_models") -> Path:
    """A package as pip leaves it."""
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.2\nLicense-Expression: MIT\n")
    (info / "entry_points.txt").write_text(f"[napari_segany.segmenters]\n{entries}\n")
    (folder / f"{name}.py").write_text(module or EXAMPLE.read_text())
    return folder


@pytest.fixture
def flooding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = installed(tmp_path / "packages", "flood = their_models:load")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "their_models", raising=False)
    return folder


@pytest.fixture
def plane() -> np.ndarray:
    found = np.full((40, 60, 3), 30, np.uint8)
    found[10:20, 15:35] = 200
    return found


def test_the_page_shows_the_example() -> None:
    assert f"```python\n{EXAMPLE.read_text()}```" in PAGE.read_text()
    assert len(EXAMPLE.read_text().splitlines()) <= 50


def test_it_is_used_by_its_name(flooding, plane) -> None:
    segmenter = load_segmenter("flood", "cpu")
    masks = segmenter.segment(segmenter.embed(plane), [Prompt((Point(15, 20),))])[0]
    assert len(masks) == 3
    assert masks[0].pixels.sum() == 200
    spec = find("flood")
    assert (spec.package, spec.licence, spec.size, spec.installed) == (
        "their_models 1.2", "MIT", "in their_models 1.2", True,
    )  # fmt: skip
    assert [one.name for one in list_models()][:2] == ["tiny", "flood"]
    assert find("flood-0123abcd") == spec, "as sessions record one whose name ends in a hash"
    with pytest.raises(ModelError, match="clicks only"):
        segmenter.segment(segmenter.embed(plane), [Prompt(box=Box(1, 2, 9, 9))])


def test_automatic_masks_and_stacks(flooding, plane) -> None:
    segmenter = load_segmenter("flood", "cpu")
    assert len(Query(Grid(8)).candidates(segmenter, plane)) > 0

    class Planes:
        plane_shape = (40, 60)

        def __len__(self) -> int:
            return 3

        def plane(self, number: int) -> np.ndarray:
            return plane

    known = {0: {1: plane[..., 0] > 100}}
    found = {number: masks for number, masks, _ in propagate(segmenter, Planes(), known)}
    assert set(found) == {1, 2}


def test_on_the_command_line(flooding, plane, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "plane.tif", plane, photometric="rgb")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(flooding), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "napari_segany"]
    given = [
        "segment",
        str(tmp_path / "plane.tif"),
        "-o",
        str(tmp_path / "out.tif"),
        "--model",
        "flood",
        "--point",
        "15,20",
    ]
    done = subprocess.run([*command, *given], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tifffile.imread(tmp_path / "out.tif") > 0).sum() == 200
    listed = subprocess.run([*command, "models", "list"], env=environment, capture_output=True, text=True, check=True)
    assert "in their_models 1.2" in listed.stdout
    info = subprocess.run(
        [*command, "models", "info", "flood"], env=environment, capture_output=True, text=True, check=True
    )
    assert "their_models 1.2" in info.stdout


def test_a_model_of_this_package_is_not_replaced(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(installed(tmp_path, "tiny = their_models:load\nvit_b = their_models:load"))
    assert not find("tiny").package
    assert not find("vit_b").package
    assert load_segmenter("tiny", "cpu").name == "tiny"


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("def other(device): pass", "AttributeError"),
        ("def load(device):\n    raise ValueError('first\\nsecond')", "ValueError: first second"),
        ("def load(device): return 7", "is no Segmenter: it lacks name, capabilities, embed, segment"),
        (
            "class A:\n    name, capabilities = 'a', None\n    embed = segment = None\ndef load(device): return A()",
            "name or capabilities are of another type",
        ),
    ],
)
def test_one_that_cannot_be_used_is_one_line(tmp_path, monkeypatch, module, line) -> None:
    monkeypatch.syspath_prepend(installed(tmp_path, "theirs = broken:load", module, "broken"))
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    with pytest.raises(ModelError, match=line) as caught:
        load_segmenter("theirs", "cpu")
    assert "\n" not in str(caught.value)
    assert "broken 1.2" in str(caught.value)


def test_weights_of_other_packages_are_not_checked(flooding, plane) -> None:
    with pytest.raises(ModelError, match="model of their_models"):
        check_model("flood", plane, plane[..., 0] // 100, "cpu")
