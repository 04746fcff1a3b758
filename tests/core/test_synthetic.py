import numpy as np
import pytest

from napari_segany.core.synthetic import KINDS, synthetic_image


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_picture_and_its_truth(kind):
    made = synthetic_image(np.random.default_rng(3), (96, 80), kind=kind, radius=12)
    assert made.image.shape == (96, 80, 3)
    assert made.image.dtype == np.uint8
    assert made.image.std() > 2
    assert all(level.shape == (96, 80) and level.max() >= 2 for level in made.levels[:1])


def test_the_same_seed_gives_the_same_picture():
    first, second = (synthetic_image(np.random.default_rng(5), (64, 64)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.levels[0], second.levels[0])


def test_nuclei_lie_inside_their_cells():
    made = synthetic_image(np.random.default_rng(1), (128, 128), kind="two stains", radius=20)
    cells, nuclei = made.levels
    assert nuclei.any()
    assert (cells[nuclei > 0] == nuclei[nuclei > 0]).all()
