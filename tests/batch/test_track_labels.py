"""Label images of other programs, linked through time and exported."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany import cli
from napari_segany.batch.track_labels import TrackJob, export_file, link_file
from napari_segany.core.errors import InputError, ModelError
from napari_segany.io.labels import read_labels
from napari_segany.models import loading
from tests.fakes import FakeSegmenter


def frames(depth: int = 0) -> np.ndarray:
    """An object that moves and one that divides after two frames, numbered by chance in each frame."""
    rng = np.random.default_rng(0)
    labels = np.zeros((6, 40, 60), np.uint16)
    for time in range(6):
        moving, first, second = rng.permutation(np.arange(1, 100))[:3]
        labels[time, 25:35, 5 + time : 15 + time] = moving
        if time < 2:
            labels[time, 5:15, 10:40] = first
        else:
            labels[time, 5:15, 10:24] = first
            labels[time, 5:15, 26:40] = second
    return labels if not depth else np.stack([labels] * depth, axis=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "cells.tif", frames())
    return tmp_path / "cells.tif"


@pytest.mark.parametrize("depth", [0, 3])
def test_frames_are_linked_and_divisions_have_parents(tmp_path: Path, depth: int) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", frames(depth), photometric="minisblack")
    report = link_file(TrackJob(tmp_path / "cells.tif", tmp_path / "cells.ctc"))
    assert (report.objects, report.divisions) == (3, 1)
    lines = (tmp_path / "cells.ctc" / "res_track.txt").read_text().splitlines()
    # the one that moves, the mother, the daughter that keeps its number, and the other one
    assert sorted(line.split(" ", 1)[1] for line in lines) == ["0 1 0", "0 5 0", "2 5 1", "2 5 1"]
    assert tifffile.imread(tmp_path / "cells.ctc" / "mask000.tif").ndim == (3 if depth else 2)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr", "a.xml", "a.csv", "a.json"])
def test_every_ending_from_the_command_line(path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    out = path.with_name(name)
    assert cli.main(["link", str(path), "-o", str(out)]) == 0
    assert f"wrote {out}: 3 objects, 1 divisions" in capsys.readouterr().out
    if name in ("a.tif", "a.zarr"):
        linked = read_labels(out)
        assert np.array_equal(linked > 0, frames() > 0)
        assert [len(np.unique(linked[:, 30, time + 10])) for time in range(1)] == [1]
    if name == "a.csv":
        rows = list(csv.DictReader(out.read_text().splitlines()))
        assert {row["parent"] for row in rows} == {"", "1"}
    assert cli.main(["link", str(path), "-o", str(out)]) == 2
    assert cli.main(["link", str(path), "-o", str(out), "--overwrite"]) == 0


def test_export_leaves_the_numbers_and_knows_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "cells_labels.tif"
    linked = np.zeros((3, 8, 30), np.uint16)
    linked[0, 2:6, 2:12], linked[1:, 2:6, 20:25], linked[1:, 2:6, 14:19] = 7, 8, 9
    tifffile.imwrite(labels, linked, photometric="minisblack")
    export_file(TrackJob(labels, tmp_path / "without.ctc"))
    # too far away for overlap
    assert (tmp_path / "without.ctc" / "res_track.txt").read_text() == "1 0 0 0\n2 1 2 0\n3 1 2 0\n"
    header = "label,name,class,score,stability,how,parent,pixels"
    (tmp_path / "cells_objects.csv").write_text(f"{header}\n7,,,,,,,40\n8,,,,,,7,40\n9,,,,,,7,40\n")
    assert cli.main(["export", str(labels), "-o", str(tmp_path / "with.ctc")]) == 0
    assert (tmp_path / "with.ctc" / "res_track.txt").read_text() == "1 0 0 0\n2 1 2 1\n3 1 2 1\n"
    assert "3 objects" in capsys.readouterr().out
    assert cli.main(["export", str(labels), "-o", str(tmp_path / "t.csv"), "--format", "tracks"]) == 0
    assert (tmp_path / "t.csv").read_text().startswith("track_id,t,y,x,parent\n7,0")


@pytest.mark.parametrize(
    ("options", "kept"), [((), {1, 2, 3}), (("--without-rejected",), {1, 3}), (("--only-accepted",), {3})]
)
def test_export_leaves_out_what_is_not_accepted(tmp_path: Path, options: tuple[str, ...], kept: set[int]) -> None:
    labels = tmp_path / "cells_labels.tif"
    plane = np.zeros((8, 30), np.uint16)
    plane[1:4, 1:4], plane[1:4, 10:14], plane[5:7, 20:29] = 1, 2, 3
    tifffile.imwrite(labels, plane, photometric="minisblack")
    header = "label,name,class,score,stability,how,state,reviewed_by,reviewed_at,pixels"
    rows = "1,,,,,everything,uncertain,,,9\n2,,,,,everything,rejected,ana,2026-01-02T03:04:05+00:00,12\n3,,,,,,,,,18\n"
    (tmp_path / "cells_objects.csv").write_text(f"{header}\n{rows}")
    assert cli.main(["export", str(labels), "-o", str(tmp_path / "out.csv"), *options]) == 0
    found = {int(row["label"]): row for row in csv.DictReader((tmp_path / "out.csv").read_text().splitlines())}
    assert set(found) == kept
    assert 2 not in found or found[2]["reviewed_by"] == "ana"
    assert cli.main(["export", str(labels), "-o", str(tmp_path / "out.tif"), *options]) == 0
    assert set(np.unique(tifffile.imread(tmp_path / "out.tif")).tolist()) == {0, *kept}


def test_what_cannot_be_linked_is_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plane = path.with_name("plane.tif")
    tifffile.imwrite(plane, frames()[0])
    image = path.with_name("image.tif")
    tifffile.imwrite(image, np.zeros((5, 40, 60), np.uint8))
    for arguments, line in (
        ([str(plane), "-o", "a.ctc"], "has 2 axes"),
        ([str(path), "-o", str(path), "--overwrite"], "would replace"),
        ([str(path), "-o", "a.png"], "exported to"),
        ([str(path), "-o", "a.ctc", "--image", str(image)], "has 5 frames of 40 x 60 pixels, the labels 6 of 40 x 60"),
        ([str(path.with_name("none.tif")), "-o", "a.ctc"], "none.tif"),
    ):
        assert cli.main(["link", *arguments]) == 2
        assert line in " ".join(capsys.readouterr().err.split())


def test_identities_need_the_features_they_were_learned_from(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: FakeSegmenter())
    image = path.with_name("image.tif")
    tifffile.imwrite(image, np.zeros((6, 40, 60), np.uint8))
    with pytest.raises(ModelError, match="learned from the features of tiny"):
        link_file(TrackJob(path, path.with_name("a.ctc"), image=image), FakeSegmenter)
    assert not path.with_name("a.ctc").exists()


def test_an_unknown_format(path: Path) -> None:
    with pytest.raises(InputError, match="no format magic"):
        export_file(TrackJob(path, path.with_name("a.csv"), "magic"))
