"""Linked labels as tracks: napari's Tracks layer takes the table, and the folder has no gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Tracks

from napari_segany import cli
from napari_segany.core.errors import InputError
from napari_segany.io.formats import tracks
from napari_segany.io.formats.tracks import graph_of, write_ctc, write_tracks
from napari_segany.models import loading
from tests.fakes import SightedSegmenter


@pytest.fixture
def labels() -> np.ndarray:
    """Object 3 is there in frames 0, 1 and 3, object 7 from frame 1 on, one pixel farther each time."""
    found = np.zeros((4, 20, 30), np.uint16)
    for time in range(4):
        if time != 2:
            found[time, 2:5, 4:7] = 3
        if time:
            found[time, 10 + time : 13 + time, 20:23] = 7
    return found


def test_the_table_is_what_napari_takes(labels: np.ndarray, tmp_path: Path) -> None:
    write_tracks(tmp_path / "tracks.csv", graph_of(labels))
    assert (tmp_path / "tracks.csv").read_text().splitlines()[:2] == ["track_id,t,y,x", "3,0,3.000,5.000"]
    table = np.loadtxt(tmp_path / "tracks.csv", delimiter=",", skiprows=1)
    assert table.tolist() == [[3, 0, 3, 5], [3, 1, 3, 5], [3, 3, 3, 5], [7, 1, 12, 21], [7, 2, 13, 21], [7, 3, 14, 21]]
    assert np.array_equal(Tracks(table).data, table)


def test_the_table_of_volumes_and_of_nothing(labels: np.ndarray, tmp_path: Path) -> None:
    volumes = np.stack([labels, labels], axis=1)
    assert graph_of(volumes).tracks()[0][0].tolist() == [3, 0, 0.5, 3, 5]
    empty = graph_of(np.zeros((2, 8, 8), np.uint16))
    assert empty.tracks()[0].shape == (0, 4)
    write_tracks(tmp_path / "tracks.csv", empty)
    assert (tmp_path / "tracks.csv").read_text() == "track_id,t,y,x\n"


def test_a_track_of_the_folder_has_no_gap(labels: np.ndarray, tmp_path: Path) -> None:
    write_ctc(tmp_path / "ctc", labels)
    assert (tmp_path / "ctc" / "res_track.txt").read_text() == "1 0 1 0\n2 3 3 1\n3 1 3 0\n"
    masks = [tifffile.imread(tmp_path / "ctc" / f"mask{time:03d}.tif") for time in range(4)]
    assert all(mask.dtype == np.uint16 for mask in masks)
    assert [sorted(np.unique(mask[mask > 0]).tolist()) for mask in masks] == [[1], [1, 3], [3], [2, 3]]
    assert np.array_equal(np.stack(masks) > 0, labels > 0)
    # again, in place of the first
    write_ctc(tmp_path / "ctc", labels[:1])
    assert sorted(path.name for path in (tmp_path / "ctc").iterdir()) == ["mask000.tif", "res_track.txt"]


def test_more_tracks_than_the_format_holds(labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracks, "HIGHEST", 2)
    with pytest.raises(InputError, match="holds 2 tracks, and there are 3"):
        write_ctc(tmp_path / "ctc", labels)
    assert not (tmp_path / "ctc").exists()


def movie(times: int, depths: int) -> np.ndarray:
    """Two discs that move apart, at all depths but the first; from frame 2 on there is a third one."""
    rows, columns = np.indices((50, 60))
    image = np.full((times, depths, 50, 60), 10, np.uint8)
    for time in range(times):
        for y, x in [(20, 20 - time), (30, 35 + time), *([(6, 50)] if time > 1 else [])]:
            image[time, 1:, (rows - y) ** 2 + (columns - x) ** 2 <= 16] = 200
    return image


@pytest.mark.parametrize("depths", [1, 3])
def test_ids_keep_over_time_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depths: int) -> None:
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: SightedSegmenter(radius=4))
    image = movie(4, 3) if depths == 3 else movie(4, 2)[:, 1]
    tifffile.imwrite(tmp_path / "m.ome.tif", image, metadata={"axes": "TZYX" if depths == 3 else "TYX"}, ome=True)
    out = tmp_path / "out"
    assert cli.main(["segment", str(tmp_path / "m.ome.tif"), "--everything", "--link", "--tracks", "-o", str(out)]) == 0
    labels = tifffile.imread(out / "m.ome_labels.tif")
    assert labels.shape == image.shape
    places = [(20, 20), (30, 35)]
    at = (slice(None), 1) if depths == 3 else (slice(None),)
    for number, (y, x) in enumerate(places, start=1):
        step = -1 if number == 1 else 1
        assert [labels[at][time, y, x + step * time] for time in range(4)] == [number] * 4
    assert [labels[at][time, 6, 50] for time in range(4)] == [0, 0, 3, 3]
    table = np.loadtxt(out / "m.ome_tracks.csv", delimiter=",", skiprows=1)
    assert table.shape == (10, 5 if depths == 3 else 4)
    assert (out / "m.ome_ctc" / "res_track.txt").read_text() == "1 0 3 0\n2 0 3 0\n3 2 3 0\n"
    assert len(tifffile.imread(out / "m.ome_labels.tif")) == 4
    # a row for each object at each time
    assert len((out / "m.ome_objects.csv").read_text().splitlines()) == 1 + 10


@pytest.mark.parametrize(
    ("arguments", "line"),
    [(["--everything", "--tracks"], "add --link"), (["--tracks"], "belong to --everything")],
)
def test_tracks_need_links(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    assert cli.main(["segment", "image.tif", *arguments, "-o", str(tmp_path / "out")]) == 2
    assert line in capsys.readouterr().err


def test_a_single_plane_has_no_tracks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: SightedSegmenter(radius=4))
    tifffile.imwrite(tmp_path / "a.tif", movie(1, 2)[0, 1])
    out = tmp_path / "out"
    assert cli.main(["segment", str(tmp_path / "a.tif"), "--everything", "--link", "--tracks", "-o", str(out)]) == 2
    assert "tracks are of (t, y, x)" in capsys.readouterr().err
