"""Small models with random weights, the same in every test."""

from collections.abc import Callable

import pytest
import torch

from napari_segany.models.sam.image_encoder import EncoderConfig
from napari_segany.models.sam.model import Sam, build_sam
from napari_segany.models.sam_segmenter import SamSegmenter

# Four blocks, two of them global; 16 tokens a side do not divide into windows of 14, so padding is seen.
SMALL = EncoderConfig(width=96, depth=4, heads=4, global_blocks=(1, 3), image_size=256)


def randomised(model: Sam, seed: int = 0) -> Sam:
    """Make every weight matter: fresh norms are all ones and fresh relative positions all zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            spread = 0.5 if "pos" in name else 0.05
            weight.add_(spread * torch.randn(weight.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="session")
def randomise() -> Callable[[Sam], Sam]:
    return randomised


@pytest.fixture(scope="session")
def small_config() -> EncoderConfig:
    return SMALL


@pytest.fixture(scope="session")
def small_sam() -> Sam:
    torch.manual_seed(0)
    return randomised(build_sam(SMALL))


@pytest.fixture(scope="session")
def segmenter(small_sam: Sam) -> SamSegmenter:
    return SamSegmenter(small_sam, "small")
