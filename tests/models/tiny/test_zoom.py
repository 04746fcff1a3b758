import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_segany.core.errors import InputError
from napari_segany.core.masks import Mask, box_of
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.models import geometry, sam_segmenter, windows
from napari_segany.models.geometry import Frame
from napari_segany.models.inference_config import tiny_inference_config
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.tiny import zoom
from napari_segany.models.tiny.tiny_sam import STRIDE, TinySam
from napari_segany.models.tiny.zoom import (
    PLANE,
    ZoomSegmenter,
    guess_size,
    window_for,
)
from napari_segany.models.windows import Window

ZOOM = tiny_inference_config().zoom
SHAPE = (400, 600)
SMALL = Box(100, 200, 120, 230)
LARGE = Box(20, 30, 390, 580)
CLICK = Prompt((Point(100, 299),))


@pytest.fixture(scope="module")
def model() -> TinySam:
    torch.manual_seed(0)
    return TinySam().eval()


@pytest.fixture(scope="module")
def segmenter(model: TinySam) -> ZoomSegmenter:
    return ZoomSegmenter(model, "tiny")


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def embedding(segmenter, plane):
    return segmenter.embed(plane)


class Discs:
    """Stands in for what the model sees in windows: a disc of fixed radius, in window pixels, at the first prompt."""

    def __init__(self, radius: float = 30.0) -> None:
        self.radius = radius
        self.slope = 1.0
        self.score = 0.5
        self.windows = 0

    def __call__(self, features, points=None, boxes=None, masks=None):
        middle = points[0][:, 0] if points is not None else boxes.unflatten(1, (2, 2)).mean(dim=1)
        along = torch.arange(features["image_embed"].shape[-1] * STRIDE // 2) * 2 + 0.5
        y, x = torch.meshgrid(along, along, indexing="ij")
        distance = ((x - middle[:, :1, None]) ** 2 + (y - middle[:, 1:, None]) ** 2).sqrt()
        self.windows += len(middle)
        return self.slope * (self.radius - distance)[:, None].expand(-1, 4, -1, -1), torch.full(
            (len(middle), 4), self.score
        )


@pytest.fixture
def discs(model, monkeypatch) -> Discs:
    fake = Discs()
    monkeypatch.setattr(model, "decode_windows", fake)
    return fake


def extent(mask: Mask) -> float:
    box = box_of(mask.pixels)
    return max(box.y1 - box.y0, box.x1 - box.x0) + 1


class TestWindowFor:
    def test_an_object_fills_what_is_wanted(self):
        window = window_for(ZOOM, Box(10, 20, 41, 35), Frame((2000, 2000), 512))
        assert window == Window((25.5, 27.5), ZOOM.object_side / 32, ZOOM.window)

    def test_it_is_never_magnified_more_than_makes_sense(self):
        frame = Frame((2000, 2000), 512)
        assert window_for(ZOOM, Box(10, 10, 14, 10), frame).scale == ZOOM.magnification

    @pytest.mark.parametrize(
        ("side", "scale"), [(5, ZOOM.magnification), (10, 3.6), (16, ZOOM.click_magnification), (40, 2.0)]
    )
    def test_what_a_click_tells_of_is_magnified_less_unless_it_is_a_dot(self, side, scale):
        box = Box(10, 10, 9 + side, 12)
        assert window_for(ZOOM, box, Frame((2000, 2000), 512), clicked=True).scale == scale

    def test_where_only_a_click_is_known_it_is_magnified_less(self):
        assert window_for(ZOOM, Box(10, 10, 10, 10), Frame((2000, 2000), 512)).scale == ZOOM.unseen_magnification

    def test_it_is_never_smaller_than_at_first(self):
        frame = Frame((512, 512), 512)
        assert window_for(ZOOM, Box(0, 0, 99, 99), frame).scale == 1.0

    def test_a_small_plane_is_no_reason_to_magnify(self):
        frame = Frame((128, 100), 512)
        assert window_for(ZOOM, Box(0, 0, 99, 99), frame).scale == 1.0
        assert window_for(ZOOM, Box(0, 0, 39, 39), frame) == window_for(ZOOM, Box(0, 0, 39, 39), Frame((512, 512), 512))

    def test_large_objects_are_made_smaller(self):
        frame = Frame((512, 512), 512)
        assert window_for(ZOOM, Box(0, 0, 2 * ZOOM.large_object_side - 1, 9), frame).scale == 0.5
        assert window_for(
            ZOOM, Box(0, 0, 2 * ZOOM.large_object_side - 1, 9), Frame((2048, 2048), 512)
        ).scale == ZOOM.object_side / (2 * ZOOM.large_object_side)

    def test_what_is_nowhere_has_none(self):
        assert window_for(ZOOM, None, Frame((512, 512), 512)) is None

    def test_padding_the_plane_changes_nothing(self):
        assert window_for(ZOOM, SMALL, Frame(SHAPE, 512)) == window_for(ZOOM, SMALL, Frame((900, 1300), 512))


class TestGuess:
    def test_a_box_is_believed(self):
        assert guess_size(Prompt((Point(0, 0),), box=SMALL), Box(9, 9, 9, 9)) == SMALL

    def test_else_the_mask_with_its_positive_clicks(self):
        prompt = Prompt((Point(3.5, 30), Point(399, 599, positive=False)))
        assert guess_size(prompt, Box(9, 9, 20, 12)) == Box(3.5, 9, 20, 30)

    def test_a_click_alone_is_a_place(self):
        assert guess_size(Prompt((Point(3, 4),)), None) == Box(3, 4, 3, 4)

    def test_nothing_is_nowhere(self):
        assert guess_size(Prompt(mask=np.ones(SHAPE, bool)), None) is None


def test_the_embedding_holds_the_plane(segmenter, model, plane, embedding):
    np.testing.assert_array_equal(embedding.features[PLANE], plane)
    assert embedding.features[PLANE] is not plane
    plain = SamSegmenter(model, "tiny").embed(plane)
    assert embedding.features.keys() == plain.features.keys() | {PLANE}
    assert (embedding.shape, embedding.model) == (SHAPE, "tiny")


@pytest.mark.parametrize("shape", [(400, 600), (900, 1300)])
def test_of_a_gray_plane_one_channel_is_kept_and_says_the_same(segmenter, shape):
    plane = np.random.default_rng(2).integers(0, 256, (*shape, 1), dtype=np.uint8).repeat(3, axis=2)
    embedding = segmenter.embed(plane)
    assert embedding.features[PLANE].shape == (*shape, 1)
    whole = ImageEmbedding({**embedding.features, PLANE: plane}, embedding.shape, embedding.model)
    prompts = [CLICK, Prompt(box=SMALL)]
    for one, other in zip(*(segmenter.segment(held, prompts) for held in (embedding, whole)), strict=True):
        for mask, same in zip(one, other, strict=True):
            # sums of three channels are rounded otherwise than those of one
            assert (mask.pixels != same.pixels).mean() < 1e-5
            np.testing.assert_allclose(mask.logits, same.logits, atol=1e-3)
    seeds, same = ([seed.points for seed in segmenter.seeds(held)] for held in (embedding, whole))
    assert seeds == same


@pytest.mark.parametrize("candidates", [None, 1, 3])
def test_answers_are_of_the_plane_and_best_first(segmenter, embedding, candidates):
    prompts = [CLICK, Prompt(box=SMALL), Prompt(box=LARGE)]
    answers = segmenter.segment(embedding, prompts, candidates=candidates)
    assert [len(masks) for masks in answers] == [candidates or 3, candidates or 1, candidates or 1]
    for prompt, masks in zip(prompts, answers, strict=True):
        assert [mask.score for mask in masks] == sorted((mask.score for mask in masks), reverse=True)
        for mask in masks:
            assert (mask.pixels.shape, mask.pixels.dtype) == (SHAPE, bool)
            # twice as fine as the model's own where a small object was looked at more closely
            assert mask.logits.shape in ({(512, 512)} if prompt.box is SMALL else {(256, 256), (512, 512)})
            assert mask.logits.dtype == np.float32
            assert type(mask.score) is float


def test_many_prompts_keep_their_order(segmenter, embedding, monkeypatch):
    monkeypatch.setattr(sam_segmenter, "BATCH", 2)
    rough = np.zeros(SHAPE, bool)
    rough[200:230, 80:100] = True
    prompts = [
        Prompt(box=SMALL),
        CLICK,
        Prompt(box=LARGE),
        Prompt((Point(210, 90), Point(215, 92), Point(300, 90, positive=False))),
        Prompt(mask=rough),
        Prompt(box=Box(-5, -5, 12, 9)),
        Prompt(box=Box(380, 560, 420, 640), mask=np.full((256, 256), -3.0, np.float32)),
        Prompt((Point(205, 85),), box=Box(200, 80, 230, 100), mask=rough),
        Prompt(box=Box(50, 50, 61, 59)),
    ]
    together = segmenter.segment(embedding, prompts)
    for answer, prompt in zip(together, prompts, strict=True):
        (alone,) = segmenter.segment(embedding, [prompt])
        assert len(answer) == len(alone)
        for one, other in zip(answer, alone, strict=True):
            np.testing.assert_allclose(one.score, other.score, atol=1e-4)
            np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
            assert (one.pixels != other.pixels).mean() < 1e-3


def test_no_prompts_no_answers(segmenter, embedding):
    assert segmenter.segment(embedding, []) == []


def test_what_is_nowhere_is_refused(segmenter, embedding):
    for more in ({}, {"mask": np.zeros(SHAPE, bool)}):
        with pytest.raises(InputError, match="does not locate an object"):
            segmenter.segment(embedding, [CLICK, Prompt((Point(3, 3, positive=False),), **more)])


def test_what_is_nowhere_keeps_the_first_look(segmenter, model, embedding, discs, monkeypatch):
    monkeypatch.setattr(geometry, "frame_box", lambda logits, frame: None)
    monkeypatch.setattr(zoom, "choose_masks", lambda logits, scores, post: (logits, scores))
    nothing = Prompt(mask=np.zeros(SHAPE, bool))
    (closer_look,), (first_look,) = (
        kind.segment_plain(embedding if kind is segmenter else plain(embedding), [nothing], None, -math.inf)
        for kind in (segmenter, SamSegmenter(model, "tiny"))
    )
    assert discs.windows == 0
    # one of four masks is the same as one alone up to rounding
    np.testing.assert_allclose(closer_look[0].logits, first_look[0].logits, atol=1e-6)
    np.testing.assert_array_equal(closer_look[0].pixels, first_look[0].pixels)


def plain(embedding):
    features = {name: array for name, array in embedding.features.items() if name != PLANE}
    return replace(embedding, features=features)


@pytest.mark.parametrize("side", [9, 16, 31, 64, 99])
def test_a_closer_look_is_closer(segmenter, embedding, discs, side):
    box = Box(150, 250, 150 + side - 1, 250 + side - 1)
    (answer,) = segmenter.segment(embedding, [Prompt(box=box)])
    scale = window_for(ZOOM, box, Frame(SHAPE, 512)).scale
    assert discs.windows == 1
    assert extent(answer[0]) == pytest.approx(2 * discs.radius / scale, abs=1.5)
    rows, columns = np.nonzero(answer[0].pixels)
    assert (rows.mean(), columns.mean()) == pytest.approx((150 + (side - 1) / 2, 250 + (side - 1) / 2), abs=0.5)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"points": (*CLICK.points, Point(101, 301))},
        {"box": Box(93, 293, 107, 307)},
        {"mask": np.pad(np.ones((15, 15), bool), ((93, 292), (293, 292)))},
    ],
    ids=["alone", "two", "box", "mask"],
)
def test_what_only_a_click_tells_of_is_magnified_less(segmenter, embedding, discs, monkeypatch, more):
    discs.radius = 20.0
    seen = []
    image = zoom.window_image
    monkeypatch.setattr(zoom, "window_image", lambda plane, window: seen.append(window) or image(plane, window))
    segmenter.segment(embedding, [replace(CLICK, **more)])
    assert (seen[-1].scale > ZOOM.click_magnification) == bool(more)


def test_a_click_is_looked_at_again_when_its_size_was_mistaken(segmenter, embedding, discs):
    # seen at a glance and closer, a disc of 70 plane pixels, then of 52
    segmenter.segment(embedding, [CLICK])
    assert discs.windows == 2
    discs.windows, discs.radius = 0, 22.0
    segmenter.segment(embedding, [CLICK])
    assert discs.windows == 1 + ZOOM.looks


@pytest.mark.parametrize(("radius", "score"), [(18.0, ZOOM.nothing - 0.01), (-1.0, 0.9)])
def test_where_nothing_is_no_third_look_is_taken(segmenter, embedding, discs, radius, score):
    discs.radius, discs.score = radius, score
    segmenter.segment(embedding, [CLICK])
    assert discs.windows == ZOOM.looks


@pytest.mark.parametrize(("radius", "whole"), [(30.0, 0), (126.0, 1)])
def test_the_whole_overview_is_asked_when_a_part_of_it_cuts_the_object(
    segmenter, embedding, discs, monkeypatch, radius, whole
):
    asked = []
    predict = SamSegmenter._predictions
    monkeypatch.setattr(
        SamSegmenter, "_predictions", lambda self, *given: asked.extend(given[1]) or predict(self, *given)
    )
    discs.radius = radius
    segmenter.segment(embedding, [CLICK])
    assert len(asked) == whole


@pytest.mark.parametrize("place", [(0, 0), (100, 299), (399, 599)])
def test_a_glance_sees_what_the_overview_has_there(segmenter, embedding, monkeypatch, place):
    seen = {}

    def decode(features, points, boxes, masks):
        # the first is the glance
        if not seen:
            seen.update(features, xy=points[0])
        return torch.zeros(1, 4, ZOOM.window // 2, ZOOM.window // 2), torch.zeros(1, 4)

    monkeypatch.setattr(segmenter.model, "decode_windows", decode)
    segmenter.segment(embedding, [Prompt((Point(*place),))])
    xy = [round(v) for v in seen["xy"][0, 0].tolist()]
    in_frame = np.array(place) * Frame(SHAPE, 512).scale
    corner = in_frame - xy[::-1]
    rows, columns = (slice(round(at / 8), round(at / 8) + ZOOM.window // 8) for at in corner)
    np.testing.assert_array_equal(seen["image_embed"], embedding.features["image_embed"][..., rows, columns])


def test_in_a_large_plane_the_glance_is_at_the_plane_itself(segmenter, discs, monkeypatch):
    seen = []
    encode = segmenter.model.encode_windows
    monkeypatch.setattr(segmenter.model, "encode_windows", lambda images: seen.append(images) or encode(images))
    plane = np.random.default_rng(1).integers(0, 256, (900, 1300, 3), dtype=np.uint8)
    segmenter.segment(segmenter.embed(plane), [Prompt((Point(500, 700),))])
    window = Window((500, 700), 1.0, ZOOM.glance)
    torch.testing.assert_close(seen[0], windows.window_image(plane, window), rtol=0, atol=1e-3)
    assert [one.shape[-1] for one in seen] == [ZOOM.glance, ZOOM.window]


@pytest.mark.parametrize(
    ("shape", "radius", "score", "steps"),
    [
        # the plane itself, then the window of the object
        ((900, 1300), 30.0, 0.5, ["glance", "look"]),
        # so little is a glance worth that it may be noise within something larger
        ((900, 1300), 30.0, ZOOM.nothing - 0.01, ["glance", "part", "look"]),
        # too large for a glance, but not for a part of the overview
        ((900, 1300), 80.0, 0.5, ["glance", "part", "look"]),
        # too large for that as well
        ((900, 1300), 140.0, 0.5, ["glance", "part", "whole", "look"]),
        # in an overview as coarse as this a second glance comes before it
        ((700, 5200), 80.0, 0.5, ["glance", "glance", "part", "look"]),
    ],
)
def test_what_is_larger_is_looked_for_further_out(segmenter, discs, monkeypatch, shape, radius, score, steps):
    taken = []

    def noted(name, work):
        return lambda *given: taken.append(name) or work(*given)

    encode, kind = segmenter.model.encode_windows, {ZOOM.glance: "glance", ZOOM.window: "look"}
    monkeypatch.setattr(
        segmenter.model, "encode_windows", lambda images: taken.append(kind[images.shape[-1]]) or encode(images)
    )
    monkeypatch.setattr(segmenter, "_parts_of_overview", noted("part", segmenter._parts_of_overview))
    somewhere = torch.full((4, 256, 256), -1.0)
    somewhere[:, 60:70, 120:130] = 1
    monkeypatch.setattr(
        segmenter,
        "_predictions",
        lambda _, asked, *how: [taken.append("whole") or (somewhere, torch.ones(4)) for _ in asked],
    )
    discs.radius, discs.score = radius, score
    # what is found in the end needs no further look
    monkeypatch.setattr(segmenter, "zoom", replace(ZOOM, look_again=1e9))
    embedding = segmenter.embed(np.zeros((*shape, 3), np.uint8))
    segmenter.segment(embedding, [Prompt((Point(shape[0] / 2, shape[1] / 2),))])
    assert taken == steps


@pytest.mark.parametrize("sure", [True, False])
def test_a_glance_that_is_unsure_gives_way_to_an_overview_that_is_not(segmenter, discs, monkeypatch, sure):
    glance, frame = ZOOM.glance // STRIDE, Frame((900, 1300), 512)

    def decode(features, *given):
        at_a_glance = features["image_embed"].shape[-1] == glance
        discs.radius, discs.score = (8.0, 0.2) if at_a_glance else (90.0, 0.9 if sure else 0.25)
        return Discs.__call__(discs, features, *given)

    monkeypatch.setattr(segmenter.model, "decode_windows", decode)
    seen = []
    image = zoom.window_image
    monkeypatch.setattr(zoom, "window_image", lambda plane, window: seen.append(window) or image(plane, window))
    segmenter.segment(segmenter.embed(np.zeros((*frame.plane, 3), np.uint8)), [Prompt((Point(500, 700),))])
    assert seen[1].scale == pytest.approx(
        ZOOM.large_object_side / 180 * min(frame.scale) if sure else ZOOM.click_magnification, rel=0.05
    )


@pytest.mark.parametrize(("radius", "looks"), [(29.0, 2), (32.0, 1), (40.0, 1), (51.0, 1), (75.0, 2)])
def test_what_the_overview_shows_as_large_as_it_should_be_is_not_looked_at_again(
    segmenter, embedding, discs, radius, looks
):
    discs.radius = radius
    mask = segmenter.segment(embedding, [CLICK])[0][0]
    assert discs.windows == looks
    if looks == 1:
        # drawn where it was seen, and as large as it was seen there
        box = box_of(mask.pixels)
        assert ((box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2) == pytest.approx((100, 299), abs=2)
        assert extent(mask) == pytest.approx(2 * radius / min(Frame(SHAPE, 512).scale), rel=0.05)


def test_what_is_magnified_to_fill_the_overview_is_looked_at_again(segmenter, discs):
    discs.radius = 40.0
    embedding = segmenter.embed(np.zeros((200, 300, 3), np.uint8))
    segmenter.segment(embedding, [CLICK])
    assert discs.windows == 2


def test_clicks_are_found_where_the_window_shows_them():
    look = zoom._Crop(Window((50.0, 60.0), 2.0, 256), torch.zeros(4, 128, 128), torch.zeros(4))
    points = (Point(50, 60), Point(53, 56), Point(50, 61, positive=False), Point(900, 60))
    assert look.cells(Prompt(points)).tolist() == [[64, 64], [67, 60]]


class TestBoxes:
    def test_a_box_is_encoded_once(self, segmenter, embedding, monkeypatch):
        seen = []
        encode = segmenter.model.encode_windows
        monkeypatch.setattr(segmenter.model, "encode_windows", lambda x: seen.append(x) or encode(x))
        boxed = Prompt(box=SMALL)
        for prompt in (boxed, replace(boxed, points=CLICK.points), replace(boxed, mask=np.ones(SHAPE, bool))):
            segmenter.segment(embedding, [prompt])
            assert [tuple(one.shape) for one in seen] == [(1, 3, ZOOM.window, ZOOM.window)]
            seen.clear()

    def test_the_mask_is_of_the_object_in_the_box(self, segmenter, monkeypatch):
        # a model that finds what is bright
        monkeypatch.setattr(segmenter.model, "encode_windows", lambda x: {"image": x[:, :1, ::2, ::2]})
        monkeypatch.setattr(
            segmenter.model,
            "decode_windows",
            lambda features, *_: (
                (features["image"] - 128).expand(-1, 4, -1, -1),
                torch.ones(len(features["image"]), 4),
            ),
        )
        plane = np.zeros((*SHAPE, 3), np.uint8)
        plane[100:121, 200:206] = plane[116:121, 200:231] = 255
        mask = segmenter.segment(segmenter.embed(plane), [Prompt(box=SMALL)])[0][0].pixels
        bright = plane[..., 0] > 0
        assert (mask & bright).sum() > 0.9 * (mask | bright).sum()

    def test_what_is_not_quite_sure_ends_at_the_box(self, segmenter, embedding, discs, monkeypatch):
        # logits that fall slowly, 0.05 a pixel: without beyond_box the disc goes on for pixels beyond the box
        box = Box(100, 200, 279, 379)
        window = window_for(ZOOM, box, Frame(SHAPE, segmenter.model.image_size))
        discs.slope = 0.05

        def reaches(beyond: float) -> float:
            discs.radius = 90 * window.scale + beyond
            found = box_of(segmenter.segment(embedding, [Prompt(box=box)])[0][0].pixels)
            return found.x1 - box.x1

        # a cell of the logits is almost three pixels of the plane
        assert reaches(8) < 3
        assert reaches(40) > 20
        monkeypatch.setattr(segmenter, "post", replace(segmenter.post, beyond_box=0.0))
        assert reaches(8) > 10


@pytest.mark.parametrize(
    ("mask", "parts"),
    [
        (None, 1),
        (np.full((256, 256), -1, np.float32), 1),
        (np.ones((256, 256), np.float32), 2),
        (np.ones(SHAPE, bool), 2),
        (np.pad(np.ones((10, 10), bool), ((30, SHAPE[0] - 40), (70, SHAPE[1] - 80))), 1),
    ],
)
def test_an_object_has_no_specks_unless_it_was_drawn_so(segmenter, embedding, discs, monkeypatch, mask, parts):
    def spotted(*given, **named):
        logits, scores = discs(*given, **named)
        logits = logits.clone()
        logits[..., 2:4, 2:4] = 5.0
        return logits, scores

    monkeypatch.setattr(segmenter.model, "decode_windows", spotted)
    ((found,),) = segmenter.segment(embedding, [Prompt(box=SMALL, mask=mask)])
    assert ndimage.label(found.pixels)[1] == parts


def test_padding_the_plane_changes_no_small_object(segmenter, plane):
    padded = np.pad(plane, ((0, 150), (0, 200), (0, 0)))
    prompts = [Prompt(box=SMALL), Prompt(box=Box(388, 580, 399, 599), points=(Point(393, 590),))]
    answers, others = (segmenter.segment(segmenter.embed(image), prompts) for image in (plane, padded))
    for (mask,), (other,) in zip(answers, others, strict=True):
        assert mask.score == pytest.approx(other.score, abs=1e-4)
        np.testing.assert_array_equal(mask.pixels, other.pixels[: SHAPE[0], : SHAPE[1]])


def test_read_only_features_are_taken(segmenter, embedding):
    frozen = {name: array.copy() for name, array in embedding.features.items()}
    for array in frozen.values():
        array.flags.writeable = False
    segmenter.segment(replace(embedding, features=frozen), [Prompt(box=SMALL)])


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1)])
def test_planes_one_pixel_wide(segmenter, shape):
    embedding = segmenter.embed(np.full((*shape, 3), 7, np.uint8))
    box = Box(0, 0, min(shape[0] - 1, 20), min(shape[1] - 1, 20))
    for prompt in (Prompt((Point(0, 0),), mask=np.ones(shape, bool)), Prompt(box=box)):
        (answer,) = segmenter.segment(embedding, [prompt])
        assert answer[0].pixels.shape == shape


@pytest.mark.parametrize(
    "mask", [np.ones((400, 601), bool), np.ones(SHAPE, np.float32), np.full((256, 256), np.inf, np.float32)]
)
def test_a_wrong_mask_is_refused(segmenter, embedding, mask):
    with pytest.raises(InputError, match="mask"):
        segmenter.segment(embedding, [Prompt(box=SMALL, mask=mask)])


def test_reduced_precision(plane):
    reduced = ZoomSegmenter(TinySam(), "tiny", dtype=torch.bfloat16)
    embedding = reduced.embed(plane)
    assert embedding.features[PLANE].dtype == np.uint8
    (answer,) = reduced.segment(embedding, [Prompt(box=SMALL)])
    assert answer[0].logits.dtype == np.float32
