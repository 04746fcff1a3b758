"""Mean IoU of queries with the objects that are matched to them, after each layer, on crops of a run's sources.

python scripts/query_layers.py RUN --data $SEGANY_DATA/train [--config tiny-queries] [--crops 40]

RUN is the --out of `train mask2former`; the averaged weights of its checkpoint are taken. Crops are new ones, of the
pictures that it learned from. Objects of fewer than four cells of the map are left out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

import napari_segany.training
from napari_segany.models.loading import load_model
from napari_segany.models.mask2former.set_loss import match_objects
from napari_segany.models.mask2former.tiny_queries import TinyQueries, pyramid_channels, tiny_pyramid
from napari_segany.training.data import load_sources
from napari_segany.training.object_batches import ObjectDataset, object_set
from napari_segany.training.train_mask2former import read_query_config


def main() -> None:
    """Print the mean IoU before the first layer, and after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", default="tiny-queries")
    parser.add_argument("--crops", type=int, default=40)
    given = parser.parse_args()
    folder = Path(napari_segany.training.__file__).parent / "configs"
    config = read_query_config(folder / f"{given.config}.toml")
    sources = load_sources(given.data, replace(config.sources, synthetic=20), seed=99)
    crops = ObjectDataset(sources, config.sources.shares, config.source_classes, config.batch, seed=999)
    base = load_model("tiny").float().eval()
    state = torch.load(given.run / "checkpoint.pt", weights_only=True)
    queries = TinyQueries(pyramid_channels(base), config.model).eval()
    queries.load_state_dict(state["average"])
    found: list[list[float]] = [[] for _ in range(config.model.layers + 1)]
    for number in range(given.crops):
        crop = crops[number]
        objects = object_set(crop["labels"], int(crop["class"]), complete=bool(crop["complete"]))
        with torch.inference_mode():
            predictions = queries(tiny_pyramid(base, crop["image"][None]))
        for layer, prediction in enumerate(predictions):
            rows, columns = match_objects(prediction, [objects], config.loss)[0]
            masks = prediction.masks[0, rows] > 0
            truth = F.interpolate(objects.masks[columns, None], size=masks.shape[-2:], mode="area")[:, 0] > 0.5
            overlap = (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2)).clamp_min(1)
            found[layer] += overlap[truth.sum((1, 2)) >= 4].tolist()
    print(f"step {state['step']}:", *(f"{sum(each) / max(len(each), 1):.3f}" for each in found))


if __name__ == "__main__":
    main()
