"""What must not be imported when a model is used in a window."""

import subprocess
import sys

CODE = """
import sys, numpy as np
from napari_segany import Point, Box, Prompt, load_segmenter
segmenter = load_segmenter(sys.argv[1])
embedding = segmenter.embed(np.zeros((40, 50, 3), np.uint8))
segmenter.segment(embedding, [Prompt((Point(3, 4),)), Prompt(box=Box(3, 4, 20, 30))])
print([name for name in ("triton", "torch._dynamo") if name in sys.modules])
"""


def test_no_second_llvm_is_loaded_beside_that_of_opengl(tmp_path):
    import torch

    from napari_segany.models.tiny.tiny_sam import TinySam
    from napari_segany.training.train_sam import export

    torch.manual_seed(0)
    export(TinySam(), tmp_path / "weights.safetensors")
    command = [sys.executable, "-c", CODE, str(tmp_path / "weights.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
