"""Identity queries: their features, their probabilities, and how objects are chosen; a linker uses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_segany.core.errors import ModelError
from napari_segany.core.link import Linker
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.models.inference_config import read_metadata, weights_hash
from napari_segany.models.mask2former import identity_queries
from napari_segany.models.mask2former.identity_features import PAIRS, SHAPES, frame_objects, object_pairs
from napari_segany.models.mask2former.identity_queries import (
    FEATURES,
    IdentityAssociation,
    IdentityConfig,
    IdentityQueries,
    PairLogits,
    choose,
    grouped_softmax,
    identity_for,
    read_identity,
    shipped_identity,
)
from napari_segany.models.registry import find
from tests.fakes import FakeSegmenter


def embedding(shape: tuple[int, int] = (64, 96), seed: int = 0, gray: np.ndarray | None = None) -> ImageEmbedding:
    """Features as of `tiny`, whose first channel is the row of a cell."""
    rng = np.random.default_rng(seed)
    image_embed = rng.normal(size=(1, 128, 64, 64)).astype(np.float16)
    image_embed[0, 0] = np.arange(64)[:, None]
    high = rng.normal(size=(1, 32, 128, 128)).astype(np.float16)
    plane = np.zeros((*shape, 3), np.uint8) if gray is None else np.repeat(gray[..., None], 3, 2)
    return ImageEmbedding({"image_embed": image_embed, "high_res_1": high, "plane": plane}, shape, "tiny")


def squares(*corners: tuple[int, int, int], side: int = 10) -> np.ndarray:
    labels = np.zeros((64, 96), np.int32)
    for label, y, x in corners:
        labels[y : y + side, x : x + side] = label
    return labels


def test_what_is_measured_of_objects() -> None:
    objects = frame_objects(squares((9, 0, 0), (4, 30, 50)), embedding())
    assert objects.labels == [9, 4]
    assert objects.middles.tolist() == [[4.5, 4.5], [34.5, 54.5]]
    assert objects.sizes.tolist() == [100, 100]
    assert (objects.content.shape, objects.shapes.shape) == ((2, 160), (2, SHAPES))
    # a cell is 1.5 pixels of the plane: rows 0 to 9 and 30 to 39 lie in cells 0 to 6 and 20 to 26
    assert objects.content[:, 0] == pytest.approx([3, 23], abs=0.3)
    assert objects.shapes[:, 4].tolist() == [1, 0]


def test_features_of_another_model_are_refused() -> None:
    with pytest.raises(ModelError, match="need features of tiny"):
        frame_objects(squares((1, 0, 0)), ImageEmbedding({"f": np.zeros((1, 8, 4, 4))}, (64, 96), "fake"))
    with pytest.raises(ModelError, match="need the embedding"):
        IdentityAssociation(IdentityQueries(IdentityConfig())).describe(squares((1, 0, 0)), None)


def test_pairs_are_the_nearest_and_those_that_overlap() -> None:
    before = frame_objects(squares(*[(n, 0, 12 * n) for n in range(1, 7)]), embedding())
    after = frame_objects(squares((1, 2, 12), (2, 40, 80)), embedding())
    pairs = object_pairs(before, after)
    assert pairs.features.shape == (len(pairs.index), PAIRS)
    assert np.isfinite(pairs.features).all()
    first = pairs.features[(pairs.index == [0, 0]).all(1)][0]
    assert first[0] == pytest.approx(80 / 120)
    assert first[1] == first[2] == pytest.approx(0.8)


def test_drift_of_the_whole_picture_is_no_motion() -> None:
    gray = np.random.default_rng(0).integers(0, 255, (64, 96)).astype(np.uint8)
    before = frame_objects(squares((1, 20, 20)), embedding(gray=gray))
    after = frame_objects(squares((1, 20, 32)), embedding(gray=np.roll(gray, 12, axis=1)))
    pairs = object_pairs(before, after)
    assert pairs.drift.tolist() == [0, 12]
    assert pairs.features[0, 0] == 1


def test_frames_without_objects() -> None:
    empty, full = frame_objects(squares(), embedding()), frame_objects(squares((1, 0, 0)), embedding())
    for pair in ((empty, full), (full, empty), (empty, empty)):
        assert object_pairs(*pair).index.shape == (0, 2)
    linker = Linker(association=IdentityAssociation(IdentityQueries(IdentityConfig())))
    for labels in (squares(), squares((1, 0, 0)), squares()):
        linker.add(labels, embedding())
    assert linker.numbers() == [{}, {1: 1}, {}]


def test_softmax_of_each_owner_and_its_rest() -> None:
    logits, owner, rest = torch.tensor([1.0, 2.0, 50.0]), torch.tensor([0, 0, 2]), torch.tensor([0.5, 3.0, -60.0])
    pairs, none = grouped_softmax(logits, owner, rest)
    expected = torch.log_softmax(torch.tensor([1.0, 2.0, 0.5]), 0)
    assert torch.allclose(pairs[:2], expected[:2])
    assert torch.allclose(none, torch.tensor([expected[2], 0, -110.0]))


def chosen(pairs: dict[tuple[int, int], float], divides: list[float], count: int) -> tuple[list, list]:
    index = np.array(list(pairs))
    logits = PairLogits(
        torch.tensor(list(pairs.values())), torch.zeros(len(divides)), torch.tensor(divides), torch.zeros(count)
    )
    return choose(logits, index, IdentityConfig(), (np.ones(len(divides), bool), np.ones(count, bool)))


def test_the_best_assignment_and_no_object_twice() -> None:
    assert chosen({(0, 0): 6.0, (0, 1): 1.0, (1, 0): 5.0, (1, 1): 5.0}, [-5.0, -5.0], 2) == ([(0, 0), (1, 1)], [])
    assert chosen({(0, 0): -6.0}, [-5.0], 1) == ([], [])


def test_only_a_query_that_divides_has_two_objects() -> None:
    two = {(0, 0): 6.0, (0, 1): 5.0}
    assert chosen(two, [4.0], 2) == ([(0, 0)], [(0, 1)])
    assert chosen(two, [-4.0], 2) == ([(0, 0)], [])
    assert chosen({(0, 0): 6.0, (0, 1): -5.0}, [4.0], 2) == ([(0, 0)], [])


def test_weights_are_read_with_their_sizes_and_nothing_else_is(tmp_path: Path) -> None:
    from napari_segany.training.train_identity import write_identity

    model = IdentityQueries(IdentityConfig(channels=16, layers=1, link=0.4))
    write_identity(model, tmp_path / "a.safetensors", "hash")
    again = read_identity(tmp_path / "a.safetensors")
    assert again.config == model.config
    assert read_metadata(tmp_path / "a.safetensors")[FEATURES] == "hash"
    with pytest.raises(ModelError, match="holds no identity queries"):
        read_identity(find("tiny").path)
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        read_identity(tmp_path / "b.safetensors")


def test_the_weights_in_the_package_are_small_and_learned_from_the_tiny_there() -> None:
    path = shipped_identity()
    assert path.stat().st_size <= 500_000
    # `napari-segany train identity tiny-identity` when this fails: tiny is another one
    assert read_metadata(path)[FEATURES] == weights_hash(find("tiny").path)
    read_identity(path)


def test_other_models_and_another_tiny_have_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from napari_segany.training.train_identity import write_identity

    class Named(FakeSegmenter):
        name = "tiny"

    assert identity_for(FakeSegmenter()) is None
    write_identity(IdentityQueries(IdentityConfig(channels=16)), tmp_path / "a.safetensors", "sha256:other")
    monkeypatch.setattr(identity_queries, "shipped_identity", lambda: tmp_path / "a.safetensors")
    assert identity_for(Named()) is None
    monkeypatch.setattr(identity_queries, "shipped_identity", lambda: tmp_path / "none.safetensors")
    assert identity_for(Named()) is None


def test_the_shipped_queries_keep_what_moves_beyond_its_overlap() -> None:
    """Two objects that go 1.2 times their width, with the whole picture at rest."""
    linker, overlap = Linker(association=IdentityAssociation(read_identity(shipped_identity()))), Linker()
    for time in range(4):
        labels = squares((5, 10, 5 + 12 * time), (3, 40, 60 - 12 * time))
        linker.add(labels, embedding())
        overlap.add(labels)
    assert max(max(one.values()) for one in overlap.numbers()) == 8
    assert linker.numbers() == [{5: 1, 3: 2}] * 4
    assert linker.mothers() == {}
