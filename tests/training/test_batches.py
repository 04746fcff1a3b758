import numpy as np
import pytest
import torch

from napari_segany.training.augment import crop, relight
from napari_segany.training.batches import BatchConfig, CropDataset, dense_targets, stream
from napari_segany.training.data import Sample, synthetic_samples


def test_crop_number_i_is_always_the_same(dataset):
    first, again, other = dataset[5], dataset[5], dataset[6]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["image"], other["image"])


def test_a_stream_goes_on_where_it_is_told(dataset):
    all_of_them = stream(dataset, 0, workers=0)
    next(all_of_them)
    later = stream(dataset, 1, workers=0)
    assert torch.equal(next(all_of_them)["image"], next(later)["image"])


def test_all_crops_of_a_step_are_of_one_size(samples):
    config = BatchConfig(crops=3, masks=2, sizes={64: 0.7, 96: 0.3})
    dataset = CropDataset({"made": samples}, {"made": 1.0}, config, 1)
    steps = stream(dataset, 0, workers=0)
    found = [next(steps) for _ in range(20)]
    for batch in found:
        side = batch["image"].shape[-1]
        assert batch["masks"].shape == (3, 2, side, side)
        assert batch["dense"].shape[-1] == side / 4
        assert (batch["shift"] <= config.frame - side).all()
    sides = [batch["image"].shape[-1] for batch in found]
    assert 9 <= sides.count(64) <= 18
    assert sides.count(64) + sides.count(96) == 20


def test_prompts_belong_to_their_masks(dataset):
    points = boxes = empties = 0
    for index in range(40):
        item = dataset[index]
        for mask, xy, kinds in zip(item["masks"], item["xy"], item["kinds"], strict=True):
            if not mask.any():
                empties += 1
                continue
            if kinds[0] == 1:
                points += 1
                x, y = xy[0].long()
                assert mask[y, x]
            else:
                boxes += 1
                rows, columns = torch.nonzero(mask, as_tuple=True)
                centre = torch.stack([columns.float().mean(), rows.float().mean()])
                assert ((xy[0] - 20 <= centre) & (centre <= xy[1] + 20)).all()
    assert points > 20
    assert boxes > 10
    assert empties > 0


def test_picture_and_labels_are_cut_alike():
    labels = np.zeros((80, 80), np.int32)
    labels[20:60, 30:50] = 1
    sample = Sample(np.repeat((labels * 200).astype(np.uint8)[..., None], 3, 2), (labels,))
    for seed in range(20):
        image, (cut,) = crop(sample, np.random.default_rng(seed), 64, 512)
        agree = ((image[..., 0] > 100) == (cut > 0)).mean()
        assert agree > 0.97


def test_a_close_crop_shows_an_object_as_a_closer_look_does():
    labels = np.zeros((200, 200), np.int32)
    labels[150:170, 20:50] = 1
    sample = Sample(np.zeros((200, 200, 3), np.uint8), (labels,))
    sides, middles = [], []
    for seed in range(60):
        _, (cut,) = crop(sample, np.random.default_rng(seed), 256, 512, close=True)
        rows, columns = np.nonzero(cut)
        sides.append(max(np.ptp(rows), np.ptp(columns)) + 1)
        middles.append([rows.mean(), columns.mean()])
    assert 70 < np.median(sides) < 110
    assert np.abs(np.median(middles, axis=0) - 128).max() < 12


def test_a_close_crop_of_a_picture_without_objects():
    sample = Sample(np.zeros((64, 64, 3), np.uint8), (np.zeros((64, 64), np.int32),))
    image, _ = crop(sample, np.random.default_rng(0), 64, 512, close=True)
    assert image.shape == (64, 64, 3)


def test_crowded_pictures_are_drawn_more_often():
    one, many = np.zeros((2, 80, 80), np.int32)
    one[:8, :8] = 1
    many[::10, ::10] = np.arange(64).reshape(8, 8) + 1
    picture = np.zeros((80, 80, 3), np.uint8)
    made = CropDataset({"made": [Sample(picture, (one,)), Sample(picture, (many,))]}, {"made": 1.0}, BatchConfig(), 0)
    assert made.chances[0] == pytest.approx([0.176, 0.824], abs=0.01)


def test_relight_keeps_shape_and_type():
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    for seed in range(30):
        changed = relight(image, np.random.default_rng(seed))
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8


def test_dense_targets_point_to_the_centre():
    labels = np.zeros((64, 64), np.int32)
    labels[16:48, 8:40] = 3
    target = dense_targets(labels)
    assert target.shape == (5, 16, 16)
    assert target[0, 8, 5] == 1
    assert target[0, 1, 1] == 0
    assert target[1].any()
    centre = np.unravel_index(target[2].argmax(), (16, 16))
    assert abs(centre[0] - 7.5) <= 1
    assert abs(centre[1] - 5.5) <= 1
    assert target[3, 4, 5] > 0.5
    assert target[4, 7, 9] < -0.5


def test_made_up_pictures_are_the_same_by_any_number_of_processes():
    for one, other in zip(synthetic_samples(3, 5), synthetic_samples(3, 5, workers=2), strict=True):
        assert np.array_equal(one.image, other.image)
