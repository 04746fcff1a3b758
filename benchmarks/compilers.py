"""Whether other runtimes encode faster: torch.compile, OpenVINO and ONNX Runtime next to the model as it runs here.

Each computes the same pictures in turns, on all cores or so many threads; `difference` is how far its features lie from
ours in float32, as a share of their norm. Runtimes that are not installed are left out.

python benchmarks/compilers.py [--times 7] [--threads 1] [--vit-b] [--without "torch.compile"]

``--vit-b`` measures that instead; torch.compile takes long to build it.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import io
import json
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from napari_segany.models.device import pick_dtype
from napari_segany.models.loading import load_model
from napari_segany.models.sam.model import build_sam
from napari_segany.models.tiny.tiny_sam import fold_batch_norm

Runs = Callable[[torch.Tensor], np.ndarray]


class First(nn.Module):
    """An encoder with one output: the embedding."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.encoder(x)
        return found["image_embed"] if isinstance(found, dict) else found


def eager(encoder: nn.Module, dtype: torch.dtype) -> Runs:
    ours = encoder.to(dtype).to(memory_format=torch.channels_last)
    return lambda x: ours(x.to(dtype)).float().numpy()


def compiled(encoder: nn.Module, dtype: torch.dtype) -> Runs:
    ours = torch.compile(encoder.to(dtype).to(memory_format=torch.channels_last))
    return lambda x: ours(x.to(dtype)).float().numpy()


def openvino(encoder: nn.Module, example: torch.Tensor, precision: str) -> Runs:
    import openvino as ov

    model = ov.convert_model(encoder, example_input=example, input=[list(example.shape)])
    ready = ov.Core().compile_model(
        model, "CPU", {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    )
    return lambda x: np.array(ready(x.numpy())[0])


def onnxruntime(encoder: nn.Module, example: torch.Tensor) -> Runs:
    import onnxruntime as ort

    file = io.BytesIO()
    torch.onnx.export(encoder, (example,), file, dynamo=False, input_names=["x"], opset_version=17)
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # its threads would go on spinning while others are timed
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x.numpy()})[0]


def runtimes(make: Callable[[], nn.Module], example: torch.Tensor, without: list[str]) -> Iterator[tuple[str, Runs]]:
    """Runtimes by name; what cannot be built says why."""
    half = pick_dtype("auto", torch.device("cpu"))
    builders: dict[str, Callable[[], Runs]] = {
        "float32": lambda: eager(make(), torch.float32),
        f"{half}".removeprefix("torch."): lambda: eager(make(), half),
        "torch.compile": lambda: compiled(make(), half),
    }
    if importlib.util.find_spec("openvino"):
        builders |= {f"OpenVINO {name}": lambda name=name: openvino(make(), example, name) for name in ("f32", "bf16")}
    if importlib.util.find_spec("onnxruntime"):
        builders["ONNX Runtime"] = lambda: onnxruntime(make(), example)
    for name, build in builders.items():
        if name in without:
            continue
        try:
            run = build()
            run(example)
        except Exception as error:  # noqa: BLE001  a runtime that cannot build this model is a result too
            print(
                json.dumps({"runtime": name, "failed": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"})
            )
            continue
        yield name, run


@torch.inference_mode()
def measure(what: str, make: Callable[[], nn.Module], shape: tuple[int, ...], times: int, without: list[str]) -> None:
    example = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ready = dict(runtimes(make, example, without))
    exact = ready["float32"](example)
    waits: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(times):
        for name, run in ready.items():
            started = time.perf_counter()
            run(example)
            waits[name].append(1000 * (time.perf_counter() - started))
    for name, run in ready.items():
        difference = float(np.linalg.norm(run(example) - exact) / np.linalg.norm(exact))
        row = {"what": what, "runtime": name, "ms": round(float(np.median(waits[name])), 1)}
        print(json.dumps(row | {"difference": round(difference, 4)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--vit-b", action="store_true")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--without", action="append", default=[], metavar="RUNTIME")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    times, without = arguments.times, arguments.without
    if arguments.vit_b:
        torch.manual_seed(0)
        vit = build_sam("vit_b").eval()
        # each runtime has a copy: one of them changes its type
        measure("ViT-B, 1024", lambda: First(copy.deepcopy(vit.image_encoder)), (1, 3, 1024, 1024), times, without)
        return
    tiny = load_model("tiny").eval()
    measure(
        "window, 256", lambda: First(fold_batch_norm(tiny.image_encoder)).eval(), (1, 4, 256, 256), 3 * times, without
    )
    measure("tiny, 512", lambda: First(fold_batch_norm(tiny.image_encoder)).eval(), (1, 4, 512, 512), times, without)


if __name__ == "__main__":
    main()
