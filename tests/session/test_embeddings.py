import numpy as np

from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.session.embeddings import EmbeddingCache


def embedding(kilobytes: int) -> ImageEmbedding:
    return ImageEmbedding({"x": np.zeros(kilobytes * 256, np.float32)}, (1, 1), "fake")


def test_the_least_recently_used_goes_first():
    cache = EmbeddingCache(limit=2500)
    first, second, third = (embedding(1) for _ in range(3))
    cache.put(1, first)
    cache.put(2, second)
    assert cache.get(1) is first
    cache.put(3, third)
    assert cache.get(2) is None
    assert cache.get(1) is first
    assert len(cache) == 2


def test_one_embedding_is_kept_however_large():
    cache = EmbeddingCache(limit=10)
    cache.put(1, embedding(1))
    assert len(cache) == 1
    cache.clear()
    assert cache.get(1) is None
