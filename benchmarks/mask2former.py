"""What the parts of a Mask2Former cost beside those of `transformers`, with the same weights, taking turns in one run.

python benchmarks/mask2former.py [--side 384] [--repeats 5] [--threads 1]

The published sizes (256 channels, 6 + 9 layers, 100 queries) over a small ResNet with random weights. `difference` is
the largest of all mask logits, in shares of their largest value.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig

from napari_segany.models.mask2former.published import model_of, our_state
from napari_segany.models.mask2former.set_loss import ObjectSet, SetLossConfig, set_loss


def milliseconds(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median time of each, in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeats + 1):
        for name, work in ways.items():
            started = time.perf_counter()
            work()
            if number:
                times[name].append(1000 * (time.perf_counter() - started))
    return {name: round(statistics.median(each), 1) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    stages = [f"stage{number}" for number in range(1, 5)]
    inner = ResNetConfig(embedding_size=16, hidden_sizes=[32, 64, 128, 256], depths=[1] * 4, out_features=stages)
    theirs = Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=inner, num_labels=8)).eval()
    encoder = theirs.model.pixel_level_module.encoder
    ours = model_of(theirs.config.to_dict(), encoder, tuple(encoder.channels))
    ours.load_state_dict(our_state(theirs.state_dict()))
    ours.eval()
    pixels = torch.randn(1, 3, given.side, given.side)
    masks = (torch.rand(30, given.side, given.side) > 0.9).float()
    classes = torch.randint(0, 8, (30,))
    with torch.inference_mode():
        maps = encoder(pixels).feature_maps
        levels, fine = ours.pixel_decoder(maps)
        found, expected = ours(pixels)[-1].masks, theirs(pixels).masks_queries_logits
        pixel = {
            "ours": lambda: ours.pixel_decoder(maps),
            "transformers": lambda: theirs.model.pixel_level_module.decoder(maps, return_dict=True),
        }
        whole = {"ours": lambda: ours(pixels), "transformers": lambda: theirs(pixels)}
        query = {"transformers": lambda: theirs.model.transformer_module(levels, fine)}
        rows = {
            "pixel decoder": milliseconds(pixel, given.repeats),
            "query decoder": milliseconds(query, given.repeats),
            "whole, forward": milliseconds(whole, given.repeats),
        }
    rows["query decoder"]["ours"] = round(rows["whole, forward"]["ours"] - rows["pixel decoder"]["ours"], 1)

    def step(forward: Callable[[], torch.Tensor]) -> None:
        forward().backward()

    training = {
        "ours": lambda: step(lambda: set_loss(ours(pixels), [ObjectSet(masks, classes)], SetLossConfig())["loss"]),
        "transformers": lambda: step(lambda: theirs(pixels, mask_labels=[masks], class_labels=[classes]).loss),
    }
    rows["whole, loss and gradients"] = milliseconds(training, max(given.repeats // 2, 1))
    rows["difference"] = {"masks": float((found - expected).abs().max() / expected.abs().max())}
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
