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


def test_precision():
    assert pick_dtype("auto", CPU) == torch.float32
    assert pick_dtype("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(InputError, match="float8"):
        pick_dtype("float8", CPU)
