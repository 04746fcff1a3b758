import pytest
import torch

from napari_segany.core.errors import InputError
from napari_segany.models.device import pick_device, pick_dtype

CPU = torch.device("cpu")


def test_a_device_is_always_found():
    assert pick_device().type in ("cuda", "mps", "cpu")
    assert pick_device("auto") == pick_device(None)
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "meta", "quantum"])
def test_what_is_not_there_is_said(name):
    with pytest.raises(InputError, match=name):
        pick_device(name)


@pytest.mark.parametrize(
    ("capability", "features", "chosen"),
    [
        ("AVX512", {"amx_bf16": True}, torch.bfloat16),
        ("AVX512", {"avx512_bf16": True}, torch.bfloat16),
        ("AVX512", {"avx512_f": True}, torch.float32),
        ("AVX2", {"avx512_bf16": True}, torch.float32),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_can(monkeypatch, capability, features, chosen):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert pick_dtype("auto", CPU) == chosen


def test_precision():
    assert pick_dtype("auto", torch.device("mps")) == torch.float32
    assert pick_dtype("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(InputError, match="float8"):
        pick_dtype("float8", CPU)
