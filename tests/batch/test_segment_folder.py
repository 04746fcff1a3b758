"""Whole folders without a prompt."""

from __future__ import annotations

import csv
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from pycocotools.coco import COCO

from napari_segany import cli
from napari_segany.batch.segment_file import SegmentJob, segment_file
from napari_segany.batch.segment_folder import FolderJob, segment_folder_files
from napari_segany.batch.segment_image import segment_image
from napari_segany.core.automatic_masks import Grid
from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.io.object_tables import objects_of_labels
from napari_segany.models import loading
from tests.fakes import FakeSegmenter, KnowingSegmenter, NamingSegmenter

PLACES = [Point(15, 20), Point(40, 60)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture, a stack of two planes, and a text file."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.arange(60 * 80, dtype=np.uint8).reshape(60, 80)).save(folder / "a.png")
    tifffile.imwrite(folder / "b.tif", np.zeros((2, 60, 80), np.uint16), photometric="minisblack")
    (folder / "notes.txt").write_text("not an image")
    return folder


def run(folder: Path, out: Path, **changes: float) -> list[tuple[str, int]]:
    job = FolderJob(folder, out, None, changes)
    return [(one.image.name, one.objects) for one in segment_folder_files(job, lambda: KnowingSegmenter(PLACES, 6))]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools with numpy 2
def test_labels_masks_and_a_table_for_each_image(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(folder, out) == [("a.png", 2), ("b.tif", 4)]
    labels = tifffile.imread(out / "a_labels.tif")
    assert (labels[15, 20], labels[40, 60], labels[0, 0]) == (1, 2, 0)
    stack = tifffile.imread(out / "b_labels.tif")
    # labels differ from plane to plane: nothing says yet that they are the same object
    assert [stack[z, y, x] for z in (0, 1) for y, x in ((15, 20), (40, 60))] == [1, 2, 3, 4]
    coco = COCO(out / "a_masks.json")
    mask = coco.annToMask(coco.anns[1])
    assert np.array_equal(mask.astype(bool), labels == 1)
    with (out / "b_objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == [1, 2, 3, 4]
    assert float(rows[0]["score"]) == pytest.approx(0.9)


def test_what_is_done_is_not_done_again_and_what_is_half_done_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder, out)
    before = (out / "a_labels.tif").stat().st_mtime_ns
    (out / "b_objects.csv").unlink()
    (out / "b_labels.tif").write_bytes(b"torn")
    assert run(folder, out) == [("a.png", -1), ("b.tif", 4)]
    assert (out / "a_labels.tif").stat().st_mtime_ns == before
    assert tifffile.imread(out / "b_labels.tif").max() == 4


def test_results_made_in_two_ways_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    with pytest.raises(InputError, match="made with another filters; choose another folder"):
        run(folder, tmp_path / "out", score=0.5)


def test_a_broken_image_does_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    (folder / "a0.png").write_bytes(b"no picture")
    job = FolderJob(folder, tmp_path / "out", None, {})
    reports = list(segment_folder_files(job, lambda: KnowingSegmenter(PLACES)))
    assert [bool(one.problem) for one in reports] == [False, True, False]
    assert "a0.png" in reports[1].problem
    assert not list((tmp_path / "out").glob("a0*"))


def test_two_images_of_one_name_get_two_results(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((60, 80), np.uint8)).save(folder / "a.bmp")
    run(folder, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("a*_labels.tif")} == {"a.png_labels.tif", "a.bmp_labels.tif"}


def test_a_grid_asks_everywhere(folder: Path, tmp_path: Path) -> None:
    segmenter = FakeSegmenter(3)
    list(segment_folder_files(FolderJob(folder / "a.png", tmp_path / "out", Grid(3), {}), lambda: segmenter))
    assert sum(map(len, segmenter.asked)) == 9


def test_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: KnowingSegmenter(PLACES, 6))
    out = tmp_path / "out"
    assert cli.main(["segment", str(folder), "--everything", "-o", str(out), "--smallest", "50"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a.png: 2 objects",
        "b.tif: 4 objects",
        f"wrote {out}: 2 images, 0 were done before, 0 failed",
    ]
    assert json.loads((out / "everything.json").read_text())["filters"]["smallest"] == 50
    (folder / "c.png").write_bytes(b"")
    assert cli.main(["segment", str(folder), "--everything", "-o", str(out), "--smallest", "50"]) == 2
    heard = capsys.readouterr()
    assert heard.out == f"wrote {out}: 0 images, 2 were done before, 1 failed\n"
    assert heard.err.count("\n") == 1


@pytest.mark.parametrize(("layers", "points"), [(0, 16), (1, 16 + 4 * 4)])
def test_crops_are_prompted_with_half_the_points(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: int, points: int
) -> None:
    segmenter = FakeSegmenter()
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: segmenter)
    words = ["--everything", "--grid", "4", "--crop-layers", str(layers)]
    assert cli.main(["segment", str(folder / "a.png"), "-o", str(tmp_path / "out"), *words]) == 0
    assert sum(map(len, segmenter.asked)) == points
    assert json.loads((tmp_path / "out" / "everything.json").read_text())["grid"]["crop_layers"] == layers


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--everything", "--point", "1,1"], "--everything takes no points"),
        (["--everything", "-o", "x.tif"], "labels go to a folder"),
        (["--grid", "3"], "belong to --everything"),
        (["--crop-layers", "1"], "belong to --everything"),
    ],
)
def test_what_does_not_go_together(
    folder: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["segment", str(folder), "-o", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no image in the folder"):
        run(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_image_of_the_folder(folder: Path, tmp_path: Path) -> None:
    """Results of any command, and what systems leave, are not segmented."""
    for image in sorted(folder.iterdir()):
        if image.suffix != ".txt":
            run(image, folder)
    segment_file(SegmentJob(folder / "a.png", folder / "mine.tif", (Prompt((Point(9, 9),)),)), FakeSegmenter)
    segment_file(SegmentJob(folder / "a.png", folder / "mine.zarr", (Prompt((Point(9, 9),)),)), FakeSegmenter)
    for name in ("._a.png", "._b.tif", ".DS_Store", ".hidden.tif"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    (folder / "._c.zarr").mkdir()
    for _ in range(2):
        assert [name for name, _ in run(folder, tmp_path / "out")] == ["a.png", "b.tif"]
    tifffile.imwrite(folder / "a_labels.tif", np.zeros((60, 80), np.uint16))  # as version 0.1.0 wrote it
    assert [name for name, _ in run(folder, tmp_path / "other")] == ["a.png", "b.tif"]


def test_a_folder_with_results_only_holds_no_image(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    with pytest.raises(InputError, match="no image in the folder"):
        run(tmp_path / "out", tmp_path / "again")


@pytest.mark.parametrize(("name", "planes"), [("a.v2.tif", 1), ("a.png", 1), ("b.ome.tif", 2), ("c.zarr", 1)])
def test_coco_names_the_file(tmp_path: Path, name: str, planes: int) -> None:
    source = tmp_path / "in"
    source.mkdir()
    shape = (60, 80) if planes == 1 else (planes, 60, 80)
    if name.endswith(".zarr"):
        zarr.create_array(source / name, shape=shape, dtype="u1")
    elif name.endswith(".png"):
        Image.fromarray(np.zeros(shape, np.uint8)).save(source / name)
    else:
        tifffile.imwrite(source / name, np.zeros(shape, np.uint8), photometric="minisblack")
    run(source, tmp_path / "out")
    stem = name.rpartition(".")[0]
    found = json.loads((tmp_path / "out" / f"{stem}_masks.json").read_text())["images"]
    if planes == 1:
        assert [one["file_name"] for one in found] == [name]
        assert (source / found[0]["file_name"]).exists()
    else:
        assert all(one["file_name"].startswith(stem) and one["file_name"].endswith(".tif") for one in found)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take only names of Unicode")
def test_a_name_that_is_no_unicode(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    path = source / os.fsdecode(b"caf\xe9.tif")
    tifffile.imwrite(source / "a.tif", np.zeros((60, 80), np.uint8))
    (source / "a.tif").rename(path)
    assert run(source, tmp_path / "out") == [(path.name, 2)]
    masks = tmp_path / "out" / os.fsdecode(b"caf\xe9_masks.json")
    (one,) = json.loads(masks.read_text(encoding="utf-8"))["images"]
    assert one["file_name"] == path.name


@pytest.mark.parametrize(
    ("scale", "unit", "shown", "area"),
    [
        ((-0.5, 0.5), "", "unit", 0.25),
        ((0.5, 0.5), "micrometer", "µm", 0.25),
        ((-500.0, 500.0), "nanometer", "µm", 0.25),
        ((1.0, 1.0), "", "pixel", 1.0),
        ((0.0, float("nan")), "", "pixel", 1.0),
    ],
)
def test_tables_are_in_the_units_of_the_image(
    tmp_path: Path, scale: tuple[float, float], unit: str, shown: str, area: float
) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.create_array("0", shape=(60, 80), dtype="u1")
    axes = [{"name": axis, "type": "space"} | ({"unit": unit} if unit else {}) for axis in "yx"]
    steps = [{"type": "scale", "scale": list(scale)}]
    one = {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group.attrs.update({"multiscales": [one]})
    assert run(tmp_path / "a.zarr", tmp_path / "out") == [("a.zarr", 2)]
    with (tmp_path / "out" / "a_objects.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert float(row[f"area [{shown}^2]"]) == pytest.approx(area * int(row["pixels"]))


def test_paths_that_the_system_does_not_take(folder: Path, tmp_path: Path) -> None:
    for source, out in ((tmp_path / ("x" * 300), tmp_path / "out"), (folder, tmp_path / ("x" * 300))):
        with pytest.raises(InputError, match="too long"):
            run(source, out)


def test_objects_like_exemplars_of_another_image(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: KnowingSegmenter(PLACES, 6))
    labels, none, out = tmp_path / "exemplars.tif", tmp_path / "none.tif", tmp_path / "out"
    exemplar = np.zeros((60, 80), np.uint8)
    exemplar[10:20, 10:20] = 1
    tifffile.imwrite(labels, exemplar)
    tifffile.imwrite(none, np.zeros((60, 80), np.uint8))
    command = ["segment", str(folder), "-o", str(out), "--exemplars", str(labels)]
    named = ["--exemplars-image", str(folder / "a.png")]
    assert cli.main([*command, *named]) == 0
    assert {path.name for path in out.glob("*_labels.tif")} == {"a_labels.tif", "b_labels.tif"}
    capsys.readouterr()
    for wrong, message in (
        (command, "name the image of the exemplars with --exemplars-image"),
        ([*command, *named, "--text", "nucleus"], "either a text or exemplars"),
        ([*command, *named, "--rejected", str(labels)], "made with another exemplars"),
        (["segment", str(folder), "-o", str(tmp_path / "o"), *named], "belong to --exemplars"),
        ([*command[:-1], str(none), *named], "holds no labelled object"),
    ):
        assert cli.main(wrong) == 2
        assert message in capsys.readouterr().err


class NamingAndKnowing(NamingSegmenter, KnowingSegmenter):
    """Proposes objects and names them."""

    capabilities = replace(KnowingSegmenter.capabilities, known_classes=NamingSegmenter.capabilities.known_classes)


@pytest.fixture
def bright_and_dark(tmp_path: Path) -> Path:
    plane = np.full((60, 80), 100, np.uint8)
    plane[5:25, 10:30], plane[30:50, 50:70], plane[0, 0], plane[0, 1] = 250, 5, 0, 255
    Image.fromarray(plane).save(tmp_path / "two.png")
    return tmp_path / "two.png"


def named_rows(image: Path, out: Path, *, names: bool) -> list[dict[str, str]]:
    job = FolderJob(image, out, None, {}, names=names)
    assert [one.objects for one in segment_folder_files(job, lambda: NamingAndKnowing(PLACES, 6))] == [2]
    with (out / "two_objects.csv").open() as file:
        return list(csv.DictReader(file))


def test_objects_have_the_names_that_the_model_gives_with_their_probability(
    bright_and_dark: Path, tmp_path: Path
) -> None:
    rows = named_rows(bright_and_dark, tmp_path / "out", names=True)
    assert [row["class"] for row in rows] == ["nucleus", "cell"]
    assert all(0.9 < float(row["class_probability"]) <= 1 for row in rows)
    coco = json.loads((tmp_path / "out" / "two_masks.json").read_text())
    assert [one["name"] for one in coco["categories"]] == ["nucleus", "cell"]
    assert all(one["class_probability"] > 0.9 for one in coco["annotations"])
    found = objects_of_labels(tmp_path / "out" / "two_labels.tif")
    assert {label: one.given_class for label, one in found.items()} == {1: "", 2: ""}
    assert found[1].class_name == "nucleus"


def test_names_can_be_switched_off_and_are_not_mixed(bright_and_dark: Path, tmp_path: Path) -> None:
    rows = named_rows(bright_and_dark, tmp_path / "out", names=False)
    assert [row["class"] for row in rows] == ["", ""]
    assert "class_probability" not in rows[0]
    with pytest.raises(InputError, match="names"):
        named_rows(bright_and_dark, tmp_path / "out", names=True)


@pytest.mark.parametrize("names", [True, False])
def test_prompted_objects_are_named_too(bright_and_dark: Path, tmp_path: Path, names: bool) -> None:
    prompts = tuple(Prompt((place,)) for place in PLACES)
    job = SegmentJob(bright_and_dark, tmp_path / "labels.tif", prompts, names=names)
    report = segment_file(job, lambda: NamingSegmenter(radius=6))
    assert {label: name for label, (name, _) in report.names.items()} == ({1: "nucleus", 2: "cell"} if names else {})


@pytest.mark.parametrize("names", [True, False])
def test_prompted_objects_of_an_array_are_named_too(bright_and_dark: Path, names: bool) -> None:
    plane = np.asarray(Image.open(bright_and_dark))
    found = segment_image(plane, [Prompt((place,)) for place in PLACES], model=NamingSegmenter(radius=6), names=names)
    assert [one.class_name for one in found.objects] == (["nucleus", "cell"] if names else ["", ""])
    assert all((one.class_probability is not None) == names for one in found.objects)
