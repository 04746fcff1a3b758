"""Boxes of detectors become prompts: the same places, cut to the picture, with what the detector said of them."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile
from PIL import Image

from napari_segany.batch.propagate_file import propagate_file
from napari_segany.batch.segment_file import SegmentJob, segment_file
from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.prompts import Box
from napari_segany.io.detections import Detection, read_detections
from napari_segany.io.export import export_labels
from napari_segany.io.images import ImageFile
from napari_segany.io.labels import read_labels
from tests.fakes import FakeSegmenter

SIXTY_BY_NINETY = ImageFile(np.zeros((60, 90), np.uint8), "yx", (1.0, 1.0))
STACK = ImageFile(np.zeros((4, 60, 90), np.uint8), "zyx", (1.0, 1.0, 1.0))
# pixels 20..29 across and 10..14 down, in each format
PIXELS = Box(9.5, 19.5, 14.5, 29.5)


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def rois(folder: Path, *regions: roifile.ImagejRoi) -> Path:
    path = folder / "found.zip"
    for number, roi in enumerate(regions):
        roi.name = roi.name or f"r{number}"
    roifile.roiwrite(path, list(regions), mode="w")
    return path


def rectangle(top: int, left: int, bottom: int, right: int, **more: Any) -> roifile.ImagejRoi:
    roi = roifile.ImagejRoi(top=top, left=left, bottom=bottom, right=right)
    roi.roitype = roifile.ROI_TYPE.RECT
    for name, value in more.items():
        setattr(roi, name, value)
    return roi


def coco(*bboxes: Any, **more: Any) -> dict[str, Any]:
    annotations = [{"id": k, "image_id": 1, "category_id": 2, "bbox": bbox} for k, bbox in enumerate(bboxes)]
    images = [{"id": 1, "file_name": "image.png", "width": 90, "height": 60}]
    return {"images": images, "annotations": annotations, "categories": [{"id": 2, "name": "cell"}]} | more


class TestFormats:
    def test_coco(self, tmp_path: Path) -> None:
        content = coco([20, 10, 10, 5])
        content["annotations"][0] |= {"score": 0.75, "label": 5}
        (one,) = read_detections(written(tmp_path, "a.json", content), SIXTY_BY_NINETY, "image.png")
        assert one == Detection(PIXELS, "annotation 1", None, None, 0.75, "cell")

    @pytest.mark.parametrize("columns", ["x,y,width,height\n20,10,10,5", "Y0, X0,y1,x1\n9.5,19.5,14.5,29.5"])
    def test_tables(self, tmp_path: Path, columns: str) -> None:
        (one,) = read_detections(written(tmp_path, "a.csv", f"{columns}\n"), SIXTY_BY_NINETY)
        assert one == Detection(PIXELS, "row 1")

    def test_all_columns(self, tmp_path: Path) -> None:
        text = "label,x,y,width,height,score,class,z,name\n7,20,10,10,5,0.5,cell,3,Anna\n7,20,10,10,5,,,1,\n"
        first, second = read_detections(written(tmp_path, "a.csv", text), STACK)
        assert first == Detection(PIXELS, "row 1", 3, 7, 0.5, "cell", "Anna")
        assert second == Detection(PIXELS, "row 2", 1, 7)

    def test_rectangles_and_other_regions(self, tmp_path: Path) -> None:
        polygon = roifile.ImagejRoi.frompoints(np.array([[20, 10], [30, 12], [24, 15]], np.int32))
        oval = rectangle(10, 20, 15, 30, roitype=roifile.ROI_TYPE.OVAL)
        path = rois(tmp_path, rectangle(10, 20, 15, 30, props="score: 0.5\nclass: cell\n"), polygon, oval)
        found = read_detections(path, SIXTY_BY_NINETY)
        assert [one.box for one in found] == [PIXELS] * 3
        assert (found[0].score, found[0].class_name) == (0.5, "cell")

    def test_regions_in_parts_of_a_pixel(self, tmp_path: Path) -> None:
        polygon = roifile.ImagejRoi.frompoints(np.array([[20.25, 10.5], [30, 12], [24, 15.5]], np.float32))
        (one,) = read_detections(rois(tmp_path, polygon), SIXTY_BY_NINETY)
        assert one.box == Box(10, 19.75, 15, 29.5)

    def test_a_list_of_results(self, tmp_path: Path) -> None:
        results = [{"image_id": 3, "category_id": 1, "bbox": [20, 10, 10, 5], "score": 0.25}]
        (one,) = read_detections(written(tmp_path, "a.json", results), SIXTY_BY_NINETY, "image.png")
        assert one == Detection(PIXELS, "annotation 1", None, None, 0.25, "1")

    @pytest.mark.parametrize("ending", [".json", ".zip"])
    def test_own_exports_come_back(self, tmp_path: Path, ending: str) -> None:
        labels = np.zeros((4, 60, 90), np.uint16)
        labels[1, 10:15, 20:30], labels[2, 10:15, 20:30], labels[3, 0:2, 0:2] = 5, 5, 2
        about = [ObjectInfo(5, "Anna", "cell", 0.5)]
        path = export_labels(labels, tmp_path / f"a{ending}", objects=about, image_name="stack.tif")
        found = read_detections(path, STACK, "stack.tif")
        assert [(one.plane, one.label, one.box) for one in found] == [
            (1, 5, PIXELS),
            (2, 5, PIXELS),
            (3, 2, Box(-0.5, -0.5, 1.5, 1.5)),
        ]
        assert (found[0].class_name, found[0].score, found[0].name) == ("cell", 0.5, "Anna")


class TestWhichImage:
    def test_by_file_name(self, tmp_path: Path) -> None:
        content = coco([20, 10, 10, 5], [1, 1, 2, 2])
        content["images"] = [
            {"id": "a", "file_name": "train/image.png"},
            {"id": 1, "file_name": "other.png"},
        ]
        content["annotations"][0]["image_id"] = "a"
        (one,) = read_detections(written(tmp_path, "a.json", content), SIXTY_BY_NINETY, "image.png")
        assert one.box == PIXELS

    def test_the_only_one(self, tmp_path: Path) -> None:
        assert read_detections(written(tmp_path, "a.json", coco([20, 10, 10, 5])), SIXTY_BY_NINETY, "renamed.png")

    @pytest.mark.parametrize(
        ("images", "line"),
        [
            ([{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}], "none of them is called image.png"),
            ([{"id": 1, "file_name": "x/image.png"}, {"id": 2, "file_name": "y/image.png"}], "2 images of the name"),
            ([{"id": 1, "file_name": "image.png", "width": 91, "height": 60}], "60 rows and 91 columns"),
            ([{"id": 5, "file_name": "image.png"}], "holds no box of image.png"),
        ],
    )
    def test_none_that_fits(self, tmp_path: Path, images: list[dict[str, Any]], line: str) -> None:
        path = written(tmp_path, "a.json", coco([20, 10, 10, 5], images=images))
        with pytest.raises(InputError, match=line):
            read_detections(path, SIXTY_BY_NINETY, "image.png")

    def test_results_of_several_images(self, tmp_path: Path) -> None:
        results = [{"image_id": name, "bbox": [20, 10, 10, 5]} for name in ("image", "other")]
        assert len(read_detections(written(tmp_path, "a.json", results), SIXTY_BY_NINETY, "image.png")) == 1
        with pytest.raises(InputError, match="the image of a box is unknown"):
            read_detections(tmp_path / "a.json", SIXTY_BY_NINETY, "third.png")


def test_boxes_are_cut_to_the_picture(tmp_path: Path) -> None:
    text = "x,y,width,height\n-5,-5,10,10\n80,50,100,100\n-9,-9,500,500\n"
    found = read_detections(written(tmp_path, "a.csv", text), SIXTY_BY_NINETY)
    assert [one.box for one in found] == [
        Box(-0.5, -0.5, 4.5, 4.5),
        Box(49.5, 79.5, 59.5, 89.5),
        Box(-0.5, -0.5, 59.5, 89.5),
    ]


@pytest.mark.parametrize("row", ["90,10,5,5", "10,60,5,5", "-5,10,5,5", "10,-9,5,5", "1e9,10,5,5"])
def test_boxes_outside_are_refused_with_their_row(tmp_path: Path, row: str) -> None:
    path = written(tmp_path, "a.csv", f"x,y,width,height\n1,1,5,5\n{row}\n")
    with pytest.raises(InputError, match=r"a\.csv, row 2: the box .* lies outside the picture"):
        read_detections(path, SIXTY_BY_NINETY)
    numbers = [float(one) for one in row.split(",")]
    with pytest.raises(InputError, match=r"annotation 2: the box .* lies outside the picture"):
        read_detections(written(tmp_path, "a.json", coco([1, 1, 5, 5], numbers)), SIXTY_BY_NINETY)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "no box"),
        ("x,y,width,height\n", "no box"),
        ("a,b\n1,2\n", "row 1: a box has the columns y0,x0,y1,x1 or x,y,width,height, got a,b"),
        ("x,y,width,height\n1,1,2\n", "row 1: a box has the columns"),
        ("x,y,width,height\n1,1,2,2\n1,1,wide,2\n", "row 2: width is not a number: 'wide'"),
        ("x,y,width,height\n1,1,0,2\n", "width is above 0"),
        ("x,y,width,height\n1,1,2,-2\n", "height is above 0"),
        ("x,y,width,height\n1,1,nan,2\n", "finite"),
        ("y0,x0,y1,x1\n1,1,inf,2\n", "finite"),
        ("y0,x0,y1,x1\n1,1,1,2\n", "no area"),
        ("x,y,width,height,score\n1,1,2,2,high\n", "score is not a number"),
        ("x,y,width,height,score\n1,1,2,2,nan\n", "score is not a finite number"),
        ("x,y,width,height,label\n1,1,2,2,0\n", "label counts from 1"),
        ("x,y,width,height,label\n1,1,2,2,cell\n", "label is not a number"),
        ("x,y,width,height,label\n1,1,2,2,4\n5,5,2,2,4\n", "row 2: the label 4 is that of row 1 already"),
        ("x,y,width,height,z\n1,1,2,2,1\n", "row 1: there is no plane|row 1: no plane"),
        ("x,y,width,height,t\n1,1,2,2,1\n", "row 1: t 1"),
    ],
)
def test_bad_tables_are_one_line(tmp_path: Path, text: str, line: str) -> None:
    refused(written(tmp_path, "a.csv", text), line)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "no JSON|not a JSON"),
        ("[" * 100_000, "not a JSON"),
        ("3", "not a COCO file"),
        ({"images": []}, "not a COCO file"),
        ([1], "annotations is no list of objects"),
        (coco(), "no box"),
        (coco([1, 2, 3]), "annotation 1: bbox is"),
        (coco("1234"), "annotation 1: bbox is"),
        (coco([1, 1, 2, 2], [1, 1, "2", 2]), "annotation 2: width is not a finite number"),
        (coco([1, 1, 10**400, 2]), "width is not a finite number"),
        (coco([1, 1, None, 2]), "width is not a finite number"),
        (coco([1, 1, True, 2]), "width is not a finite number"),
        (coco([1, 1, -2, 2]), "width is above 0"),
        (coco([1, 1, 2, 2], categories={"cell": 2}), "categories is no list"),
    ],
)
def test_bad_json_is_one_line(tmp_path: Path, content: Any, line: str) -> None:
    refused(written(tmp_path, "a.json", content), line)


@pytest.mark.parametrize(
    ("regions", "line"),
    [
        ([rectangle(10, 20, 10, 30)], r"region 1 \(r0\): height is above 0"),
        ([rectangle(1, 2, 3, 4), rectangle(100, 20, 110, 30)], r"region 2 \(r1\): the box .* lies outside"),
        ([rectangle(1, 2, 3, 4, roitype=roifile.ROI_TYPE.POINT)], "point regions have no area"),
    ],
)
def test_bad_regions_are_one_line(tmp_path: Path, regions: list[roifile.ImagejRoi], line: str) -> None:
    refused(rois(tmp_path, *regions), line)


def test_damaged_archives_and_other_files(tmp_path: Path) -> None:
    whole = rois(tmp_path, rectangle(1, 2, 3, 4)).read_bytes()
    for name, content in (("cut.zip", whole[:-30]), ("empty.zip", b""), ("short.roi", b"Iout")):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "no region of ImageJ")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello" * 40)
    refused(tmp_path / "other.zip", "no region of ImageJ")
    (tmp_path / "latin.csv").write_bytes(b"\xff\xfe\x00\x80")
    refused(tmp_path / "latin.csv", "cannot read")
    for ending in ("csv", "json", "zip", "roi"):
        refused(tmp_path / f"gone.{ending}", f"gone.{ending}")
    refused(tmp_path / "boxes.xml", r"boxes are read from \.json, \.csv, \.zip, \.roi")


def refused(path: Path, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        read_detections(path, SIXTY_BY_NINETY, "image.png")
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("axes", "places", "plane"),
    [
        ("zyx", {"position": 3}, 2),
        ("zyx", {"z_position": 3}, 2),
        ("zyx", {"z_position": 3, "t_position": 1, "c_position": 1}, 2),
        ("tyx", {"t_position": 2, "z_position": 1}, 1),
        ("tzyx", {"t_position": 2, "z_position": 3}, 6),
        ("yx", {"position": 1}, None),
        ("zyx", {}, None),
    ],
)
def test_planes_of_regions(tmp_path: Path, axes: str, places: dict[str, int], plane: int | None) -> None:
    shape = [{"t": 3, "z": 4, "y": 60, "x": 90}[axis] for axis in axes]
    image = ImageFile(np.zeros(shape, np.uint8), axes, (1.0,) * len(axes))
    (one,) = read_detections(rois(tmp_path, rectangle(10, 20, 15, 30, **places)), image)
    assert one.plane == plane


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90), dtype=np.uint8)).save(path)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class TestSegment:
    def test_each_box_is_an_object_and_the_table_keeps_what_was_said(self, image: Path, tmp_path: Path) -> None:
        content = coco([20, 10, 10, 5], [50, 30, 4, 4])
        content["annotations"][0]["score"] = 0.25
        job = SegmentJob(image, tmp_path / "out.tif", boxes=written(tmp_path, "a.json", content))
        report = segment_file(job, FakeSegmenter)
        labels = read_labels(report.path)
        assert np.argwhere(labels == 1).min(0).tolist() == [10, 20]
        assert np.argwhere(labels == 1).max(0).tolist() == [14, 29]
        assert report.painted == {1: 50, 2: 16}
        first, second = rows_of(tmp_path / "out_objects.csv")
        assert (first["class"], first["score"], first["how"], first["pixels"]) == (
            "cell", "0.25", "box of a detector", "50",
        )  # fmt: skip
        assert (second["score"], second["how"]) == ("0.9", "box of a detector, predicted IoU")

    def test_a_stack_needs_the_plane(self, tmp_path: Path) -> None:
        stack = tmp_path / "stack.tif"
        planes = np.random.default_rng(0).integers(0, 4000, (4, 60, 90), dtype=np.uint16)
        tifffile.imwrite(stack, planes, photometric="minisblack", metadata={"axes": "ZYX"})
        boxes = written(tmp_path, "a.csv", "x,y,width,height,z\n20,10,10,5,1\n40,10,10,5,\n")
        with pytest.raises(InputError, match="row 2 has no plane"):
            segment_file(SegmentJob(stack, tmp_path / "out.tif", boxes=boxes), FakeSegmenter)
        segment_file(SegmentJob(stack, tmp_path / "out.tif", boxes=boxes, plane=3), FakeSegmenter)
        assert [sorted({*np.unique(one)} - {0}) for one in read_labels(tmp_path / "out.tif")] == [[], [1], [], [2]]
        job = SegmentJob(stack, tmp_path / "all.tif", boxes=boxes, plane=3)
        propagate_file(job, FakeSegmenter)
        assert [row["label"] for row in rows_of(tmp_path / "all_objects.csv")] == ["1", "2"]

    def test_labels_follow_the_table(self, image: Path, tmp_path: Path) -> None:
        clicks = written(tmp_path, "clicks.csv", "y,x,label\n40,40,4\n")
        boxes = written(tmp_path, "a.csv", "x,y,width,height\n20,10,10,5\n")
        report = segment_file(SegmentJob(image, tmp_path / "out.tif", table=clicks, boxes=boxes), FakeSegmenter)
        assert list(report.painted) == [4, 5]
        boxes = written(tmp_path, "b.csv", "x,y,width,height,label\n20,10,10,5,4\n")
        refuses(SegmentJob(image, tmp_path / "two.tif", table=clicks, boxes=boxes), "the label 4 stands in")

    @pytest.mark.parametrize(
        "change",
        [
            lambda job, folder: written(folder, "out_objects.csv", "mine"),
            lambda job, folder: written(folder, "a.csv", "x,y,width,height\n99,99,1,1\n"),
        ],
    )
    def test_what_is_refused_writes_nothing(
        self, image: Path, tmp_path: Path, change: Callable[[SegmentJob, Path], Path]
    ) -> None:
        job = SegmentJob(
            image, tmp_path / "out.tif", boxes=written(tmp_path, "a.csv", "x,y,width,height\n20,10,10,5\n")
        )
        kept = change(job, tmp_path)
        content = kept.read_bytes()
        refuses(job, "exists|outside")
        assert kept.read_bytes() == content

    def test_the_boxes_are_never_replaced_by_the_table(self, image: Path, tmp_path: Path) -> None:
        boxes = written(tmp_path, "out_objects.csv", "x,y,width,height\n20,10,10,5\n")
        refuses(SegmentJob(image, tmp_path / "out.tif", boxes=boxes, overwrite=True), "would replace")


def refuses(job: SegmentJob, line: str) -> None:
    files = sorted(job.labels.parent.iterdir())
    with pytest.raises(InputError, match=line):
        segment_file(job, lambda: pytest.fail("the model was loaded"))
    assert sorted(job.labels.parent.iterdir()) == files
