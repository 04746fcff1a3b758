import dask.array as da
import numpy as np

from napari_segany.session import content
from napari_segany.session.content import content_of


class Watched:
    """An array that counts what is read of it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __getitem__(self, key):
        values = self.array[key]
        self.read += values.size
        return values


def test_the_same_values_are_the_same_image_however_they_are_stored():
    values = np.arange(6 * 20 * 30, dtype=np.uint16).reshape(6, 20, 30)
    known = content_of(values)
    assert content_of(da.from_array(values, chunks=7)) == known
    assert content_of(values.astype(">u2")) == known
    assert content_of(np.asfortranarray(values)) == known


def test_other_values_shapes_and_types_are_other_images():
    values = np.zeros((20, 30), np.uint8)
    other = values.copy()
    other[13, 7] = 1
    images = (values, other, values.reshape(30, 20), values.astype(np.uint16), values.astype(np.int8))
    assert len({content_of(image).hash for image in images}) == 5


def test_of_a_large_array_a_fixed_sample_is_read(monkeypatch):
    monkeypatch.setattr(content, "WHOLE", 2**16)
    monkeypatch.setattr(content, "BLOCK", 16)
    values = np.random.default_rng(0).integers(0, 255, (30, 100, 120), np.uint8)
    watched = Watched(values)
    known = content_of(watched)
    assert watched.read == 32 * 16**2
    assert content_of(values) == known
    for place in ((0, 0, 0), (-1, -1, -1)):
        other = values.copy()
        other[place] += 1
        assert content_of(other) != known
    picture = Watched(np.zeros((300, 300, 3), np.uint8))
    content_of(picture)
    assert picture.read == 32 * 16**2 * 3
