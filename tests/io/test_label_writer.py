"""Labels painted piece by piece, and how little of a file is read and written for that."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_segany import cli
from napari_segany.core import tiles
from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Point
from napari_segany.io.label_writer import LabelFileSpec, open_label_writer
from napari_segany.io.labels import read_labels
from napari_segany.models import loading
from tests.fakes import FakeSegmenter, KnowingSegmenter
from tests.io.test_images import ome_zarr


def disc(radius: int) -> np.ndarray:
    rows, columns = np.indices((2 * radius + 1,) * 2) - radius
    return rows**2 + columns**2 <= radius**2


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_pixels_stay_with_whoever_had_them_first(tmp_path: Path, name: str) -> None:
    sheet = LabelFileSpec(tmp_path / name, (2, 3, 40, 50), "tzyx", (1.0, 2.0, 0.5, 0.5), 300)
    with open_label_writer(sheet) as paper:
        assert paper.paint(4, disc(5), 300, (slice(20, 31), slice(10, 21))) == disc(5).sum()
        assert paper.paint(4, disc(5), 2, (slice(20, 31), slice(10, 21))) == 0
        assert paper.paint(0, np.ones((40, 50), bool), 1) == 2000
        assert paper.paint(1, np.zeros((40, 50), bool), 1) == 0
        assert not (tmp_path / name).exists()
    labels = read_labels(tmp_path / name)
    assert labels.shape == (2, 3, 40, 50)
    assert labels.dtype == np.uint16
    assert (labels[0, 0] == 1).all()
    assert np.array_equal(labels[1, 1, 20:31, 10:21] == 300, disc(5))
    assert np.count_nonzero(labels) == 2000 + disc(5).sum()


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_what_fails_half_way_leaves_nothing(tmp_path: Path, name: str) -> None:
    def fail() -> None:
        with open_label_writer(LabelFileSpec(tmp_path / name, (40, 50), "yx", (1.0, 1.0), 3)) as paper:
            paper.paint(0, disc(5), 1, (slice(0, 11), slice(0, 11)))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / name).touch()
    with (
        pytest.raises(InputError, match="exists"),
        open_label_writer(LabelFileSpec(tmp_path / name, (4, 5), "yx", (1.0, 1.0), 3)),
    ):
        pass


class Counting:
    """A lazy array that counts the chunks that are read."""

    def __init__(self, shape: tuple[int, ...], chunk: int) -> None:
        self.shape, self.dtype, self.chunk = shape, np.dtype(np.uint16), chunk
        self.read: set[tuple[int, ...]] = set()

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        spans: list[Iterable[int]] = []
        lengths = []
        for part, length, size in zip(
            key, self.shape, (*[1] * (len(self.shape) - 2), self.chunk, self.chunk), strict=True
        ):
            first, last = (part, part + 1) if isinstance(part, int) else part.indices(length)[:2]
            spans.append(range(first // size, (last - 1) // size + 1))
            lengths += [] if isinstance(part, int) else [last - first]
        self.read |= {
            tuple(one) for one in np.stack(np.meshgrid(*map(list, spans)), -1).reshape(-1, len(spans)).tolist()
        }
        return np.arange(np.prod(lengths), dtype=np.uint16).reshape(lengths)


def test_a_click_on_a_large_plane_reads_only_what_is_around_it() -> None:
    array = Counting((3, 20000, 20000), 1000)
    stack = Stack(array)
    assert len(stack.limits) == 1
    # the intensity range is that of samples, not of all
    assert len(array.read) <= 3 * 64
    array.read.clear()
    stack.part(1, (slice(9500, 10524), slice(4100, 5124)))
    assert array.read == {(1, row, column) for row in (9, 10) for column in (4, 5)}


def test_a_large_image_is_segmented_and_followed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "LARGE", 128 * 128)
    monkeypatch.setattr(tiles, "SIDE", 64)
    monkeypatch.setattr(tiles.window_around, "__defaults__", (64,))
    monkeypatch.setattr(tiles.segment_in_window, "__defaults__", (64,))
    rng = np.random.default_rng(0)
    image = ome_zarr(tmp_path / "image.zarr", rng.integers(0, 90, (6, 400, 500)).astype(np.uint16), "zyx", "0.4")
    model = FakeSegmenter(radius=8)
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: model)
    out = tmp_path / "out.zarr"
    assert cli.main(["segment", str(image), "--point", "2,200,300", "--point", "2,10,490", "-o", str(out)]) == 0
    assert {plane.shape for plane in model.embedded} == {(64, 64, 3)}
    labels = read_labels(out)
    assert labels.shape == (6, 400, 500)
    rows, columns = np.indices((400, 500))
    for label, (y, x) in enumerate(((200, 300), (10, 490)), start=1):
        assert np.array_equal(labels[2] == label, (rows - y) ** 2 + (columns - x) ** 2 <= 64)
    written = {path.name for path in (out / "0").rglob("*") if path.is_file() and path.name.isdigit()}
    # chunks are planes, and only one was painted on
    assert len([path for path in (out / "0").rglob("*") if path.is_file() and path.name.isdigit()]) == len(written) == 1
    followed = tmp_path / "followed.zarr"
    model.embedded.clear()
    assert cli.main(["segment", str(image), "--point", "2,200,300", "--propagate", "-o", str(followed)]) == 0
    assert {plane.shape for plane in model.embedded} == {(64, 64, 3)}
    labels = read_labels(followed)
    assert all(labels[z, 200, 300] == 1 for z in range(6))
    assert labels.max() == 1
    far = ["--point", "2,20,20", "--point", "2,380,480"]
    assert cli.main(["segment", str(image), *far, "--propagate", "-o", str(tmp_path / "far.zarr")]) == 2
    assert not (tmp_path / "far.zarr").exists()


def test_everything_of_a_large_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "LARGE", 128 * 128)
    monkeypatch.setattr(tiles.tile_grid, "__defaults__", (100, 40))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((150, 220), np.uint8))
    # the same place of each of six tiles
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: KnowingSegmenter([Point(50, 50)], radius=6))
    assert cli.main(["segment", str(tmp_path / "a.tif"), "--everything", "-o", str(tmp_path / "out")]) == 0
    labels = tifffile.imread(tmp_path / "out" / "a_labels.tif")
    assert [int(labels[y, x]) > 0 for y, x in ((50, 50), (100, 50), (50, 110), (100, 170))] == [True] * 4
    assert labels.max() == 6


def test_reading_a_zarr_touches_only_the_chunks_of_a_part(tmp_path: Path) -> None:
    place = tmp_path / "a.zarr"
    array = zarr.create_array(place, shape=(4, 512, 512), chunks=(1, 128, 128), dtype=np.uint16)
    array[...] = np.broadcast_to(np.arange(512, dtype=np.uint16), (4, 512, 512)) + 1
    needed = {place / "c" / "2" / row / "2" for row in "12"}
    for chunk in (place / "c").rglob("*"):
        if chunk.is_file() and chunk not in needed:
            chunk.write_bytes(b"torn, so that reading it fails")
    stack = Stack(zarr.open_array(place), limits=(0, 513))
    part = stack.part(2, (slice(200, 300), slice(256, 384)))
    assert part.shape == (100, 128, 3)
    assert part[0, 0, 0] == round(257 / 513 * 255)
    with pytest.raises(RuntimeError, match=r"(?i)zstd"):
        stack.part(2, (slice(200, 300), slice(256, 385)))
