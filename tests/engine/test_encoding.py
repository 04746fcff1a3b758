"""Embeddings on the disk: looked up, kept, rounded, and made anew when they are damaged."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany import cli
from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.core.synthetic import synthetic_image
from napari_segany.engine.embeddings import EmbeddingStore
from napari_segany.engine.encoding import PlaneEncoder, default_store, model_key, plane_encoder
from napari_segany.engine.prediction import load_default
from napari_segany.engine.remote_segmenter import load_remote_default
from tests.fakes import FakeSegmenter

PLANE = synthetic_image(np.random.default_rng(3), (90, 120), kind="fluorescence", radius=14).image


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "embeddings"
    monkeypatch.setenv("SEGANY_EMBEDDINGS", str(place))
    monkeypatch.delenv("SEGANY_EMBEDDINGS_GB", raising=False)
    return place


class Third(FakeSegmenter):
    """Its embeddings are not exact in half precision."""

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        made = super().embed(plane)
        return ImageEmbedding({**made.features, "third": np.full((4, 4), 1 / 3, np.float32)}, made.shape, made.model)


def test_what_is_decoded_from_is_the_same_kept_or_not(folder: Path) -> None:
    segmenter = Third()
    kept, again = (PlaneEncoder(segmenter, EmbeddingStore(folder), "maker") for _ in range(2))
    first, second, without = kept.embed(PLANE), again.embed(PLANE), PlaneEncoder(segmenter, None, "").embed(PLANE)
    assert len(segmenter.embedded) == 2
    for one in (first, second, without):
        assert one.features["third"].dtype == np.float16
        assert np.array_equal(one.features["third"], first.features["third"])
    # another maker has others
    PlaneEncoder(segmenter, EmbeddingStore(folder), "other").embed(PLANE)
    assert len(segmenter.embedded) == 3


def test_a_damaged_entry_is_said_and_made_anew(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    segmenter = Third()
    encoder = PlaneEncoder(segmenter, EmbeddingStore(folder), "maker")
    first = encoder.embed(PLANE)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-200])
    encoder.memory.clear()
    with caplog.at_level(logging.WARNING):
        second = encoder.embed(PLANE)
    assert "is damaged and is computed again" in caplog.text
    assert np.array_equal(first.features["third"], second.features["third"])
    assert len(segmenter.embedded) == 2
    encoder.memory.clear()
    encoder.embed(PLANE)
    assert len(segmenter.embedded) == 2


@pytest.mark.parametrize("maker", ["maker", ""])
def test_a_plane_is_encoded_once_while_it_is_remembered(folder: Path, maker: str) -> None:
    segmenter = Third()
    encoder = PlaneEncoder(segmenter, None, maker)
    (key, first), (same, second) = encoder.embed_keyed(PLANE), encoder.embed_keyed(PLANE.copy())
    assert (key, first) == (same, second)
    assert len(segmenter.embedded) == 1
    assert encoder.embed_keyed(255 - PLANE)[0] != key
    assert len(encoder.memory) == 2


def test_weights_that_are_not_known_are_not_kept(folder: Path) -> None:
    assert model_key(FakeSegmenter()) == ""
    plane_encoder(FakeSegmenter()).embed(PLANE)
    assert not folder.exists()
    named = FakeSegmenter()
    named.name = "mine-0123abcd"
    assert model_key(named).startswith("mine-0123abcd")


def test_the_quota_is_a_number_of_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = default_store()
    assert store is not None
    assert store.quota == 4 * 2**30
    monkeypatch.setenv("SEGANY_EMBEDDINGS_GB", "0.5")
    store = default_store()
    assert store is not None
    assert store.quota == 2**29
    monkeypatch.setenv("SEGANY_EMBEDDINGS_GB", "0")
    assert default_store() is None
    monkeypatch.setenv("SEGANY_EMBEDDINGS_GB", "much")
    with pytest.raises(InputError, match="number of gigabytes"):
        default_store()


def test_embed_fills_what_the_process_of_the_widget_finds(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "stack.tif"
    tifffile.imwrite(image, np.stack([PLANE, PLANE[::-1]]), photometric="rgb" if PLANE.ndim == 3 else "minisblack")
    assert cli.main(["embed", str(image)]) == 0
    assert "encoded 2 planes" in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(before) == 2
    assert cli.main(["embed", str(image)]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert cli.main(["embed", str(tmp_path / "none.tif")]) == 2


def test_a_click_has_the_same_answer_from_the_disk(folder: Path) -> None:
    plane = np.repeat(PLANE[..., None], 3, -1) if PLANE.ndim == 2 else PLANE
    prompts = [Prompt((Point(40, 50),))]
    answers = []
    for _ in range(2):
        segmenter = load_remote_default()
        answers.append(segmenter.segment(segmenter.embed(plane), prompts)[0])
        segmenter.close()
    assert len(list(folder.iterdir())) == 1
    for one, other in zip(*answers, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal(one.logits, other.logits)
    # the model that ships has them in half precision where it computes so, and loses nothing
    assert set(load_default().embed(plane).features) == set(segmenter_features(folder))


def segmenter_features(folder: Path) -> list[str]:
    (path,) = folder.iterdir()
    found = EmbeddingStore(folder).get(path.stem)
    assert found is not None
    return list(found.features)
