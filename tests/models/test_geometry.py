import numpy as np
import pytest
import torch

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.models import windows
from napari_segany.models.geometry import (
    SURELY_NOT,
    Frame,
    enlarged,
    image_tensor,
    mask_logits,
    plane_masks,
    prompt_tensors,
)
from napari_segany.models.windows import (
    Window,
    corner_around,
    frame_logits,
    part_of_frame,
    window_image,
    window_logits,
    window_masks,
    window_prompts,
)

LOW = (64, 64)


@pytest.mark.parametrize(
    ("plane", "resized"),
    [
        ((256, 256), (256, 256)),
        ((128, 64), (256, 128)),
        ((1, 5000), (1, 256)),
        ((5000, 1), (256, 1)),
        ((3, 2), (256, 171)),
    ],
)
def test_the_longest_side_fills_the_frame(plane, resized):
    frame = Frame(plane, 256)
    assert frame.resized == resized
    image = image_tensor(np.zeros((*plane, 3), np.uint8), frame)
    assert image.shape == (1, 3, *resized)


def test_a_read_only_strided_plane_is_taken():
    plane = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    view = plane[::2, ::-1, ::-1]
    view.flags.writeable = False
    frame = Frame(view.shape[:2], 64)
    assert torch.equal(image_tensor(view, frame), image_tensor(view.copy(), frame))


def test_y_and_x_change_places_once():
    frame = Frame((100, 50), 200)
    prompts = [Prompt((Point(10, 20), Point(3, 4, positive=False)), box=Box(1, 2, 30, 40)), Prompt((Point(0, 0),) * 2)]
    tensors = prompt_tensors(prompts[:1], frame, LOW)
    xy, labels = tensors.points
    assert xy.tolist() == [[[40, 20], [8, 6]]]
    assert labels.tolist() == [[1, 0]]
    assert tensors.boxes.tolist() == [[4, 2, 80, 60]]
    assert tensors.masks is None
    assert prompt_tensors(prompts[1:], frame, LOW).boxes is None


def test_a_rough_mask_comes_back_where_it_was():
    plane = np.zeros((90, 160), bool)
    plane[20:70, 100:150] = True
    frame = Frame(plane.shape, 256)
    logits = mask_logits(plane, frame, LOW)
    assert logits.shape == (1, *LOW)
    assert logits.min() == pytest.approx(-6.907, abs=1e-3)
    assert logits.max() == pytest.approx(6.907, abs=1e-3)
    (back,), _ = plane_masks(logits, frame)
    assert (back & plane).sum() / (back | plane).sum() > 0.95


def test_padding_is_cut_off():
    logits = torch.full((1, *LOW), 3.0)
    logits[:, :, 32:] = -3.0
    (back,), _ = plane_masks(logits, Frame((200, 100), 256))
    assert back.shape == (200, 100)
    assert back[:, :-1].all()


def test_logits_pass_through():
    logits = np.random.default_rng(0).normal(size=LOW).astype(np.float16)
    logits.flags.writeable = False
    assert torch.equal(mask_logits(logits, Frame((9, 9), 256), LOW)[0], torch.tensor(logits).float())


@pytest.mark.parametrize(
    "mask", [np.ones((9, 8), bool), np.ones((9, 9), np.float32), np.full(LOW, np.nan), np.ones((1, 1), bool)]
)
def test_a_mask_that_does_not_fit_is_refused(mask):
    with pytest.raises(InputError, match=r"\(9, 9\)|finite"):
        mask_logits(mask, Frame((9, 9), 256), LOW)


def test_masks_with_reversed_rows_are_taken():
    mask = np.zeros((40, 60), bool)
    mask[:10, :20] = True
    for turned in (mask[::-1], mask[:, ::-1]):
        assert torch.equal(
            mask_logits(turned, Frame((40, 60), 256), LOW), mask_logits(turned.copy(), Frame((40, 60), 256), LOW)
        )
    logits = np.random.default_rng(0).normal(size=LOW)[::-1]
    assert torch.equal(
        mask_logits(logits, Frame((9, 9), 256), LOW), mask_logits(logits.copy(), Frame((9, 9), 256), LOW)
    )


SIDE = 64


def noise(*shape):
    return np.random.default_rng(0).integers(1, 256, (*shape, 3), dtype=np.uint8)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def disc(centre, radius, shape):
    """(y, x) bool."""
    y, x = np.indices(shape)
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def disc_in(window, place, radius):
    """Logits (1, side/2, side/2) of a disc around a place, both in plane pixels; 0 on its outline."""
    y, x = (places.numpy() for places in window.places(window.side // 2))
    distance = np.hypot(*np.meshgrid(y - place[0], x - place[1], indexing="ij"))
    return torch.from_numpy((radius - distance) * window.scale)[None].float()


class TestWindowImage:
    def test_whole_pixels_are_taken_as_they_are(self):
        plane = noise(100, 90)
        image = window_image(plane, Window((50 - 0.5, 40 - 0.5), 1.0, SIDE))
        assert image.shape == (1, 3, SIDE, SIDE)
        np.testing.assert_array_equal(image[0].permute(1, 2, 0), plane[18:82, 8:72])

    def test_beyond_the_plane_it_is_black(self):
        plane = noise(40, 90)
        image = window_image(plane, Window((-0.5, 89.5), 1.0, SIDE))[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(image[32:, :32], plane[:32, 58:])
        assert not image[:32].any()
        assert not image[:, 32:].any()

    @pytest.mark.parametrize("centre", [(-500.0, 20.0), (20.0, 500.0), (1e4, -1e4)])
    def test_a_window_beside_the_plane_is_black_and_finds_nothing(self, centre):
        window = Window(centre, 0.5, SIDE)
        assert not window_image(noise(40, 50), window).any()
        assert not window_masks(torch.ones(3, 32, 32), window, (40, 50))[0].any()
        assert (frame_logits(torch.ones(3, 32, 32), window, Frame((40, 50), 256), LOW) == SURELY_NOT).all()
        assert window_logits(np.ones((40, 50), bool), window, Frame((40, 50), 256), LOW).max() < -6

    @pytest.mark.parametrize("scale", [0.11, 0.5, 0.83, 1.0, 1.7, 4.0, 12.8])
    def test_a_flat_plane_stays_flat(self, scale):
        image = window_image(np.full((700, 700, 3), 200, np.uint8), Window((350.2, 349.7), scale, SIDE))
        torch.testing.assert_close(image, torch.full_like(image, 200))

    @pytest.mark.parametrize("scale", [0.13, 0.5, 1.3])
    def test_sampled_in_strips_it_is_the_same(self, scale, monkeypatch):
        plane, window = noise(500, 420), Window((200.3, 260.1), scale, SIDE)
        seen = window_image(plane, window)
        monkeypatch.setattr(windows, "STRIP", 100_000)
        torch.testing.assert_close(seen, window_image(plane, window), rtol=0, atol=1e-3)

    def test_what_shrinks_is_averaged(self):
        plane = np.zeros((400, 400, 3), np.uint8)
        plane[::2] = 200
        image = window_image(plane, Window((200, 200), 0.25, SIDE))
        assert (image - 100).abs().max() < 5

    @pytest.mark.parametrize("scale", [0.2, 0.5, 0.9, 1.0, 2.3, 4.0])
    @pytest.mark.parametrize("centre", [(20.3, 70.8), (1.0, 118.5), (59.0, 0.2)])
    @pytest.mark.parametrize("pad", [((9, 0), (13, 0)), ((0, 31), (0, 17)), ((5, 6), (7, 8))])
    def test_padding_the_plane_changes_nothing(self, scale, centre, pad):
        plane = noise(60, 120)
        moved = (centre[0] + pad[0][0], centre[1] + pad[1][0])
        torch.testing.assert_close(
            window_image(np.pad(plane, (*pad, (0, 0))), Window(moved, scale, SIDE)),
            window_image(plane, Window(centre, scale, SIDE)),
            rtol=0,
            atol=1e-3,
        )

    def test_read_only_reversed_planes_are_taken(self):
        plane = noise(40, 60)[::-1, :, ::-1]
        plane.flags.writeable = False
        window = Window((20, 30), 1.0, 128)
        assert torch.equal(window_image(plane, window), window_image(plane.copy(), window))


class TestPlaces:
    @pytest.mark.parametrize("scale", [0.4, 1.0, 1.3, 4.0])
    @pytest.mark.parametrize(("centre", "shape"), [((30, 41.3), (70, 90)), ((2.2, 88), (70, 90)), ((0, 25), (1, 50))])
    def test_a_point_is_where_the_window_shows_it(self, scale, centre, shape):
        place = (min(max(round(centre[0]) + 3, 0), shape[0] - 1), min(max(round(centre[1]) - 4, 0), shape[1] - 1))
        plane = np.zeros((*shape, 3), np.uint8)
        plane[place] = 255
        window = Window(centre, scale, SIDE)
        seen = window_image(plane, window)[0, 0].numpy()
        found = [(seen.sum(axis=axis) * np.arange(SIDE)).sum() / seen.sum() for axis in (0, 1)]
        (xy,) = window.xy([place]).tolist()
        np.testing.assert_allclose(xy, found, atol=max(0.05, scale / 8))

    @pytest.mark.parametrize("scale", [0.5, 0.9, 1.0, 2.5, 4.0])
    @pytest.mark.parametrize(
        ("centre", "place", "shape"),
        [
            ((50, 60), (50, 60), (100, 120)),
            ((50.4, 60.3), (47.1, 63.9), (100, 120)),
            ((1.0, 119.0), (4.0, 116.5), (100, 120)),
            ((98.6, 3.2), (95.0, 1.0), (100, 300)),
        ],
    )
    def test_a_disc_comes_back_where_it_was(self, scale, centre, place, shape):
        radius = min(10.0, 16 / scale)
        window = Window(centre, scale, SIDE)
        logits = disc_in(window, place, radius)
        (found,), _ = window_masks(logits, window, shape)
        expected = disc(place, radius, shape)
        assert found.shape == shape
        # all that differs lies within half a pixel of the outline
        distance = np.hypot(*(axis - middle for axis, middle in zip(np.indices(shape), place, strict=True)))
        assert (np.abs(distance - radius)[found != expected] < 0.5).all()
        differs = np.abs(np.argwhere(found).mean(axis=0) - np.argwhere(expected).mean(axis=0))
        assert (differs < 0.5).all()

    @pytest.mark.parametrize("shape", [(1, 80), (80, 1), (1, 1)])
    def test_planes_one_pixel_wide(self, shape):
        place = (shape[0] // 2, shape[1] // 2)
        window = Window((place[0] + 0.3, place[1] - 0.2), 3.0, SIDE)
        (found,), _ = window_masks(disc_in(window, place, 5.3), window, shape)
        np.testing.assert_array_equal(found, disc(place, 5.3, shape))
        rough = window_logits(np.ones(shape, bool), window, Frame(shape, 256), LOW)
        assert window_masks(rough, window, shape)[0].any()

    @pytest.mark.parametrize("scale", [0.3, 1.0, 2.7])
    @pytest.mark.parametrize("centre", [(100, 120), (3.2, 230.9), (-9.0, 100)])
    @pytest.mark.parametrize("cells", [(3, 9, 5, 6), (0, 32, 0, 2), (30, 32, 25, 32)])
    def test_drawn_where_there_is_something_the_masks_are_those_of_the_whole_window(
        self, scale, centre, cells, monkeypatch
    ):
        window, shape = Window(centre, scale, SIDE), (200, 240)
        logits = torch.from_numpy(np.random.default_rng(3).normal(size=(2, 32, 32)).astype(np.float32)) - 6
        logits[:, cells[0] : cells[1], cells[2] : cells[3]] += 6
        masks, stability = window_masks(logits, window, shape)
        monkeypatch.setattr(windows, "_drawn", lambda seen, window, plane: window.region(plane))
        whole, stability_of_whole = window_masks(logits, window, shape)
        np.testing.assert_array_equal(masks, whole)
        np.testing.assert_array_equal(stability, stability_of_whole)

    def test_nothing_is_found_beyond_the_window(self):
        window = Window((50, 60), 4.0, SIDE)
        (found,), _ = window_masks(torch.ones(1, 32, 32), window, (100, 120))
        assert np.argwhere(found).min(axis=0).tolist() == [42, 52]
        assert np.argwhere(found).max(axis=0).tolist() == [58, 68]


class TestLogitsOfWindows:
    @pytest.mark.parametrize("shape", [(100, 120), (250, 60), (97, 256)])
    @pytest.mark.parametrize(("scale", "radius"), [(0.6, 25), (1.0, 18), (2.0, 10)])
    def test_handed_back_they_are_nearly_the_same(self, shape, scale, radius):
        frame, place = Frame(shape, 256), (shape[0] * 0.55, shape[1] * 0.45)
        window = Window((place[0] + 2.2, place[1] - 1.3), scale, SIDE)
        logits = disc_in(window, place, radius)
        whole = frame_logits(logits, window, frame, (128, 128))
        finer = whole.shape[-1] // 128
        assert whole.shape == (1, 128 * finer, 128 * finer)
        assert finer == (2 if scale > 256 / max(shape) else 1)
        (first,), _ = window_masks(logits, window, shape)
        assert iou(first, plane_masks(whole, frame)[0][0]) > 0.9
        again = window_logits(whole[0].numpy(), window, frame, (128, 128))
        assert again.shape == logits.shape
        assert iou(first, window_masks(again, window, shape)[0][0]) > 0.9
        assert mask_logits(whole[0].numpy(), frame, (128, 128)).shape == (1, 128, 128)

    @pytest.mark.parametrize(("scale", "centre"), [(0.4, (50, 60)), (1.0, (45, 66)), (3.0, (52.5, 58.1))])
    def test_rough_masks_lie_where_they_were(self, scale, centre):
        mask, frame = disc((50, 60), 9, (100, 120)), Frame((100, 120), 256)
        logits = window_logits(mask, Window(centre, scale, SIDE), frame, LOW)
        assert logits.shape == (1, 32, 32)
        assert logits.abs().max() == pytest.approx(6.907, abs=1e-3)
        (back,), _ = window_masks(logits, Window(centre, scale, SIDE), mask.shape)
        assert iou(back, mask) > 0.85

    def test_a_thin_line_is_not_lost_where_it_shrinks(self):
        mask = np.zeros((400, 400), bool)
        mask[201] = True
        logits = window_logits(mask, Window((200, 200), 0.25, SIDE), Frame((400, 400), 256), LOW)
        assert logits.max(dim=1).values[:, 10:-10].min() > -3

    @pytest.mark.parametrize(
        "mask", [np.ones((9, 8), bool), np.ones((9, 9), np.float32), np.full(LOW, np.nan), np.ones((1, 1), bool)]
    )
    def test_a_mask_that_does_not_fit_is_refused(self, mask):
        with pytest.raises(InputError, match=r"\(9, 9\)|finite"):
            window_prompts([Prompt(mask=mask)], [Window((4, 4), 4.0, SIDE)], Frame((9, 9), 256), LOW)


def test_prompts_of_windows_are_in_their_pixels():
    windows = [Window((9.5, 19.5), 1.0, SIDE), Window((10, 20), 2.0, SIDE)]
    prompts = [Prompt((Point(10, 21), Point(0, 0, positive=False)), box=Box(1, 2, 3, 4)) for _ in windows]
    tensors = window_prompts(prompts, windows, Frame((90, 90), 256), LOW)
    xy, labels = tensors.points
    assert xy.tolist() == [[[33, 32], [12, 22]], [[33.5, 31.5], [-8.5, 11.5]]]
    assert labels.tolist() == [[1, 0], [1, 0]]
    assert tensors.boxes.tolist() == [[14, 23, 16, 25], [-4.5, 13.5, -0.5, 17.5]]
    assert tensors.masks is None


@pytest.mark.parametrize("place", [(0, 0), (150, 299.5), (399, 599)])
def test_a_part_of_the_frame_is_a_window_of_the_plane(place):
    frame = Frame((400, 600), 512)
    corner = corner_around([Point(*place), Point(0, 0, positive=False)], frame, 256, 8)
    assert all(0 <= at <= 256 and at % 8 == 0 for at in corner)
    window = part_of_frame(corner, frame, 256)
    xy = window.xy([place])[0].numpy()
    np.testing.assert_allclose(xy, (np.array(place) * frame.scale - corner)[::-1], atol=0.6)


def test_a_window_cuts_nothing_where_the_plane_ends():
    assert not Window((128, 128), 1.0, 256).cuts(Box(0, 0, 255, 255), (256, 256))


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        (Box(150, 150, 250, 250), False),
        (Box(73, 150, 250, 250), True),
        (Box(150, 150, 250, 327), True),
    ],
)
def test_a_window_cuts_what_reaches_its_edge(box, cut):
    window = Window((200, 200), 1.0, 256)
    assert window.cuts(box, (600, 600)) is cut


@pytest.mark.parametrize("times", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 5)])
def test_enlarged_is_what_torch_interpolates(times, shape):
    logits = torch.randn(shape)
    larger = torch.nn.functional.interpolate(logits[None, None], scale_factor=times, mode="bilinear")[0, 0]
    torch.testing.assert_close(enlarged(logits, times), larger, rtol=0, atol=1e-5)
