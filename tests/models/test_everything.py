"""Automatic masks are those of the generator of `segment-anything` 1.0."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import segment_anything
import torch
import torch.nn.functional as F

from napari_segany.core.automatic_masks import (
    Candidate,
    Grid,
    clean_mask,
    crop_windows,
    filter_candidates,
    generate_candidates,
)
from napari_segany.core.filters import Filters
from napari_segany.core.masks import Mask
from napari_segany.core.metrics import iou
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.core.synthetic import Outlines, scatter
from napari_segany.models.sam.image_encoder import EncoderConfig
from napari_segany.models.sam.model import Sam, build_sam
from napari_segany.models.sam_segmenter import SamSegmenter
from tests.fakes import FakeSegmenter
from tests.models.test_parity import reference_like

SHALLOW = EncoderConfig(width=48, depth=1, heads=2, global_blocks=(0,), image_size=256, out_channels=64)
STEPS = 120


def blobs(shape: tuple[int, int], seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Bright blobs on dark ground, (y, x, 3) uint8, and their labels."""
    rng = np.random.default_rng(seed)
    labels = scatter(rng, shape, 18, count=25, crowding=0.3, outlines=Outlines(0.1))
    gray = 30 + 150 * (labels > 0) + rng.normal(0, 4, shape) + 8 * (labels % 5)
    return np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1), labels


def answers_to(model: Sam, features: dict[str, torch.Tensor], labels: np.ndarray, rng: np.random.Generator):
    """Logits and predicted IoU of clicks on random pixels, and the masks that they are on."""
    rows, columns = (rng.integers(0, length, 24) for length in labels.shape)
    targets = np.stack([labels == labels[y, x] for y, x in zip(rows, columns, strict=True)])
    xy = torch.from_numpy(np.stack([columns, rows], -1)[:, None].astype(np.float32))
    logits, scores = model.decode(features, (xy, torch.ones(24, 1, dtype=torch.long)))
    return logits, scores, F.avg_pool2d(torch.from_numpy(targets).float()[:, None], 4)


@pytest.fixture(scope="module")
def fitted(randomise: Callable[[Sam], Sam]) -> Sam:
    """A shallow model that has learned the blobs of one picture; random weights draw no mask that passes a filter."""
    torch.manual_seed(0)
    model = randomise(build_sam(SHALLOW)).train()
    image, labels = blobs((256, 256))
    picture = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(STEPS):
        logits, scores, target = answers_to(model, model.encode(picture), labels, rng)
        target = target.expand_as(logits)
        overlap = ((logits > 0) & (target > 0.5)).sum((-2, -1)) / ((logits > 0) | (target > 0.5)).sum((-2, -1))
        loss = 5 * F.binary_cross_entropy_with_logits(logits, target) + F.mse_loss(scores, overlap)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def reference_masks(generator: segment_anything.SamAutomaticMaskGenerator, image: np.ndarray) -> list[np.ndarray]:
    return [one["segmentation"] for one in generator.generate(image)]


def our_masks(candidates: Sequence[Candidate], shape: tuple[int, int]) -> list[np.ndarray]:
    masks = []
    for one in candidates:
        mask = np.zeros(shape, bool)
        mask[one.window] = one.mask
        masks.append(mask)
    return masks


def assert_the_same(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> None:
    """The same number of masks, and to each of theirs one of ours."""
    assert len(ours) == len(theirs) > 0
    overlaps = np.array([[iou(a, b) for b in ours] for a in theirs])
    assert (overlaps.max(axis=1) >= 0.999).all()
    assert sorted(overlaps.argmax(axis=1)) == list(range(len(ours)))


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("shape", [(256, 256), (180, 300)], ids=str)
def test_a_fitted_model_gives_the_masks_of_the_reference(fitted: Sam, shape: tuple[int, int], layers: int) -> None:
    image, _ = blobs(shape)
    filters = Filters(score=0.6, stability=0.8)
    generator = segment_anything.SamAutomaticMaskGenerator(
        reference_like(SHALLOW, fitted.state_dict()),
        points_per_side=12,
        pred_iou_thresh=filters.score,
        stability_score_thresh=filters.stability,
        crop_n_layers=layers,
        crop_n_points_downscale_factor=2,
    )
    segmenter = SamSegmenter(fitted, "fitted")
    found = [one for _, batch in generate_candidates(segmenter, image, Grid(12, layers, 2)) for one in batch]
    assert_the_same(our_masks(filter_candidates(found, filters, shape), shape), reference_masks(generator, image))


def made_up_logits(xy: np.ndarray, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each point three cones of random size and steepness (B, 3, y, x), and what they are worth (B, 3)."""
    y, x = np.indices(shape)
    logits, scores = [], []
    for px, py in xy:
        rng = np.random.default_rng((round(px * 100), round(py * 100), *shape))
        middle = py + rng.normal(0, 3), px + rng.normal(0, 3)
        distance = np.hypot(y - middle[0], x - middle[1])
        radii, steep = rng.uniform(4, 40, (3, 1, 1)), rng.uniform(0.3, 3, (3, 1, 1))
        logits.append((radii - distance) * steep)
        scores.append(rng.uniform(0.7, 1, 3))
    return torch.from_numpy(np.array(logits)).float(), torch.from_numpy(np.array(scores)).float()


class MadeUp(FakeSegmenter):
    """A segmenter that answers with `made_up_logits`."""

    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        xy = np.array([[prompt.points[0].x, prompt.points[0].y] for prompt in prompts])
        logits, scores = made_up_logits(xy, embedding.shape)
        sizes = [(logits > offset).sum((-2, -1)) for offset in (1, -1)]
        steady = sizes[0] / sizes[1]
        masks = (logits > 0).numpy()
        return [
            [
                Mask(masks[i, k], float(scores[i, k]), np.zeros((1, 1), np.float32), float(steady[i, k]))
                for k in range(3)
                if scores[i, k] >= at_least
            ]
            for i in range(len(prompts))
        ]


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_the_same_logits_pass_the_same_filters(
    small_sam: Sam, small_config: EncoderConfig, monkeypatch: pytest.MonkeyPatch, layers: int
) -> None:
    shape = (230, 310)
    generator = segment_anything.SamAutomaticMaskGenerator(
        reference_like(small_config, small_sam.state_dict()), points_per_side=10, crop_n_layers=layers
    )
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(generator.predictor, "set_image", lambda image: seen.append(image.shape[:2]))

    def answer(points: torch.Tensor, labels: torch.Tensor, **options: bool) -> tuple[torch.Tensor, torch.Tensor, None]:
        height, width = generator.predictor.transform.get_preprocess_shape(*seen[-1], small_config.image_size)
        scale = np.array([seen[-1][1] / width, seen[-1][0] / height])
        return *made_up_logits(points[:, 0].numpy() * scale, seen[-1]), None

    monkeypatch.setattr(generator.predictor, "predict_torch", answer)
    image = np.zeros((*shape, 3), np.uint8)
    theirs = reference_masks(generator, image)
    found = [one for _, batch in generate_candidates(MadeUp(), image, Grid(10, layers)) for one in batch]
    assert_the_same(our_masks(filter_candidates(found, Filters(), shape), shape), theirs)


@pytest.mark.parametrize("shape", [(300, 300), (513, 700), (97, 1031)], ids=str)
def test_crops_are_those_of_the_reference(shape: tuple[int, int]) -> None:
    boxes, layers = segment_anything.utils.amg.generate_crop_boxes(shape, 2, 512 / 1500)
    ours = [[c.start, r.start, c.stop, r.stop] for _, (r, c) in crop_windows(shape, 2)]
    assert ours == boxes
    assert [layer for layer, _ in crop_windows(shape, 2)] == layers


def test_small_holes_and_islands_go_as_in_the_reference() -> None:
    rng = np.random.default_rng(1)
    for size in (3, 12, 60):
        mask = np.pad(rng.random((38, 48)) > 0.45, 1)
        theirs, _ = segment_anything.utils.amg.remove_small_regions(mask, size, "holes")
        theirs, _ = segment_anything.utils.amg.remove_small_regions(theirs, size, "islands")
        region = (slice(0, 40), slice(0, 50))
        ours = clean_mask(Candidate.of(region, mask, 1.0, 1.0, Prompt(), region), size)
        assert np.array_equal(our_masks([ours], mask.shape)[0], theirs)
