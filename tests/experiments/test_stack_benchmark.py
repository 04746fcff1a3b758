"""How objects of stacks are followed, and linked: figures that are known beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segany import cli
from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Point, Prompt
from napari_segany.experiments.datasets import labelled_volumes
from napari_segany.experiments.linking import rows_of_links
from napari_segany.experiments.stack_benchmark import StackEncoder, rows_of_stacks, stack_objects
from napari_segany.models import loading
from tests.fakes import FakeSegmenter, KnowingSegmenter


class PointSegmenter(FakeSegmenter):
    """Discs at points, or in the middle of boxes."""

    def _masks(self, shape: tuple[int, int], prompt: Prompt, candidates: int) -> list:
        box = prompt.box
        points = prompt.points or (() if box is None else (Point((box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2),))
        return super()._masks(shape, Prompt(points), candidates)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A disc of radius 10 on slices 3 to 8 of 12, another on all but the first."""
    rows, columns = np.indices((64, 96))
    labels = np.zeros((12, 64, 96), np.uint8)
    labels[3:9, (rows - 20) ** 2 + (columns - 20) ** 2 <= 100] = 4
    labels[1:, (rows - 40) ** 2 + (columns - 70) ** 2 <= 100] = 9
    tifffile.imwrite(tmp_path / "a_image.tif", np.where(labels, 200, 20).astype(np.uint8))
    tifffile.imwrite(tmp_path / "a_labels.tif", labels)
    return tmp_path


def test_objects_with_what_lies_beyond_their_ends(folder: Path) -> None:
    (volume,) = labelled_volumes(folder)
    one, other = stack_objects(volume.labels)
    assert (one.label, one.first, one.middle, one.extent) == (4, 1, 6, [3, 4, 5, 6, 7, 8])
    assert len(one.masks) == 10
    # no slice lies beyond the last one
    assert (other.label, other.first, len(other.masks)) == (9, 0, 12)
    assert [each.label for each in stack_objects(volume.labels, per_image=1)] in ([4], [9])


def test_copy_and_box_on_discs_that_do_not_change(folder: Path) -> None:
    rows = {(r["method"], r["first"]): r for r in rows_of_stacks(folder, lambda: PointSegmenter(radius=10))}
    assert set(rows) == {(method, first) for method in ("segany", "box", "copy") for first in ("truth", "click")}
    # 6 of 10 slices, and 11 of 12
    for first in ("truth", "click"):
        assert rows["copy", first]["miou"] == pytest.approx((6 / 10 + 11 / 12) / 2)
        assert rows["copy", first]["extent_iou"] == rows["copy", first]["slice_iou"] == 1
    # this model sees discs everywhere, also where there are none
    assert rows["box", "truth"]["miou"] == pytest.approx((6 / 10 + 11 / 12) / 2)
    assert rows["segany", "truth"]["slice_iou"] == 1
    assert rows["segany", "truth"]["n"] == 2
    assert rows["segany", "truth"]["slices_per_second"] > 0


def test_corrections_are_counted(folder: Path) -> None:
    rows = rows_of_stacks(folder, lambda: PointSegmenter(radius=10), corrections=3)
    found = {row["method"]: row["corrections80"] for row in rows if row["first"] == "truth"}
    # of the first disc slices 1, 3 and 9 are set right: .625, .75, then .83; the second is good as it is
    assert found["copy"] == pytest.approx(1.5)


def test_both_from_the_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = KnowingSegmenter([Point(20, 20), Point(40, 70)])
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: model)
    out = folder / "rows.json"
    assert cli.main(["bench", "link", "--data", str(folder), "--json", str(out)]) == 0
    given, own = json.loads(out.read_text())
    assert (given["labels"], given["links"], given["ap50"], given["n"], given["objects"]) == ("given", 1, 1, 15, 2)
    # the model sees both discs on all slices: 6 of 12 is an IoU of 0.5, 11 of 12 more
    assert (own["labels"], own["links"], own["ap50"], own["objects"]) == ("own", 1, 1, 2)
    assert cli.main(["bench", "stack", "--data", str(folder), "--json", str(out), "--per-image", "1"]) == 0
    assert {row["n"] for row in json.loads(out.read_text())} == {1}
    # the second disc is on slice 1 too, the first one begins on slice 3
    assert cli.main(["bench", "link", "--data", str(folder), "--json", str(out), "--given-only", "--first", "2"]) == 0
    (given,) = json.loads(out.read_text())
    assert (given["links"], given["n"]) == (1, 14)


def test_planes_are_encoded_once_and_charged_to_all_who_ask() -> None:
    segmenter = FakeSegmenter()
    embed = StackEncoder(segmenter, Stack(np.zeros((3, 8, 8), np.uint8)))
    embed(0)
    embed.seconds[0] = 50.0
    found, seconds = embed.timed(lambda: {embed(z).shape[0]: {} for z in (0, 0, 1)})
    assert found == {8: {}}
    assert 50 < seconds < 60
    assert embed.requested == {0, 1}
    assert sorted(embed.seconds) == [0, 1]


def test_a_movie_and_slices_with_classes(tmp_path: Path) -> None:
    frame = np.zeros((32, 32), np.uint8)
    frame[4:12, 4:12] = 5
    for kind in ("images", "labels_auto"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            Image.fromarray(frame).save(tmp_path / kind / f"{number}.png")
    (volume,) = labelled_volumes(tmp_path)
    assert volume.labels.shape == (3, 32, 32)
    (row,) = rows_of_links(tmp_path, FakeSegmenter, given_only=True)
    assert (row["links"], row["n"]) == (1, 2)
    (tmp_path / "labels_auto").rename(tmp_path / "labels_bits")
    (tmp_path / "classes.json").write_text('{"4": "mitochondrion"}')
    (volume,) = labelled_volumes(tmp_path)
    assert sorted(np.unique(volume.labels)) == [0, 1]


def test_what_holds_no_stack(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="holds no stack"):
        rows_of_links(tmp_path / "nowhere", FakeSegmenter, given_only=True)
    tifffile.imwrite(folder / "a_labels.tif", np.zeros((12, 64, 96), np.uint8))
    with pytest.raises(InputError, match="no object on 5 slices"):
        rows_of_stacks(folder, FakeSegmenter)
    with pytest.raises(InputError, match="two neighbouring slices"):
        rows_of_links(folder, FakeSegmenter, given_only=True)
