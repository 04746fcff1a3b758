from __future__ import annotations

import numpy as np
import pytest

from napari_segany.core.synthetic import synthetic_image
from napari_segany.training.batches import BatchConfig, CropDataset
from napari_segany.training.data import Sample


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    pictures = [synthetic_image(np.random.default_rng(i), (96, 96), kind="fluorescence", radius=12) for i in range(3)]
    return [Sample(picture.image, picture.levels) for picture in pictures]


@pytest.fixture(scope="session")
def dataset(samples) -> CropDataset:
    config = BatchConfig(crops=2, masks=3, sizes={64: 1.0}, frame=512)
    return CropDataset({"made": samples}, {"made": 1.0}, config, seed=1)
