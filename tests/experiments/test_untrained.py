"""Weights that nobody trained draw masks like those of a model that was."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segany.core.automatic_masks import grid_points
from napari_segany.core.filters import Filters
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.synthetic import synthetic_image
from napari_segany.experiments.untrained import random_vit_b
from napari_segany.models.sam_segmenter import SamSegmenter

CLICKS = [Point(500, 500), Point(100, 200), Point(900, 700), Point(300, 800)]


@pytest.fixture(scope="module")
def answered():
    # in float32, which is the same on every machine
    segmenter = SamSegmenter(random_vit_b(), "vit_b")
    picture = synthetic_image(np.random.default_rng(0), (1024, 1024), kind="fluorescence", radius=40).image
    embedding = segmenter.embed(picture)
    return lambda clicks: segmenter.segment(embedding, [Prompt((click,)) for click in clicks])


def test_each_click_is_answered_by_a_blob_around_it(answered):
    for click, masks in zip(CLICKS, answered(CLICKS), strict=True):
        for mask in masks:
            assert mask.pixels[int(click.y), int(click.x)]
            assert 50**2 < np.count_nonzero(mask.pixels) < 150**2
            near = mask.pixels[int(click.y) - 100 : int(click.y) + 100, int(click.x) - 100 : int(click.x) + 100]
            assert np.count_nonzero(near) > 0.95 * np.count_nonzero(mask.pixels)


def test_some_masks_pass_either_filter_and_some_do_not(answered):
    found = [mask for masks in answered(grid_points((1024, 1024), 4)) for mask in masks]
    filters = Filters()
    good = [mask for mask in found if mask.score > filters.score]
    stable = [mask for mask in good if mask.stability >= filters.stability]
    assert 0 < len(stable) < len(good) < len(found)
