"""A stack and a click become labels of the whole stack; and all objects of slices those of the stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany import cli
from napari_segany.batch import propagate_file as module
from napari_segany.batch.propagate_file import confidence_path, propagate_file
from napari_segany.batch.segment_file import SegmentJob
from napari_segany.core.confidence import LOST
from napari_segany.core.prompts import Point, Prompt
from napari_segany.io.export import export_labels
from napari_segany.io.labels import read_labels
from napari_segany.io.ome_zarr import Layout, create_labels
from napari_segany.io.temporary_files import temporary_array
from napari_segany.models import loading
from tests.fakes import FakeSegmenter, KnowingSegmenter

SHAPE = (6, 64, 80)


class SureSegmenter(FakeSegmenter):
    """Discs at points, whatever the box."""

    def _masks(self, shape: tuple[int, int], prompt: Prompt, candidates: int) -> list:
        return super()._masks(shape, Prompt(prompt.points), candidates)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.tif"
    rng = np.random.default_rng(0)
    tifffile.imwrite(
        path, np.repeat(rng.integers(0, 99, (1, *SHAPE[1:])), 6, 0).astype(np.uint8), metadata={"axes": "ZYX"}
    )
    return path


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> SureSegmenter:
    segmenter = SureSegmenter(radius=8)
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: segmenter)
    return segmenter


def test_a_click_on_one_slice_labels_all(
    stack: Path, loaded: SureSegmenter, capsys: pytest.CaptureFixture[str]
) -> None:
    out = stack.with_name("labels.tif")
    words = ["segment", str(stack), "-o", str(out), "--point", "3,30,20", "--point", "3,30,60", "--propagate"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.endswith(f"wrote {out}: 2 of 2 objects\n")
    labels = read_labels(out)
    assert labels.shape == SHAPE
    assert labels.dtype == np.uint16
    assert (labels[:, 30, 20] == 1).all()
    assert (labels[:, 30, 60] == 2).all()
    table = np.loadtxt(stack.with_name("labels_confidence.csv"), delimiter=",", skiprows=1, usecols=(0, 1, 2))
    assert sorted(map(tuple, table[:, :2].astype(int).tolist())) == [(n, z) for n in (1, 2) for z in (0, 1, 2, 4, 5)]
    assert ((table[:, 2] >= 0) & (table[:, 2] <= 1)).all()
    # the slice that was clicked on is encoded once, and so are all others
    assert len(loaded.embedded) == 6
    assert not list(stack.parent.glob(".segany*"))


def test_points_on_several_planes_need_no_table(stack: Path, loaded: SureSegmenter) -> None:
    out = stack.with_name("labels.tif")
    assert cli.main(["segment", str(stack), "-o", str(out), "--point", "1,30,20,+", "--point", "4,30,60"]) == 0
    labels = read_labels(out)
    assert [labels[1, 30, 20], labels[4, 30, 60], labels[2].max()] == [1, 2, 0]


def test_a_point_names_time_and_depth(stack: Path, loaded: SureSegmenter) -> None:
    image = stack.with_name("times.ome.tif")
    volumes = np.broadcast_to(tifffile.imread(stack), (2, *SHAPE))
    tifffile.imwrite(image, volumes, metadata={"axes": "TZYX"}, photometric="minisblack", ome=True)
    out = stack.with_name("labels.tif")
    assert cli.main(["segment", str(image), "-o", str(out), "--point", "1,2,30,20", "--propagate"]) == 0
    labels = read_labels(out)
    assert labels.shape == (2, *SHAPE)
    assert labels[0].max() == 0
    assert (labels[1, :, 30, 20] == 1).all()
    for place in ("2,2,30,20", "1,9,30,20", "1,1,1,30,20"):
        assert cli.main(["segment", str(image), "-o", str(out), "--overwrite", "--point", place]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--point", "3,30,20", "--plane", "3"], "all points include their plane"),
        (["--point", "3,30,20", "--point", "30,20"], "all points include their plane"),
        (["--point", "3,30,20", "--point", "2,30,20,-"], "on one plane"),
        (["--point", "2.5,30,20"], "a whole number"),
        (["--point", "9,30,20"], "there is no plane 9"),
        (["--point", "1,2,3,4"], "there is no plane at (1, 2)"),
        (["--point", "3,30,20", "--link"], "--link and --tracks belong to --everything"),
    ],
)
def test_what_cannot_be_is_one_line(
    stack: Path, loaded: SureSegmenter, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = stack.with_name("labels.tif")
    assert cli.main(["segment", str(stack), "-o", str(out), "--propagate", *words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not out.exists()
    assert not loaded.embedded


def test_a_single_plane_leads_nowhere(
    tmp_path: Path, loaded: SureSegmenter, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((32, 32), np.uint8))
    words = ["segment", str(tmp_path / "a.tif"), "-o", str(tmp_path / "b.tif"), "--point", "9,9", "--propagate"]
    assert cli.main(words) == 2
    assert "single plane" in capsys.readouterr().err


def test_times_of_a_series_are_followed_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = np.tile(rng.integers(0, 99, (40, 40)).astype(np.uint8), (2, 3, 1, 1))
    tifffile.imwrite(tmp_path / "a.tif", image, metadata={"axes": "TZYX"}, photometric="minisblack")
    job = SegmentJob(tmp_path / "a.tif", tmp_path / "b.tif", (Prompt((Point(20, 20),)),), plane=4)
    report = propagate_file(job, lambda: SureSegmenter(radius=8))
    labels = read_labels(report.path)
    assert labels[0].max() == 0
    assert (labels[1, :, 20, 20] == 1).all()
    assert sorted(report.verdicts) == [(3, 1), (5, 1)]
    assert report.uncertain == []


def test_what_is_lost_is_told(stack: Path, loaded: SureSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loaded.segment

    def segment(embedding, prompts, **options):
        answers = whole(embedding, prompts, **options)
        return answers if len(loaded.embedded) < 4 else [[] for _ in answers]

    monkeypatch.setattr(loaded, "segment", segment)
    job = SegmentJob(stack, stack.with_name("labels.tif"), (Prompt((Point(30, 20),)),), plane=0)
    report = propagate_file(job, lambda: loaded)
    assert sorted(report.uncertain) == [(3, 1), (4, 1), (5, 1)]
    assert report.verdicts[3, 1].flags == (LOST,)


def test_nothing_is_written_when_it_fails(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "propagate", broken)
    with pytest.raises(ZeroDivisionError):
        propagate_file(
            SegmentJob(stack, stack.with_name("labels.tif"), (Prompt((Point(30, 20),)),), plane=0), FakeSegmenter
        )
    assert [path.name for path in stack.parent.iterdir()] == ["stack.tif"]


def test_scratch_is_a_file_and_vanishes(tmp_path: Path) -> None:
    with temporary_array(tmp_path, (3, 4, 5), 2**16) as labels:
        assert isinstance(labels, np.memmap)
        assert (labels.dtype, labels.any()) == (np.uint32, False)
        labels[1] = 7
        assert export_labels(labels, tmp_path / "a.tif").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_everything_linked(stack: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    segmenter = KnowingSegmenter([Point(30, 20), Point(30, 60)], radius=8)
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: segmenter)
    out = stack.with_name("out")
    assert cli.main(["segment", str(stack), "-o", str(out), "--everything", "--link"]) == 0
    assert "stack.tif: 2 objects" in capsys.readouterr().out
    labels = read_labels(out / "stack_labels.tif")
    assert sorted({int(label) for label in labels[:, 30, 20]} | {int(label) for label in labels[:, 30, 60]}) == [1, 2]
    assert len((out / "stack_objects.csv").read_text().splitlines()) == 3
    # made in another way, the folder's files do not mix
    assert cli.main(["segment", str(stack), "-o", str(out), "--everything"]) == 2
    assert "another link" in capsys.readouterr().err


def test_a_table_of_confidence_is_not_replaced_unasked(
    stack: Path, loaded: SureSegmenter, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.with_name("labels_confidence.csv").write_text("mine")
    words = ["segment", str(stack), "-o", str(stack.with_name("labels.tif")), "--point", "3,30,20", "--propagate"]
    assert cli.main(words) == 2
    assert "labels_confidence.csv" in capsys.readouterr().err
    assert not stack.with_name("labels.tif").exists()
    assert stack.with_name("labels_confidence.csv").read_text() == "mine"
    assert cli.main([*words, "--overwrite"]) == 0


def test_the_table_of_confidence_lies_beside_the_labels_or_their_image(tmp_path: Path) -> None:
    create_labels(tmp_path / "image.zarr", Layout((2, 8, 8), np.dtype(np.uint16), "zyx", (1.0,) * 3), version="0.4")
    assert confidence_path(tmp_path / "image.zarr" / "labels" / "a") == tmp_path / "a_confidence.csv"
    # a folder that is only called so
    assert confidence_path(tmp_path / "labels" / "b.zarr") == tmp_path / "labels" / "b_confidence.csv"
