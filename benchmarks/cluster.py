"""What a plane costs when all of its objects are looked for, alone and by workers of a Dask cluster on this machine.

python benchmarks/cluster.py [--planes 12] [--side 1024] [--workers 1 2]

A stack of synthetic nuclei in an OME-Zarr file. Workers have one thread each; torch is told so.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from napari_segany.batch.dask_cluster import DaskCluster, loader
from napari_segany.batch.segment_folder import FolderJob, segment_folder_files
from napari_segany.core.automatic_masks import generate_candidates
from napari_segany.core.synthetic import synthetic_image
from napari_segany.io.ome_zarr import Layout, create_labels


def stack(path: Path, planes: int, side: int) -> None:
    layout = Layout((planes, side, side), np.dtype(np.uint16), "zyx", (1.0, 1.0, 1.0))
    array = create_labels(path, layout, version="0.4")
    for z in range(planes):
        made = synthetic_image(np.random.default_rng(z), (side, side), kind="fluorescence", radius=16)
        array[z] = (made.image.mean(axis=-1) * 200).astype(np.uint16)


def measured(image: Path, out: Path, cluster: DaskCluster | None) -> dict[str, float]:
    started, computed = time.perf_counter(), time.process_time()
    (report,) = segment_folder_files(FolderJob(image, out, None, {}, link=True), loader("tiny", "cpu"), cluster)
    seconds, computed = time.perf_counter() - started, time.process_time() - computed
    labels = (out / f"{image.stem}_labels.tif").stat().st_size
    return {"objects": report.objects, "seconds": seconds, "own_cpu_seconds": computed, "label_bytes": labels}


def rates(side: int = 1024) -> dict[str, float]:
    """Seconds that one core computes for a plane."""
    plane = synthetic_image(np.random.default_rng(0), (side, side), kind="fluorescence", radius=16).image
    segmenter = loader("tiny", "cpu")()
    segmenter.embed(plane)
    times = [time.process_time()]
    embedding = segmenter.embed(plane)
    times.append(time.process_time())
    seeds = len(segmenter.seeds(embedding))
    times.append(time.process_time())
    found = sum(len(batch) for _, batch in generate_candidates(segmenter, plane, embedding=embedding))
    times.append(time.process_time())
    encode, seed, rest = np.diff(times)
    return {
        "side": side,
        "encode": encode,
        "seeds": seed,
        "each_object": (rest - seed) / max(seeds, 1),
        "objects": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--planes", type=int, default=12)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    # before torch is imported, here and by the workers
    os.environ["OMP_NUM_THREADS"] = "1"
    from distributed import LocalCluster

    print(json.dumps(rates()), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "stack.zarr"
        stack(image, given.planes, given.side)
        size = sum(path.stat().st_size for path in image.rglob("*") if path.is_file())
        print(json.dumps({"planes": given.planes, "side": given.side, "stored_bytes": size}), flush=True)
        print(json.dumps({"workers": 0, **measured(image, Path(folder) / "alone", None)}), flush=True)
        for count in given.workers:
            with (
                LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as local,
                DaskCluster(local.scheduler_address, loader("tiny", "cpu")) as cluster,
            ):
                # the model is loaded in the first run, which does not count
                measured(image, Path(folder) / f"first{count}", cluster)
                row = measured(image, Path(folder) / f"with{count}", cluster)
                print(json.dumps({"workers": count, **row}), flush=True)


if __name__ == "__main__":
    main()
