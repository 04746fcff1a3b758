"""An output never destroys an input, nor a folder that holds what this program did not write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_segany import cli
from napari_segany.batch.segment_file import SegmentJob, segment_file
from napari_segany.batch.segment_folder import FolderJob, segment_folder_files
from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.io.export import check_export, export_labels
from napari_segany.io.labels import check_output, write_labels
from napari_segany.io.output_checks import check_apart, is_own_ctc, is_own_tiff, is_own_zarr
from tests.fakes import FakeSegmenter

LABELS = np.eye(40, 50, dtype=np.uint16)
CLICK = (Prompt((Point(20, 30),)),)


def ome_zarr(path: Path, *, levels: tuple[str, ...] = ("0",)) -> Path:
    group = zarr.create_group(path, zarr_format=2)
    for name in levels:
        group.create_array(name, shape=(40, 50), dtype="u2", chunks=(40, 50))[...] = 7
    axes = [{"name": axis, "type": "space"} for axis in "yx"]
    datasets = [{"path": name} for name in levels]
    group.attrs.update({"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]})
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


@pytest.mark.parametrize(
    ("output", "given"),
    [
        ("a.zarr", "a.zarr"),
        ("a.zarr", "a.zarr/0"),
        ("a.zarr/0", "a.zarr"),
        ("a.zarr/0/new.zarr", "a.zarr"),
        ("a.zarr/new.zarr", "a.zarr"),
        ("a.zarr/0/labels/n", "a.zarr"),
        ("a.zarr/labels", "a.zarr/labels/n"),
        ("a.zarr/labels/n", "a.zarr/labels/n/clicks.csv"),
        ("a.tif", "a.tif"),
        ("./b/../a.tif", "a.tif"),
        ("linked.tif", "a.tif"),
        ("hard.tif", "a.tif"),
        ("a.tif", "linked.tif"),
        ("link.zarr", "a.zarr/0"),
        ("a.zarr", "link.zarr/0"),
        ("link.zarr/new.zarr", "a.zarr"),
        ("elsewhere/0", "through.zarr"),
        ("elsewhere", "through.zarr"),
        ("elsewhere/0/new.zarr", "through.zarr"),
    ],
)
def test_what_would_destroy_an_input(tmp_path: Path, output: str, given: str) -> None:
    ome_zarr(tmp_path / "a.zarr")
    labels = ome_zarr(tmp_path / "a.zarr" / "labels" / "n")
    (labels / "clicks.csv").write_text("y,x\n1,2\n")
    (tmp_path / "b").mkdir()
    tifffile.imwrite(tmp_path / "a.tif", LABELS)
    (tmp_path / "linked.tif").symlink_to("a.tif")
    (tmp_path / "hard.tif").hardlink_to(tmp_path / "a.tif")
    (tmp_path / "link.zarr").symlink_to("a.zarr")
    ome_zarr(tmp_path / "through.zarr")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "through.zarr" / "0").rename(tmp_path / "elsewhere" / "0")
    (tmp_path / "through.zarr" / "0").symlink_to(tmp_path / "elsewhere" / "0")
    with pytest.raises(InputError, match="from which they are made"):
        check_apart(tmp_path / output, [None, tmp_path / "gone", tmp_path / given])


@pytest.mark.parametrize(
    ("output", "given"),
    [
        ("a.zarr/labels/new", "a.zarr"),
        ("a.zarr/labels/new", "a.zarr/0"),
        ("a.zarr/labels/new", "a.zarr/labels/n"),
        ("b.zarr", "a.zarr"),
        ("b.tif", "a.tif"),
        ("link.zarr/labels/new", "a.zarr"),
    ],
)
def test_what_harms_no_input(tmp_path: Path, output: str, given: str) -> None:
    ome_zarr(tmp_path / "a.zarr")
    ome_zarr(tmp_path / "a.zarr" / "labels" / "n")
    (tmp_path / "link.zarr").symlink_to("a.zarr")
    tifffile.imwrite(tmp_path / "a.tif", LABELS)
    check_apart(tmp_path / output, [tmp_path / given])


def test_a_level_that_is_called_labels_is_no_place_for_labels(tmp_path: Path) -> None:
    ome_zarr(tmp_path / "a.zarr", levels=("labels/0",))
    with pytest.raises(InputError, match="from which they are made"):
        check_apart(tmp_path / "a.zarr" / "labels" / "0", [tmp_path / "a.zarr"])


@pytest.mark.parametrize(
    "output", ["i.zarr", "i.zarr/0", "i.zarr/labels", "i.zarr/0/new.zarr", "i.zarr/labels/0/x.tif"]
)
@pytest.mark.parametrize("source", ["i.zarr", "i.zarr/0"])
@pytest.mark.parametrize("options", [["--point", "5,5"], ["--points", "TABLE"], ["--everything"], ["--text", "nuclei"]])
def test_the_command_line_leaves_the_image_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str, source: str, options: list[str]
) -> None:
    ome_zarr(tmp_path / "i.zarr")
    table = tmp_path / "table.csv"
    table.write_text("y,x\n5,5\n")
    words = ["segment", str(tmp_path / source), "-o", str(tmp_path / output)]
    words += [str(table) if word == "TABLE" else word for word in options]
    words += [] if options[0] in ("--everything", "--text") else ["--overwrite"]
    before = contents(tmp_path)
    assert cli.main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("what", ["checkpoint", "table", "confidence"])
def test_files_that_an_output_is_made_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", np.zeros((3, 40, 50), np.uint8), photometric="minisblack")
    Path("mine.pt").write_bytes(b"weights")
    Path("o_confidence.csv").write_text("y,x,z\n5,5,1\n")
    Path("o.tif").symlink_to({"checkpoint": "mine.pt", "table": "o_confidence.csv", "confidence": "gone"}[what])
    words = ["segment", "a.tif", "-o", "o.tif", "--overwrite", "--points", "o_confidence.csv", "--model", "mine.pt"]
    assert cli.main([*words, *(["--propagate"] if what == "confidence" else [])]) == 2
    assert "from which they are made" in capsys.readouterr().err
    assert Path("o_confidence.csv").read_text() == "y,x,z\n5,5,1\n"
    assert Path("mine.pt").read_bytes() == b"weights"


def test_an_export_leaves_its_image_alone(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "a.zarr", LABELS)
    with pytest.raises(InputError, match="from which they are made"):
        export_labels(LABELS, path, overwrite=True, inputs=[path])
    table = tmp_path / "a.csv"
    table.write_text("mine")
    with pytest.raises(InputError, match="from which they are made"):
        check_export(table, overwrite=True, inputs=[table])


def as_before(path: Path, version: str) -> None:
    """Take away what version 0.1.0 did not write."""
    group = zarr.open_group(path, mode="r+")
    attributes = group.attrs.asdict()
    del attributes["napari-segany"]
    group.attrs.put(attributes)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("shape", [(40, 50), (2, 40, 50), (1500, 1200)])
def test_own_labels_are_replaced(tmp_path: Path, version: str, old: bool, shape: tuple[int, ...]) -> None:
    image = tmp_path / "i.zarr"
    group = zarr.create_group(image, zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", shape=shape, dtype="u1")
    path = write_labels(image / "labels" / "n", np.ones(shape, np.uint16))
    (path / ".DS_Store").write_bytes(b"x")
    if old:
        as_before(path, version)
    assert is_own_zarr(path)
    assert check_output(path, overwrite=True) == path


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: (path / "notes.txt").write_text("mine"),
    "a file among chunks": lambda path: (path / "0" / "0" / "notes.txt").write_text("mine"),
    "an array": lambda path: zarr.open_group(path).create_array("mine", shape=(3,), dtype="u1"),
    "a folder": lambda path: (path / "mine").mkdir(),
    "labels of it": lambda path: write_labels(path / "labels" / "n", LABELS),
    "a link": lambda path: (path / "5").symlink_to(path.parent),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_folder_with_anything_else_is_not_replaced(tmp_path: Path, what: str) -> None:
    path = write_labels(tmp_path / "a.zarr", LABELS)
    FOREIGN[what](path)
    before = contents(tmp_path)
    for refused in (lambda: check_output(path, overwrite=True), lambda: write_labels(path, LABELS, overwrite=True)):
        with pytest.raises(InputError, match="did not write"):
            refused()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("change", ["colors", "chunks", "type", "image", "damaged"])
def test_labels_of_other_programs_are_not_replaced(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.zarr"
    if change == "image":
        ome_zarr(path)
    else:
        write_labels(path, LABELS)
        as_before(path, "0.4")
    about = json.loads((path / ".zattrs").read_text())
    if change == "colors":
        about["image-label"]["colors"] = []
        (path / ".zattrs").write_text(json.dumps(about))
    elif change in ("chunks", "type"):
        shutil.rmtree(path / "0")
        size, dtype = ((20, 20), "u2") if change == "chunks" else ((40, 50), "i4")
        zarr.open_group(path).create_array("0", shape=(40, 50), dtype=dtype, chunks=size)
    elif change == "damaged":
        (path / ".zattrs").write_text("{")
    assert not is_own_zarr(path)
    with pytest.raises(InputError, match="did not write"):
        check_output(path, overwrite=True)


def test_folders_of_tracks(tmp_path: Path) -> None:
    labels = np.stack([LABELS, LABELS])
    path = export_labels(labels, tmp_path / "a.ctc", axes="tyx")
    assert is_own_ctc(path)
    export_labels(labels, path, axes="tyx", overwrite=True)
    for name in ("mine.tif", "notes.txt"):
        (path / name).write_bytes(b"mine")
        with pytest.raises(InputError, match="did not write"):
            export_labels(labels, path, axes="tyx", overwrite=True)
        (path / name).unlink()
    tifffile.imwrite(path / "mask000.tif", labels[0], software="another")
    with pytest.raises(InputError, match="did not write"):
        export_labels(labels, path, axes="tyx", overwrite=True)


def run(source: Path, out: Path, **options: object) -> list:
    return list(segment_folder_files(FolderJob(source, out, None, {}, **options), FakeSegmenter))


def test_results_do_not_replace_what_others_wrote(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    for name in ("a", "b", "c"):
        tifffile.imwrite(source / f"{name}.tif", np.zeros((40, 50), np.uint8))
    tifffile.imwrite(out / "a_labels.tif", LABELS)
    (out / "b_masks.json").write_text('{"images": []}')
    before = contents(out)
    for _ in range(2):
        problems = [report.problem for report in run(source, out)]
        assert ["did not write" in problem for problem in problems] == [True, True, False]
    assert before.items() <= contents(out).items()


def test_an_image_under_the_name_of_a_result(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(source / name, LABELS)
    (out / "a_labels.tif").symlink_to(source / "b.tif")
    with pytest.raises(InputError, match="would replace"):
        run(source, out)
    for place in (source, tmp_path / "link"):
        if place != source:
            place.symlink_to(source)
        with pytest.raises(InputError, match="folder of the images"):
            run(source, place)
    mine = tmp_path / "mine.pt"
    mine.write_bytes(b"x")
    (out / "a_labels.tif").unlink()
    (out / "a_labels.tif").hardlink_to(mine)
    with pytest.raises(InputError, match="would replace"):
        run(source, out, inputs=(mine,))


def test_own_files_are_known(tmp_path: Path) -> None:
    assert is_own_tiff(write_labels(tmp_path / "a.tif", LABELS))
    tifffile.imwrite(tmp_path / "b.tif", LABELS)
    assert not is_own_tiff(tmp_path / "b.tif")
    assert not is_own_tiff(tmp_path / "gone.tif")


def test_labels_go_into_their_image_again(tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "i.zarr")
    for _ in range(2):
        segment_file(SegmentJob(path, path / "labels" / "n", CLICK, overwrite=True), FakeSegmenter)
    assert (zarr.open_group(path, mode="r")["0"][...] == 7).all()
