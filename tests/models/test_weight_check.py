"""A model is checked: its file, its weights one by one, and what it draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest
import safetensors.torch
import torch
from torch import Tensor

from napari_segany.core.errors import ModelError
from napari_segany.models import registry, weight_check
from napari_segany.models.registry import find
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.models.weight_check import check_model, clearest_object

TRUTH = np.zeros((64, 96), np.uint16)
TRUTH[10:30, 10:30], TRUTH[10:30, 32:50], TRUTH[40:60, 70:90], TRUTH[60:64, 0:9] = 1, 2, 3, 4
PLANE = np.repeat(np.where(TRUTH > 0, 200, 20).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return TinySam().state_dict()


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    safetensors.torch.save_file(state, path)
    return path


def test_the_model_in_the_package() -> None:
    found = check_model("tiny", PLANE, TRUTH, "cpu")
    assert (found.architecture, found.published, found.path) == ("tiny", "tiny", find("tiny").path)
    assert found.weights == len(TinySam().state_dict())
    assert found.digest == pooch.file_hash(str(found.path), "xxh128")
    assert found.iou > 0.8
    assert found.best >= found.iou
    assert min(found.encoding, found.click) > 0
    assert (found.expected, found.as_expected) == (None, True)


def test_a_checkpoint_that_no_one_published(state: dict[str, Tensor], tmp_path: Path) -> None:
    found = check_model(saved(tmp_path / "mine.safetensors", state), PLANE, TRUTH, "cpu")
    assert (found.architecture, found.published) == ("tiny", "")


def test_a_file_is_known_by_its_hash(state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "renamed.safetensors", state)
    spec = replace(find("vit_b"), hash=f"sha256:{pooch.file_hash(str(path), 'sha256')}")
    monkeypatch.setattr(registry, "_MODELS", (find("tiny"), spec))
    monkeypatch.setattr(weight_check, "EXPECTED_IOU", {"vit_b": 1.1})
    found = check_model(path, PLANE, TRUTH, "cpu")
    assert (found.published, found.expected, found.as_expected) == ("vit_b", 1.1, False)


NAME = "image_encoder.stem.0.weight"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda state: state.pop("mask_decoder.iou_token.weight"), "mask_decoder.iou_token.weight is missing"),
        (lambda state: state.update(extra=torch.zeros(2)), "extra is unknown"),
        (lambda state: state.update({NAME: torch.zeros(2, 3)}), rf"{NAME} has the shape \(2, 3\) instead of \("),
        (lambda state: state.update({f"x{k}": torch.zeros(1) for k in range(9)}), "x0 is .* x4 is unknown, and 4 more"),
        (lambda state: state.update({NAME: torch.full_like(state[NAME], torch.nan)}), "no numbers"),
        (lambda state: state.pop(NAME), f"looks like 'tiny', but does not fit: {NAME} is missing"),
        (lambda state: [state.pop(name) for name in list(state)[:-4]], "unknown architecture; its first weights are"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    state: dict[str, Tensor], tmp_path: Path, change: Callable[[dict[str, Tensor]], object], line: str
) -> None:
    state = dict(state)
    change(state)
    with pytest.raises(ModelError, match=line) as error:
        check_model(saved(tmp_path / "mine.safetensors", state), PLANE, TRUTH, "cpu")
    assert "mine.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no checkpoint"):
        check_model(tmp_path / "gone.pt", PLANE, TRUTH)
    with pytest.raises(ModelError, match="did you mean"):
        check_model("vitb", PLANE, TRUTH)
    (tmp_path / "torn.pt").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(ModelError, match="not a complete torch checkpoint"):
        check_model(tmp_path / "torn.pt", PLANE, TRUTH)


def test_another_file_in_the_place_of_a_published_one_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "weights_folder", lambda: tmp_path)
    (tmp_path / "vit_b.pt").write_bytes(b"mine")
    with pytest.raises(ModelError, match="not the published 'vit_b'"):
        check_model("vit_b", PLANE, TRUTH)
    assert (tmp_path / "vit_b.pt").read_bytes() == b"mine"


def test_a_model_that_cannot_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def embed(self, plane: np.ndarray) -> None:
            raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(weight_check, "load_segmenter", lambda *_, **__: Full())
    with pytest.raises(ModelError, match="cannot compute: out of memory"):
        check_model("tiny", PLANE, TRUTH)


def test_the_clearest_object_is_whole_and_far_from_others() -> None:
    np.testing.assert_array_equal(clearest_object(TRUTH), TRUTH == 3)
    np.testing.assert_array_equal(clearest_object(np.where(TRUTH == 1, 1, 0)), TRUTH == 1)
