"""Where a model computes, and in which precision."""

from __future__ import annotations

import os

import torch

from napari_segany.core.arguments import check_type
from napari_segany.core.errors import InputError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """Choose the device to compute on.

    Parameters
    ----------
    device : str or torch.device, optional
        "cuda", "cuda:1", "mps", "cpu" ...; None or "auto" takes the fastest that is there: cuda, then mps, then cpu.

    Raises
    ------
    InputError
        The device is unknown, or this machine has none.
    """
    if device is None or device == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(found)
    try:
        picked = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{device!r} is not a device; use auto, cpu, cuda or mps") from error
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (picked.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(picked.type, False):
        raise InputError(f"device {str(device)!r} is not there on this machine; use auto or cpu")
    return picked


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Choose the number format that the image encoder computes in.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16", "float16"}
        "auto" means the value of the environment variable SEGANY_PRECISION, else bfloat16 where the processor
        multiplies it natively, float16 on cards that have no bfloat16, and float32 on mps and on other processors.
    device : torch.device
        Device of the encoder.

    Raises
    ------
    InputError
        The precision is none of these.
    """
    check_type(precision, str, "precision")
    if precision == "auto":
        precision = os.environ.get("SEGANY_PRECISION", "auto")
    if precision != "auto":
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision!r} is unknown; use auto, {', '.join(PRECISIONS)}")
        return PRECISIONS[precision]
    if device.type == "cpu":
        return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for it that torch uses (elsewhere bfloat16 is slower than float32)."""
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        return False
    # older versions of torch do not provide this
    features: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(features.get("amx_bf16") or features.get("avx512_bf16"))
