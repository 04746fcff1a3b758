"""`tiny` with queries: a file of `train mask2former` is a model that finds, draws and names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.query import query_for
from napari_segany.core.synthetic import synthetic_image
from napari_segany.models.loading import load_model, load_segmenter
from napari_segany.models.mask2former.query_segmenter import QuerySegmenter, holds_queries, meant_mask
from napari_segany.models.mask2former.query_windows import QueryMask
from napari_segany.models.mask2former.tiny_queries import (
    WINDOW,
    TinyQueries,
    TinyQueriesConfig,
    ellipse_logits,
    peaks_of,
    pyramid_channels,
    tiny_pyramid,
)
from napari_segany.training.train_mask2former import write_queries

CONFIG = TinyQueriesConfig(("nucleus", "cell"), channels=32, pixel_layers=1, layers=2, width=32, learned=3, proposed=9)


@pytest.fixture(scope="module")
def queries() -> TinyQueries:
    torch.manual_seed(4)
    model = TinyQueries(pyramid_channels(load_model("tiny")), CONFIG)
    with torch.no_grad():
        # sure that everything is a cell
        model.query_decoder.class_head.bias.copy_(torch.tensor([0.0, 8.0, 0.0]))
    return model


@pytest.fixture(scope="module")
def path(queries: TinyQueries, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("queries") / "weights.safetensors"
    write_queries(queries, file)
    return file


@pytest.fixture(scope="module")
def segmenter(path: Path) -> QuerySegmenter:
    loaded = load_segmenter(path, "cpu")
    assert isinstance(loaded, QuerySegmenter)
    return loaded


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return synthetic_image(np.random.default_rng(3), (120, 160), kind="fluorescence", radius=14).image


def test_the_features_are_those_that_tiny_answers_from(plane: np.ndarray) -> None:
    model = load_model("tiny").float().eval()
    window = torch.from_numpy(plane[:96, :128]).permute(2, 0, 1)[None].float()
    pyramid = tiny_pyramid(model, window)
    features = model.encode_windows(window)
    torch.testing.assert_close(pyramid.maps[1][:, :128], features["image_embed"])
    assert [x.shape[-2:] for x in pyramid.maps] == [(24, 32), (12, 16), (6, 8), (3, 4)]
    assert tuple(x.shape[1] for x in pyramid.maps) == pyramid_channels(model)
    dense = model.dense_head(features)
    torch.testing.assert_close(pyramid.heat, dense[:, 0].sigmoid() * dense[:, 2].sigmoid())


def test_queries_begin_at_the_peaks() -> None:
    heat = torch.zeros(1, 16, 24)
    heat[0, 3, 5], heat[0, 10, 20], heat[0, 11, 20] = 0.6, 0.9, 0.8
    places, values = peaks_of(heat, 5)
    assert values[0, 2:].abs().max() == 0
    torch.testing.assert_close(places[0, :2], torch.tensor([[20.5 / 24, 10.5 / 16], [5.5 / 24, 3.5 / 16]]))


@pytest.mark.parametrize(("bend", "extent"), [((0.0, 0.0), (8, 8)), ((2.0, 0.0), (17, 6)), ((-2.0, 0.0), (6, 17))])
def test_an_ellipse_has_its_size_and_place(bend: tuple[float, float], extent: tuple[int, int]) -> None:
    """A radius of 16 pixels is four cells of the map; an ellipse has the same product of its axes or a larger one."""
    parameters = torch.tensor([[[0.0, 0.0, np.log(16 / WINDOW), *bend, 0.5]]], requires_grad=True)
    places = torch.tensor([[[0.25, 0.5]]])
    logits = ellipse_logits(parameters, places, (64, 64))
    inside = logits[0, 0] > 0
    rows, columns = (int(inside.any(1 - axis).sum()) for axis in (0, 1))
    assert abs(rows - extent[0]) <= 1
    assert abs(columns - extent[1]) <= 1
    y, x = (at.float().mean() for at in torch.nonzero(inside).unbind(1))
    assert abs(float(y) - 31.5) < 0.6
    assert abs(float(x) - 15.5) < 0.6
    logits.sum().backward()
    assert parameters.grad is not None
    assert torch.isfinite(parameters.grad).all()


def test_every_window_has_learned_and_proposed_queries(queries: TinyQueries) -> None:
    pyramid = tiny_pyramid(load_model("tiny").float().eval(), torch.rand(2, 3, 64, 96) * 255)
    predictions = queries(pyramid)
    assert len(predictions) == CONFIG.layers + 1
    for one in predictions:
        assert one.classes.shape == (2, CONFIG.learned + CONFIG.proposed, 3)
        assert one.masks.shape == (2, CONFIG.learned + CONFIG.proposed, 16, 24)


@pytest.mark.parametrize("finder", ["queries", "queries+sam"])
def test_objects_have_masks_names_and_scores(segmenter: QuerySegmenter, plane: np.ndarray, finder: str) -> None:
    one_way = segmenter.finding_by(finder)
    assert one_way.capabilities.draws
    found = list(one_way.found_objects(one_way.embed(plane)))
    assert found
    for one in found:
        assert one.class_name == "cell"
        assert one.mask.pixels.shape == plane.shape[:2]
        assert 0 <= one.mask.score <= 1
        assert 0 <= one.mask.stability <= 1
    candidates = query_for(one_way).candidates(one_way, plane)
    assert {one.name for one in candidates} == {"cell"}


@pytest.mark.parametrize(("radius", "expected"), [(5, 0), (11, 1), (19, 2)])
def test_a_query_says_which_mask_of_a_click_is_meant(radius: int, expected: int) -> None:
    """Part, object and whole have nearly the same predicted IoU."""

    def disc(size: int) -> np.ndarray:
        y, x = np.mgrid[:50, :50]
        return (y - 25) ** 2 + (x - 25) ** 2 <= size**2

    masks = [Mask(disc(size), 0.8 + 0.01 * size, np.zeros((1, 1), np.float32)) for size in (5, 10, 20)]
    drawn = QueryMask((slice(0, 50), slice(0, 50)), disc(radius), 0.5, 0, 1.0)
    found = meant_mask(masks, drawn)
    assert found is not None
    assert found.pixels is masks[expected].pixels
    assert found.score == pytest.approx(np.sqrt(masks[expected].score * 0.5))
    assert meant_mask([], drawn) is None


def test_prompts_are_answered_as_tiny_answers_them(segmenter: QuerySegmenter, plane: np.ndarray) -> None:
    tiny = load_segmenter("tiny", "cpu")
    prompt = Prompt((Point(60.0, 80.0),))
    answers = [one.segment(one.embed(plane), [prompt])[0][0] for one in (segmenter, tiny)]
    assert np.array_equal(answers[0].pixels, answers[1].pixels)
    assert segmenter.name != tiny.name


def test_a_file_of_other_weights_is_refused(queries: TinyQueries, tmp_path: Path) -> None:
    assert not holds_queries(tmp_path / "nothing")
    file = tmp_path / "weights.safetensors"
    with torch.no_grad():
        wrong = TinyQueries((8, 8, 8, 8), CONFIG)
    write_queries(wrong, file)
    assert holds_queries(file)
    with pytest.raises(ModelError, match="holds no queries that fit") as caught:
        load_segmenter(file, "cpu")
    assert "\n" not in str(caught.value)


def test_without_queries_it_is_tiny(segmenter: QuerySegmenter) -> None:
    tiny = load_segmenter("tiny", "cpu")
    assert segmenter.finding_by("seeds").capabilities == tiny.capabilities
    with pytest.raises(InputError, match="there are seeds, queries, queries"):
        segmenter.finding_by("luck")
