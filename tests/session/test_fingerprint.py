import dask.array as da
import numpy as np
import pytest

from napari_segany.core.errors import Cancelled
from napari_segany.session import fingerprint
from napari_segany.session.fingerprint import fingerprint_of, sample_fingerprint


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
    known = fingerprint_of(values)
    assert fingerprint_of(da.from_array(values, chunks=7)) == known
    assert fingerprint_of(values.astype(">u2")) == known
    assert fingerprint_of(np.asfortranarray(values)) == known


def test_other_values_shapes_and_types_are_other_images():
    values = np.zeros((20, 30), np.uint8)
    other = values.copy()
    other[13, 7] = 1
    images = (values, other, values.reshape(30, 20), values.astype(np.uint16), values.astype(np.int8))
    assert len({fingerprint_of(image).hash for image in images}) == 5


def test_of_a_large_array_a_fixed_sample_is_known_at_once(monkeypatch):
    monkeypatch.setattr(fingerprint, "WHOLE", 2**16)
    monkeypatch.setattr(fingerprint, "BLOCK", 16)
    values = np.random.default_rng(0).integers(0, 255, (30, 100, 120), np.uint8)
    watched = Watched(values)
    known = sample_fingerprint(watched)
    assert watched.read == 32 * 16**2
    assert (known.hash, known.name) == ("", known.sample[:16])
    assert sample_fingerprint(values) == known
    for place in ((0, 0, 0), (-1, -1, -1)):
        other = values.copy()
        other[place] += 1
        assert sample_fingerprint(other) != known
    picture = Watched(np.zeros((300, 300, 3), np.uint8))
    sample_fingerprint(picture)
    assert picture.read == 32 * 16**2 * 3


@pytest.mark.parametrize("shape", [(30, 100, 120), (5, 2, 400, 300), (900, 700), (300, 300, 3)])
@pytest.mark.parametrize("read", [2**13, 2**17, 2**30])
def test_any_value_of_a_large_array_counts(monkeypatch, shape, read):
    monkeypatch.setattr(fingerprint, "WHOLE", 2**12)
    monkeypatch.setattr(fingerprint, "READ", read)
    rng = np.random.default_rng(0)
    values = np.zeros(shape, np.uint16)
    known = fingerprint_of(values)
    assert fingerprint_of(da.from_array(values, chunks=50)) == known
    for _ in range(5):
        other = values.copy()
        other[tuple(rng.integers(length) for length in shape)] = 1
        assert fingerprint_of(other).hash != known.hash
        assert not fingerprint_of(other).is_same_as(known)
    # what is known only by its sample, as sessions of 0.1.0 are, is the same by that
    assert sample_fingerprint(values).is_same_as(known)


def test_hashing_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(fingerprint, "WHOLE", 2**10)
    with pytest.raises(Cancelled):
        fingerprint_of(np.zeros((64, 64), np.uint8), lambda: True)
