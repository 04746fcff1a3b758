"""Milliseconds that ViT-B needs on a GPU for planes of 1024 x 1024, and the share of the rate of large matrices.

python benchmarks/gpu.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_segany.models.sam.model import build_sam

SIDE = 8192
"""Of the matrices whose rate is what can be reached."""


def milliseconds(work: Callable[[], object], times: int = 10) -> float:
    """Median on the GPU's own clock, after three calls that are not counted."""
    for _ in range(3):
        work()
    found = []
    for _ in range(times):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        found.append(begin.elapsed_time(end))
    return sorted(found)[times // 2]


def captured(work: Callable[[], object]) -> Callable[[], object]:
    """The same kernels, launched as one CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def rows() -> Iterator[dict[str, Any]]:
    """Each type and number of planes, as PyTorch launches them and, in half precision, as a graph."""
    matrix = torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
    rate = 2 * SIDE**3 / milliseconds(lambda: matrix @ matrix) / 1e9
    encoder = build_sam("vit_b").cuda().eval().image_encoder
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        encoder = encoder.to(dtype)
        for planes in (1, 8):
            picture = torch.randn(planes, 3, 1024, 1024, device="cuda", dtype=dtype)
            with FlopCounterMode(display=False) as counted:
                encoder(picture)
            encode = partial(encoder, picture)
            found = {"launched": milliseconds(encode)}
            if planes == 1 and dtype != torch.float32:
                found["graph"] = milliseconds(captured(encode))
            for how, needed in found.items():
                share = counted.get_total_flops() / needed / 1e9 / rate
                row = {"type": str(dtype).split(".")[1], "planes": planes, "how": how, "ms": round(needed, 1)}
                yield {**row, "share": round(share, 3), "tflops_of_matrices": round(rate)}


if __name__ == "__main__":
    with torch.inference_mode():
        for each in rows():
            print(json.dumps({"gpu": torch.cuda.get_device_name(), **each}))
