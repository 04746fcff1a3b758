"""Objects followed by the memory of SAM 2, EdgeTAM and SAM 3, as by the library's documented way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_segany.core.confidence import FILLED, LOST, Gates
from napari_segany.core.errors import ModelError
from napari_segany.core.planes import Stack
from napari_segany.core.propagate import propagate
from napari_segany.engine.embeddings import rounded
from napari_segany.models.adapters.hub_loading import load_hub_folder
from napari_segany.models.adapters.transformers_segmenter import TransformersSegmenter

from tests.models.adapters.small_models import CLASSES, small_folder, transformers  # isort: skip

KINDS = ("sam2_video", "edgetam_video", "sam3_tracker_video")
SHAPE = (90, 140)
LENGTH, FIRST = 21, 10
OPEN = Gates(confidence=0, score=0, smallest=1)


@pytest.fixture(scope="module")
def video() -> np.ndarray:
    """(n, y, x, 3) uint8: blocks that drift."""
    blocks = np.random.default_rng(2).integers(0, 256, (16, 24, 3))
    large = np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([large[n : n + SHAPE[0], n : n + SHAPE[1]] for n in range(LENGTH)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: small_folder(kind, tmp_path_factory.mktemp(kind), seed=5) for kind in KINDS}


@pytest.fixture(scope="module")
def segmenters(folders: dict[str, Path]) -> dict[str, TransformersSegmenter]:
    found = {kind: load_hub_folder(folder, torch.device("cpu")) for kind, folder in folders.items()}
    for one in found.values():
        one.kept = torch.float32
    return found


def rectangle(y: int, x: int, height: int = 24, width: int = 30) -> np.ndarray:
    found = np.zeros(SHAPE, bool)
    found[y : y + height, x : x + width] = True
    return found


def processor_of(kind: str) -> Any:
    side = 112 if kind.startswith("sam3") else 128
    size = {"height": side, "width": side}
    if kind.startswith("sam3"):
        images = transformers.Sam3ImageProcessor(size=size)
        half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        videos = transformers.Sam2VideoVideoProcessor(size=size, **half)
        return transformers.Sam3TrackerVideoProcessor(images, videos)
    videos = transformers.Sam2VideoVideoProcessor(size=size)
    return transformers.Sam2VideoProcessor(transformers.Sam2ImageProcessor(size=size), videos)


def documented(
    kind: str, folder: Path, video: np.ndarray, known: dict[int, dict[int, np.ndarray]]
) -> dict[int, tuple[torch.Tensor, np.ndarray]]:
    """Logits and masks of each slice, forward and then backward, as the library's documentation does it."""
    processor = processor_of(kind)
    model = getattr(transformers, CLASSES[kind]).from_pretrained(folder).eval()
    session = processor.init_video_session(video=list(video), inference_device="cpu", dtype=torch.float32)
    for number, masks in known.items():
        labels, pixels = list(masks), list(masks.values())
        processor.add_inputs_to_inference_session(session, frame_idx=number, obj_ids=labels, input_masks=pixels)
        model(session, frame_idx=number)
    found = {}
    start = min(known)
    for backward in (False, True):
        for out in model.propagate_in_video_iterator(session, start_frame_idx=start, reverse=backward):
            masks = processor.post_process_masks([out.pred_masks], original_sizes=[list(SHAPE)])[0]
            found.setdefault(out.frame_idx, (out.pred_masks[:, 0], masks[:, 0].numpy()))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_ten_slices_both_ways_are_the_librarys(segmenters, folders, video, kind) -> None:
    segmenter = segmenters[kind]
    mask = rectangle(30, 40)
    theirs = documented(kind, folders[kind], video, {FIRST: {1: mask}})
    embeddings = [segmenter.embed(plane) for plane in video]
    memory = segmenter.remember(LENGTH)
    memory.give(FIRST, embeddings[FIRST], mask)
    for way in (1, -1):
        for number in range(FIRST + way, FIRST + 11 * way, way):
            ours = memory.step(number, embeddings[number], backward=way < 0)
            logits, masks = theirs[number]
            np.testing.assert_allclose(ours.logits, logits[0], atol=1e-4, rtol=1e-4)
            assert np.mean(ours.pixels != masks[0]) < 1e-3
            assert 0 <= ours.score <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_several_objects_and_corrections_are_the_librarys(segmenters, folders, video, kind) -> None:
    segmenter = segmenters[kind]
    known = {
        4: {1: rectangle(30, 40), 2: rectangle(8, 90)},
        12: {1: rectangle(40, 50), 2: rectangle(12, 95)},
    }
    theirs = documented(kind, folders[kind], video, known)
    embeddings = [segmenter.embed(plane) for plane in video]
    for label in (1, 2):
        memory = segmenter.remember(LENGTH)
        for number, masks in known.items():
            memory.give(number, embeddings[number], masks[label])
        for number in [*range(5, LENGTH), *range(3, -1, -1)]:
            if number not in known:
                ours = memory.step(number, embeddings[number], backward=number < 4)
                np.testing.assert_allclose(ours.logits, theirs[number][0][label - 1], atol=1e-4, rtol=1e-4)


def steps(segmenter: Any, video: np.ndarray, known: Any, **options: Any) -> Iterator[Any]:
    stack = Stack(video, rgb=True)
    return propagate(segmenter, stack, known, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_propagation_uses_the_memory(segmenters, folders, video, kind) -> None:
    segmenter = segmenters[kind]
    assert segmenter.capabilities.memory
    stack = Stack(video, rgb=True)
    frames = np.stack([stack.plane(number) for number in range(LENGTH)])
    mask = rectangle(30, 40)
    theirs = documented(kind, folders[kind], frames, {FIRST: {7: mask}})
    visited = []
    for number, masks, verdicts in steps(segmenter, video, {FIRST: {7: mask}}, gates=OPEN):
        visited.append(number)
        if LOST not in verdicts[7].flags and FILLED not in verdicts[7].flags:
            assert np.mean(masks[7].pixels != theirs[number][1][0]) < 1e-3
    assert visited[0] == FIRST + 1
    assert set(visited) <= set(range(LENGTH)) - {FIRST}


def test_features_come_from_a_cache(segmenters, video) -> None:
    segmenter = segmenters["sam2_video"]
    stack = Stack(video, rgb=True)
    kept = {number: rounded(segmenter.embed(stack.plane(number))) for number in range(LENGTH)}
    asked: list[int] = []

    def embed(number: int) -> Any:
        asked.append(number)
        return kept[number]

    known = {FIRST: {1: rectangle(30, 40), 2: rectangle(5, 5)}}
    calls = segmenter.model.vision_encoder.register_forward_hook(lambda *given: pytest.fail("a slice was encoded"))
    try:
        found = list(steps(segmenter, video, known, gates=OPEN, embed=embed))
    finally:
        calls.remove()
    assert found
    assert asked.count(FIRST) == 2, "once for each object that is given there"
    assert all(asked.count(number) <= 1 for number in set(asked) - {FIRST})


def test_no_two_objects_share_a_pixel_and_given_slices_stay(segmenters, video) -> None:
    known = {4: {1: rectangle(30, 40), 2: rectangle(30, 60)}, 9: {1: rectangle(35, 45)}}
    for number, masks, _ in steps(segmenters["sam2_video"], video, known, gates=OPEN):
        total = np.sum([mask.pixels for mask in masks.values()], axis=0) if masks else np.zeros(SHAPE)
        assert total.max() <= 1
        assert not (number == 9 and 1 in masks)
        if number == 9 and 2 in masks:
            assert not (masks[2].pixels & known[9][1]).any()


def test_an_empty_mask_ends_an_object(segmenters, video) -> None:
    nothing = np.zeros(SHAPE, bool)
    known = {4: {1: rectangle(30, 40)}, 8: {1: nothing}, 12: {1: rectangle(40, 50)}}
    found = list(steps(segmenters["sam2_video"], video, known, gates=OPEN))
    assert 8 not in {number for number, _, _ in found}


def test_it_stops_when_it_is_not_iterated(segmenters, video) -> None:
    asked: list[int] = []
    segmenter = segmenters["sam2_video"]
    stack = Stack(video, rgb=True)

    def embed(number: int) -> Any:
        asked.append(number)
        return segmenter.embed(stack.plane(number))

    walk = steps(segmenter, video, {FIRST: {1: rectangle(30, 40)}}, gates=OPEN, embed=embed)
    next(walk)
    walk.close()
    assert asked == [FIRST + 1, FIRST] or asked == [FIRST, FIRST + 1]


def test_memory_does_not_grow_with_the_slices(segmenters, video) -> None:
    segmenter = segmenters["sam2_video"]
    embedding = segmenter.embed(video[0])
    memory = segmenter.remember(400)
    memory.give(0, embedding, rectangle(30, 40))
    sizes = []
    for number in range(1, 80):
        memory.step(number, embedding, backward=False)
        outputs = memory._outputs("non_cond_frame_outputs")
        sizes.append(sum(value.numel() for one in outputs.values() for value in one.values()))
        assert not any("high_res_masks" in one for one in outputs.values())
    assert sizes[-1] == sizes[40]
    assert len(outputs) <= 32


def test_folders_without_a_memory_say_so(tmp_path) -> None:
    segmenter = load_hub_folder(small_folder("sam2", tmp_path / "still"), torch.device("cpu"))
    assert not segmenter.capabilities.memory
    with pytest.raises(ModelError, match="has no memory"):
        segmenter.remember(3)


@pytest.mark.parametrize("kind", KINDS)
def test_clicks_are_those_of_the_model_without_memory(segmenters, video, kind) -> None:
    from napari_segany.core.prompts import Point, Prompt

    segmenter = segmenters[kind]
    embedding = segmenter.embed(video[0])
    before = segmenter.segment(embedding, [Prompt((Point(30, 40),))])[0]
    segmenter.remember(3).give(0, embedding, rectangle(30, 40))
    after = segmenter.segment(embedding, [Prompt((Point(30, 40),))])[0]
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.logits, two.logits)
