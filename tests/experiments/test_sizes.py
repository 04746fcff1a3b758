import numpy as np

from napari_segany.experiments.datasets import LabelledPlane, targets
from napari_segany.experiments.sizes import tiled


def test_what_an_edge_cuts_is_one_with_its_mirror_image():
    labels = np.zeros((20, 20), np.int32)
    labels[0:5, 8:12] = 1
    labels[10:15, 8:12] = 2
    one = LabelledPlane("made up", np.repeat(labels[..., None], 3, axis=-1).astype(np.uint8), labels)
    (variant,) = tiled(60)(one, targets(labels))
    cut, inner = variant.targets
    assert cut.mask.shape == (10, 4)
    assert cut.mask.all()
    assert inner.mask.shape == (5, 4)
    for number, target in enumerate(variant.targets, start=1):
        assert (variant.plane[target.window][target.mask] == number).all()


def test_an_object_in_a_corner_has_three_mirror_images():
    labels = np.zeros((20, 20), np.int32)
    labels[15:, 16:] = 1
    one = LabelledPlane("made up", np.repeat(labels[..., None], 3, axis=-1).astype(np.uint8), labels)
    (variant,) = tiled(60)(one, targets(labels))
    assert variant.targets[0].mask.shape == (10, 8)
