"""From an image file and prompts to a file of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_segany.batch.segment_file import SegmentJob, object_prompts, segment_file
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.io.labels import read_labels, write_labels
from tests.fakes import FakeSegmenter


def click(y: float, x: float) -> Prompt:
    return Prompt((Point(y, x),))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.tif"
    planes = np.random.default_rng(0).integers(0, 4000, (4, 40, 50), dtype=np.uint16)
    tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "ZYX"})
    return path


class TestObjects:
    def test_positive_points_start_objects_and_negative_ones_belong_to_them(self) -> None:
        a, b, c, d = Point(1, 2), Point(3, 4, positive=False), Point(5, 6), Point(7, 8, positive=False)
        assert [one.points for one in object_prompts([a, b, d, c], [])] == [(a, b, d), (c,)]

    def test_boxes_come_after_points(self) -> None:
        box = Box(0, 0, 4, 4)
        first, second = object_prompts([Point(1, 1)], [box])
        assert (first.box, second.box, second.points) == (None, box, ())

    def test_together(self) -> None:
        points, box = [Point(1, 1, positive=False), Point(2, 2), Point(3, 3)], Box(0, 0, 4, 4)
        (one,) = object_prompts(points, [box], together=True)
        assert one.points == tuple(points)
        assert one.box == box

    @pytest.mark.parametrize(
        ("points", "boxes", "together", "message"),
        [
            ([Point(1, 1, positive=False)], [], False, "no positive one before it"),
            ([Point(1, 1, positive=False)], [], True, "needs a positive point or a box"),
            ([Point(1, 1)], [Box(0, 0, 1, 1), Box(0, 0, 2, 2)], True, "one box at most"),
        ],
    )
    def test_what_makes_no_object(self, points: list[Point], boxes: list[Box], together: bool, message: str) -> None:
        with pytest.raises(InputError, match=message):
            object_prompts(points, boxes, together=together)


def test_labels_count_in_order_and_the_first_keeps_its_pixels(image: Path, tmp_path: Path) -> None:
    prompts = (click(20, 20), click(20, 30), Prompt(box=Box(50, 70, 55, 80)))
    report = segment_file(SegmentJob(image, tmp_path / "out.tif", prompts), FakeSegmenter)
    labels = read_labels(report.path)
    assert labels.shape == (60, 90)
    assert [labels[20, 20], labels[20, 29], labels[20, 34], labels[52, 75]] == [1, 1, 2, 3]
    disc = 317  # pixels within 10 of a pixel's centre
    assert report.painted[1] == np.count_nonzero(labels == 1) == disc
    assert report.painted[2] == np.count_nonzero(labels == 2) < disc
    assert report.painted[3] == 6 * 11


def test_an_object_that_gets_nothing_is_reported(image: Path, tmp_path: Path) -> None:
    report = segment_file(SegmentJob(image, tmp_path / "out.tif", (click(20, 20), click(20, 20))), FakeSegmenter)
    assert report.painted[2] == 0


def test_the_first_of_several_candidates_counts(image: Path, tmp_path: Path) -> None:
    class Confident(FakeSegmenter):
        def segment(self, *given, **options):  # type: ignore[no-untyped-def]
            return [list(reversed(masks)) for masks in super().segment(*given, **options)]

    report = segment_file(SegmentJob(image, tmp_path / "out.tif", (click(30, 30),)), Confident)
    assert report.painted[1] > 317


def test_a_table_keeps_its_labels_and_planes(stack: Path, tmp_path: Path) -> None:
    table = tmp_path / "clicks.csv"
    table.write_text("y,x,z,label,positive\n20,20,1,7,+\n20,28,1,7,-\n10,10,3,4,+\n10,12,0,7,+\n")
    fake = FakeSegmenter()
    job = SegmentJob(stack, tmp_path / "out.tif", (click(30, 40),), table=table, plane=2)
    report = segment_file(job, lambda: fake)
    labels = read_labels(report.path)
    assert labels.shape == (4, 40, 50)
    assert [sorted(set(plane.ravel()) - {0}) for plane in labels] == [[7], [7], [8], [4]]
    assert labels[1, 20, 15] == 7
    assert labels[1, 20, 27] == 0
    assert len(fake.embedded) == 4


def test_many_objects_are_asked_for_in_groups(image: Path, tmp_path: Path) -> None:
    table = tmp_path / "clicks.csv"
    table.write_text("y,x\n" + "".join(f"{number % 60},{number % 90}\n" for number in range(150)))
    fake = FakeSegmenter(radius=1)
    report = segment_file(SegmentJob(image, tmp_path / "out.tif", table=table), lambda: fake)
    assert len(report.painted) == 150
    assert [len(group) for group in fake.asked] == [64, 64, 22]
    assert len(fake.embedded) == 1


def test_axes_that_the_labels_cannot_have_are_said_before_a_model_is_loaded(tmp_path: Path) -> None:
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, np.zeros((2, 1, 2, 20, 30), np.uint8), photometric="minisblack", metadata={"axes": "QTZYX"})
    job = SegmentJob(image, tmp_path / "out.zarr", (click(5, 5),), plane=0)
    with pytest.raises(InputError, match=r"'qtzyx' can be written to \.tif"):
        segment_file(job, lambda: pytest.fail("loaded"))


def test_ome_zarr_in_and_out(tmp_path: Path) -> None:
    image = tmp_path / "image.zarr"
    write_labels(image, np.random.default_rng(0).integers(0, 255, (3, 40, 50)), axes="zyx", scale=(2.0, 0.5, 0.5))
    out = image / "labels" / "cells"
    segment_file(SegmentJob(image, out, (click(20, 20),), plane=1), FakeSegmenter)
    assert [plane.any() for plane in read_labels(out)] == [False, True, False]
    scale = zarr.open_group(out, mode="r").attrs["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert scale == [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (click(60, 5), "outside the picture, which has 60 rows and 90 columns"),
        (click(5, -0.6), "outside the picture"),
        (Prompt((Point(5, 5), Point(5, 100, positive=False))), "point 5,100 lies outside"),
        (Prompt(box=Box(70, 0, 80, 10)), "box 70,0,80,10 lies outside"),
        (Prompt(box=Box(10, 0, 10, 10)), "no area"),
    ],
)
def test_what_lies_off_the_picture(image: Path, tmp_path: Path, prompt: Prompt, message: str) -> None:
    fails(SegmentJob(image, tmp_path / "out.tif", (prompt,)), message)


def test_the_rim_of_the_picture_belongs_to_it(image: Path, tmp_path: Path) -> None:
    prompts = (click(-0.5, -0.5), click(59.5, 89.5), Prompt(box=Box(-5, -5, 20, 20)))
    segment_file(SegmentJob(image, tmp_path / "out.tif", prompts), FakeSegmenter)


def test_planes(stack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    fails(SegmentJob(stack, out, (click(5, 5),)), "has 4 planes: give the plane, 0 to 3")
    fails(SegmentJob(stack, out, (click(5, 5),), plane=4), "no plane 4")
    table = tmp_path / "clicks.csv"
    table.write_text("y,x,z\n1,1,9\n")
    fails(SegmentJob(stack, out, table=table), "no plane 9")


def test_labels_too_large_for_a_file(image: Path, tmp_path: Path) -> None:
    table = tmp_path / "clicks.csv"
    table.write_text(f"y,x,label\n1,1,{2**32}\n")
    fails(SegmentJob(image, tmp_path / "out.tif", table=table), "label")


def test_nothing_to_do(image: Path, tmp_path: Path) -> None:
    fails(SegmentJob(image, tmp_path / "out.tif"), "nothing to segment")


def test_files_that_are_in_the_way(image: Path, tmp_path: Path) -> None:
    prompts = (click(20, 20),)
    out = tmp_path / "out.tif"
    segment_file(SegmentJob(image, out, prompts), FakeSegmenter)
    before = out.read_bytes()
    fails(SegmentJob(image, out, prompts), "exists")
    assert out.read_bytes() == before
    segment_file(SegmentJob(image, out, (click(40, 40),), overwrite=True), FakeSegmenter)
    assert read_labels(out)[40, 40] == 1
    fails(SegmentJob(out, out, prompts, overwrite=True), "would replace")


def test_a_damaged_image(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0 this is not a picture")
    fails(SegmentJob(broken, tmp_path / "out.tif", (click(1, 1),)), "cannot read")
    fails(SegmentJob(tmp_path / "gone.tif", tmp_path / "out.tif", (click(1, 1),)), "there is no file")


def test_an_image_without_a_plane(tmp_path: Path) -> None:
    complex_numbers = tmp_path / "complex.tif"
    tifffile.imwrite(complex_numbers, np.ones((8, 8), np.complex64))
    fails(SegmentJob(complex_numbers, tmp_path / "out.tif", (click(1, 1),)), "real floating-point")


def test_a_model_that_cannot_be_had_writes_nothing(image: Path, tmp_path: Path) -> None:
    def load() -> FakeSegmenter:
        raise ModelError("no such model")

    with pytest.raises(ModelError):
        segment_file(SegmentJob(image, tmp_path / "out.tif", (click(5, 5),)), load)
    assert list(tmp_path.iterdir()) == [image]


def fails(job: SegmentJob, message: str) -> None:
    """The job is refused in one line, before the model is loaded, and leaves no file behind."""

    def load() -> FakeSegmenter:
        raise AssertionError("the model was loaded")

    files = sorted(job.labels.parent.iterdir())
    with pytest.raises(InputError, match=message) as error:
        segment_file(job, load)
    assert "\n" not in str(error.value)
    assert sorted(job.labels.parent.iterdir()) == files
