"""Sets in the layout of SA-1B: written, read back, and measured. Right values are worked out by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from PIL import Image
from pycocotools import mask as coco

from napari_segany.batch.sa1b_dataset import draw_dataset, make_dataset, read_dataset, report_dataset
from napari_segany.core.errors import InputError
from napari_segany.io.formats.mask_statistics import concavity
from napari_segany.io.formats.rle import to_rle
from napari_segany.io.labels import read_labels
from napari_segany.session.events import LayerEvent, ModelEvent
from napari_segany.session.fingerprint import fingerprint_of
from napari_segany.session.history import Patch, Step
from napari_segany.session.journal import Header, Journal
from tests.filling import few_labels

# A square of 4 x 4 pixels, and one that lacks its lower right quarter.
TWO = np.zeros((10, 10), np.uint16)
TWO[0:4, 0:4], TWO[6:10, 6:10] = 1, 7
TWO[8:10, 8:10] = 0
FULL = np.ones((10, 10), np.uint16)


def labelled(folder: Path, **labels: np.ndarray) -> Path:
    """images/ and labels/, as a user has them."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for name, one in labels.items():
        Image.fromarray(np.full(one.shape, 99, np.uint8)).save(folder / "images" / f"{name}.png")
        tifffile.imwrite(folder / "labels" / f"{name}.tif", one)
    return folder


def sa1b(folder: Path, *masks: np.ndarray, **more: Any) -> Path:
    """One image as SA-1B has it, its masks numbered as there."""
    folder.mkdir()
    height, width = masks[0].shape
    annotations = [{"id": 524_000_000 + k, "segmentation": to_rle(mask)} | more for k, mask in enumerate(masks)]
    image = {"image_id": 4, "height": height, "width": width, "file_name": "sa_4.jpg"}
    (folder / "sa_4.json").write_text(json.dumps({"image": image, "annotations": annotations}))
    return folder


def square(y: int, x: int, size: int = 4) -> np.ndarray:
    mask = np.zeros((10, 10), bool)
    mask[y : y + size, x : x + size] = True
    return mask


class TestMake:
    def test_all_that_sa1b_says(self, tmp_path: Path) -> None:
        folder = labelled(tmp_path / "set", a=TWO, b=FULL)
        (folder / "labels" / "a_objects.csv").write_text("label,score,stability\n1,0.5,0.25\n7,,\n")
        out = tmp_path / "out"
        assert [(one.name, one.masks) for one in make_dataset(folder, out)] == [("a", 2), ("b", 1)]
        assert sorted(path.name for path in out.iterdir()) == ["a.json", "a.png", "b.json", "b.png"]
        assert (out / "a.png").read_bytes() == (folder / "images" / "a.png").read_bytes()
        content = json.loads((out / "a.json").read_text())
        assert content["image"] == {"image_id": 1, "width": 10, "height": 10, "file_name": "a.png"}
        assert json.loads((out / "b.json").read_text())["image"]["image_id"] == 2
        first, second = content["annotations"]
        # down the columns: four of the object, six of background, and so on
        runs = {"size": [10, 10], "counts": [0, 4, 6, 4, 6, 4, 6, 4, 66]}
        assert first == {
            "id": 1,
            "segmentation": {"size": [10, 10], "counts": coco.frPyObjects(runs, 10, 10)["counts"].decode()},
            "bbox": [0, 0, 4, 4],
            "area": 16,
            "predicted_iou": 0.5,
            "stability_score": 0.25,
            "crop_box": [0, 0, 10, 10],
            "point_coords": [[1.0, 1.0]],
        }
        assert (second["id"], second["area"], second["bbox"]) == (7, 12, [6, 6, 4, 4])
        assert (second["predicted_iou"], second["stability_score"]) == (None, None)
        ((x, y),) = second["point_coords"]
        assert TWO[int(y), int(x)] == 7

    @settings(deadline=None, max_examples=20)
    @given(few_labels)
    def test_there_and_back(self, tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray) -> None:
        tmp_path = tmp_path_factory.mktemp("set")
        folder = labelled(tmp_path / "set", a=labels.astype(np.uint16))
        make_dataset(folder, tmp_path / "out")
        read_dataset(tmp_path / "out", tmp_path / "back")
        np.testing.assert_array_equal(read_labels(tmp_path / "back" / "labels" / "a.tif"), labels)
        make_dataset(tmp_path / "back", tmp_path / "again")
        assert (tmp_path / "again" / "a.json").read_text() == (tmp_path / "out" / "a.json").read_text()

    def test_scores_come_back(self, tmp_path: Path) -> None:
        folder = labelled(tmp_path / "set", a=TWO)
        (folder / "labels" / "a_objects.csv").write_text("label,score,stability\n1,0.5,0.25\n7,0.75,\n")
        make_dataset(folder, tmp_path / "out")
        read_dataset(tmp_path / "out", tmp_path / "back")
        make_dataset(tmp_path / "back", tmp_path / "again")
        assert (tmp_path / "again" / "a.json").read_text() == (tmp_path / "out" / "a.json").read_text()

    @pytest.mark.parametrize(
        ("change", "line"),
        [
            (lambda folder: (folder / "labels" / "a.tif").rename(folder / "labels" / "b.tif"), "no partner"),
            (lambda folder: (folder / "labels" / "a.tif").unlink(), "labels holds no image file"),
            (lambda folder: (folder / "labels").rename(folder / "masks"), "holds no folder labels/"),
            (lambda folder: tifffile.imwrite(folder / "labels" / "a.tif", TWO[1:]), r"shape \(9, 10\)"),
            (lambda folder: tifffile.imwrite(folder / "labels" / "a.tif", np.stack([TWO, TWO])), "a single plane"),
            (lambda folder: (folder / "labels" / "a.tif").write_bytes(b"II*\0 torn"), "cannot read"),
            (lambda folder: Image.fromarray(TWO.astype(np.uint8)).save(folder / "labels" / "a.png"), "of one name"),
            (lambda folder: (folder / "labels" / "a_objects.csv").write_text("a,b\n1,2\n"), "no table of objects"),
            (lambda folder: (folder.parent / "out").write_text("mine"), "exists"),
        ],
    )
    def test_what_does_not_fit_writes_nothing(
        self, tmp_path: Path, change: Callable[[Path], object], line: str
    ) -> None:
        folder = labelled(tmp_path / "set", a=TWO)
        change(folder)
        files = sorted(tmp_path.iterdir())
        refused(lambda: make_dataset(folder, tmp_path / "out"), line)
        assert sorted(tmp_path.iterdir()) == files

    def test_a_folder_that_holds_something_stays(self, tmp_path: Path) -> None:
        folder = labelled(tmp_path / "set", a=TWO)
        refused(lambda: make_dataset(folder, folder), "exists")
        refused(lambda: make_dataset(folder, folder / "out"), "would be written into")
        refused(lambda: make_dataset(tmp_path / "gone", tmp_path / "out"), "holds no folder images/")
        (tmp_path / "out").mkdir()
        make_dataset(folder, tmp_path / "out")
        refused(lambda: make_dataset(folder, tmp_path / "out"), "exists")


class TestRead:
    def test_the_smaller_of_overlapping_masks_keeps_the_pixels(self, tmp_path: Path) -> None:
        folder = sa1b(tmp_path / "set", square(2, 2, 3), square(0, 0, 8), square(2, 2, 3))
        (one,) = read_dataset(folder, tmp_path / "out")
        assert (one.masks, one.lost, one.shared) == (3, 1, 9)
        labels = read_labels(tmp_path / "out" / "labels" / "sa_4.tif")
        assert np.unique(labels, return_counts=True)[1].tolist() == [36, 55, 9]
        assert labels[0, 0] == 524_000_001

    @pytest.mark.parametrize("ids", [["a", "b"], [0, 1], [5, 5], [2**32, 1]])
    def test_ids_that_are_no_labels(self, tmp_path: Path, ids: list[Any]) -> None:
        path = sa1b(tmp_path / "set", square(0, 0), square(5, 5)) / "sa_4.json"
        content = json.loads(path.read_text())
        for one, name in zip(content["annotations"], ids, strict=True):
            one["id"] = name
        path.write_text(json.dumps(content))
        read_dataset(tmp_path / "set", tmp_path / "out")
        assert np.unique(read_labels(tmp_path / "out" / "labels" / "sa_4.tif")).tolist() == [0, 1, 2]

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ("", "no file of SA-1B"),
            ("[1]", "no file of SA-1B"),
            ('{"image": {"height": 10, "width": 10}}', "no file of SA-1B"),
            ('{"image": {"height": 10, "width": 10}, "annotations": [{"id": 1}]}', "annotation 1"),
            (
                '{"image": {"height": 9, "width": 10}, "annotations": [{"id": 1, "segmentation": '
                '{"size": [10, 10], "counts": [0, 100]}}]}',
                "annotation 1: a mask of shape",
            ),
            (
                '{"image": {"height": 10, "width": 10}, "annotations": [{"id": 1, "segmentation": '
                '{"size": [10, 10], "counts": [100]}}]}',
                "annotation 1: the mask has no pixel",
            ),
            (
                '{"image": {"height": 10, "width": 10}, "annotations": [{"id": 1, "segmentation": '
                '{"size": [10, 10], "counts": [99]}}]}',
                "does not fill",
            ),
        ],
    )
    def test_bad_files_are_one_line(self, tmp_path: Path, content: str, line: str) -> None:
        folder = sa1b(tmp_path / "set", square(0, 0))
        (folder / "sa_4.json").write_text(content)
        refused(lambda: read_dataset(folder, tmp_path / "out"), line)
        assert not (tmp_path / "out").exists()

    def test_no_set(self, tmp_path: Path) -> None:
        refused(lambda: read_dataset(tmp_path, tmp_path / "out"), "holds neither")
        refused(lambda: read_dataset(tmp_path / "gone", tmp_path / "out"), "there is no folder")


class TestReport:
    @pytest.mark.parametrize("layout", ["labels", "sa1b"])
    def test_by_hand(self, tmp_path: Path, layout: str) -> None:
        folder = labelled(tmp_path / "set", a=TWO, b=FULL)
        if layout == "sa1b":
            make_dataset(folder, tmp_path / "out")
            folder = tmp_path / "out"
        rows = {row.pop("what"): row for row in report_dataset(folder)}
        assert rows["images"] == {"n": 2}
        assert rows["masks per image"] == {"n": 2, "mean": 1.5, "median": 1.5, "min": 1.0, "max": 2.0}
        # of 16, 12 and 100 of 100 pixels
        sizes = [0.4, math.sqrt(0.12), 1.0]
        assert rows["relative mask size"]["mean"] == pytest.approx(np.mean(sizes))
        assert (rows["relative mask size"]["min"], rows["relative mask size"]["max"]) == (pytest.approx(sizes[1]), 1.0)
        # the hull of the square that lacks a quarter is the square without a triangle of 2: 14
        hollow = pytest.approx(1 - 12 / 14)
        assert (rows["concavity"]["median"], rows["concavity"]["max"]) == (0.0, hollow)
        assert rows["concavity"]["mean"] == pytest.approx((1 - 12 / 14) / 3)
        assert rows["overlap"]["max"] == 0
        # centroids at 0.2, 0.767 and 0.5 of the sides
        expected = np.zeros((8, 8))
        expected[1, 1] = expected[6, 6] = expected[4, 4] = 1 / 3
        np.testing.assert_allclose(rows["centres"]["heat_map"], expected)

    def test_overlap(self, tmp_path: Path) -> None:
        rows = {row["what"]: row for row in report_dataset(sa1b(tmp_path / "set", square(0, 0), square(2, 2)))}
        # 4 of 28 pixels
        assert rows["overlap"]["mean"] == pytest.approx(1 / 7)

    def test_against(self, tmp_path: Path) -> None:
        other, full = TWO.copy(), FULL.copy()
        other[0, 0:3] = 0
        full[0, 0:9] = 0
        folder = labelled(tmp_path / "set", a=TWO, b=FULL)
        against = labelled(tmp_path / "other", a=np.where(other == 7, 3, other), b=full)
        rows = {row["what"]: row for row in report_dataset(folder, against)}
        # 13 of 16 pixels, all of 12, 91 of 100
        assert rows["IoU"]["mean"] == pytest.approx((13 / 16 + 1 + 0.91) / 3)
        assert (rows["IoU"]["n"], rows["IoU"]["others"]) == (3, 3)
        assert rows["IoU above 0.9"] == {"what": "IoU above 0.9", "n": 3, "share": pytest.approx(2 / 3)}
        assert rows["IoU above 0.75"]["share"] == 1

    def test_each_of_the_others_is_the_partner_of_one(self, tmp_path: Path) -> None:
        folder = sa1b(tmp_path / "set", square(0, 0), square(0, 0), square(6, 6))
        against = sa1b(tmp_path / "other", square(0, 0))
        rows = {row["what"]: row for row in report_dataset(folder, against)}
        assert (rows["IoU"]["mean"], rows["IoU above 0.9"]["share"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))

    def test_against_other_images(self, tmp_path: Path) -> None:
        folder = labelled(tmp_path / "set", a=TWO, b=FULL)
        refused(lambda: report_dataset(folder, labelled(tmp_path / "c", a=TWO)), "no annotation of b")
        refused(lambda: report_dataset(labelled(tmp_path / "d", a=TWO), folder), "no annotation of b")
        refused(lambda: report_dataset(folder, labelled(tmp_path / "e", a=TWO[1:], b=FULL)), "has the shape")

    def test_without_a_mask(self, tmp_path: Path) -> None:
        folder = labelled(tmp_path / "set", a=np.zeros((4, 4), np.uint16))
        rows = {row["what"]: row for row in report_dataset(folder, folder)}
        assert rows["masks per image"]["mean"] == 0
        assert rows["concavity"] == {"what": "concavity", "n": 0}
        assert np.sum(rows["centres"]["heat_map"]) == 0
        assert json.dumps(list(rows.values()), allow_nan=False)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 4)])
    def test_rectangles_are_convex(self, shape: tuple[int, int]) -> None:
        assert concavity(np.ones(shape, bool)) == pytest.approx(0)


def refused(call: Callable[[], object], line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        call()
    assert "\n" not in str(error.value)


class TestPicture:
    def test_a_picture_of_a_set(self, tmp_path: Path) -> None:
        folder = labelled(tmp_path / "set", a=TWO, b=FULL)
        draw_dataset(folder, tmp_path / "set.svg")
        text = (tmp_path / "set.svg").read_text()
        root = ET.fromstring(text)
        masks = sum(row["n"] for row in report_dataset(folder) if row["what"] == "relative mask size")
        assert f"2 images, {masks} masks" in text
        assert len(root) > 3 * 20 + 64

    def test_nothing_is_replaced_by_a_picture(self, tmp_path: Path) -> None:
        folder = labelled(tmp_path / "set", a=TWO)
        (tmp_path / "mine.svg").write_text("mine")
        refused(lambda: draw_dataset(folder, tmp_path / "mine.svg"), "exists")
        refused(lambda: draw_dataset(folder, tmp_path / "set.png"), "is an .svg")
        refused(lambda: draw_dataset(tmp_path / "gone", tmp_path / "a.svg"), "gone")
        assert (tmp_path / "mine.svg").read_text() == "mine"
        assert not (tmp_path / "a.svg").exists()

    @pytest.mark.parametrize("shape", [(6, 8), (3, 6, 8)])
    def test_the_labels_of_a_session(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        labels = np.zeros(shape, np.int32)
        labels[..., 1:3, 1:3], labels[..., 4:6, 4:8] = 1, 2
        image = np.zeros(shape, np.uint8)
        header = Header("1", ModelEvent("tiny", "x"), fingerprint_of(image))
        journal = Journal.create(tmp_path / "a.jsonl", header)
        journal.write(LayerEvent(1, "labels", shape, "<i4"))
        journal.write(Step("keep all", ((1, Patch.between(np.zeros_like(labels), labels)),), label=1))
        journal.close()
        rows = {row["what"]: row for row in report_dataset(tmp_path / "a.jsonl")}
        images = math.prod(shape[:-2])
        assert rows["images"]["n"] == images
        assert rows["masks per image"]["mean"] == 2
        assert rows["relative mask size"]["max"] == pytest.approx(math.sqrt(8 / 48))
