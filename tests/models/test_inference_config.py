"""The numbers of inference travel with the weights."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_segany.core.confidence import Gates
from napari_segany.core.errors import ModelError
from napari_segany.core.filters import Filters
from napari_segany.models.inference_config import (
    KEY,
    InferenceConfig,
    read_inference_config,
    tiny_inference_config,
    weights_hash,
)
from napari_segany.models.loading import load_segmenter
from napari_segany.models.registry import find
from napari_segany.models.sam.model import build_sam
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training.train_sam import begin, export

TINY = find("tiny").path


def test_there_and_back(tmp_path: Path) -> None:
    config = replace(tiny_inference_config(), filters=Filters(score=0.7), chosen_on={"filters.score": "train/dsb2018"})
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", config.to_metadata())
    assert read_inference_config(tmp_path / "a.safetensors") == config


def test_a_published_sam_has_nothing_that_was_chosen_for_tiny(tmp_path: Path) -> None:
    torch.save(build_sam("vit_t").state_dict(), tmp_path / "mobile.pt")
    known = load_segmenter(tmp_path / "mobile.pt", precision="float32").capabilities
    assert known == SamSegmenter(build_sam("vit_t"), "vit_t").capabilities
    assert (known.proposals, known.texts) == (False, False)
    assert known.filters == Filters()
    assert known.gates == Gates()
    assert known.gates.calibration is None
    assert tiny_inference_config().gates.calibration is not None


def test_a_file_has_its_own_numbers_and_one_without_has_those_of_tiny(tmp_path: Path) -> None:
    own = replace(tiny_inference_config(), filters=Filters(score=0.9))
    save_file(load_file(TINY), tmp_path / "own.safetensors", own.to_metadata())
    save_file(load_file(TINY), tmp_path / "none.safetensors")
    assert load_segmenter(tmp_path / "own.safetensors").capabilities.filters.score == 0.9
    assert load_segmenter(tmp_path / "none.safetensors").config == tiny_inference_config()


def test_training_hands_the_numbers_on(tmp_path: Path) -> None:
    own = replace(tiny_inference_config(), filters=Filters(score=0.9))
    save_file(load_file(TINY), tmp_path / "own.safetensors", own.to_metadata())
    model = TinySam()
    begin(model, str(tmp_path / "own.safetensors"))
    export(model, tmp_path / "trained.safetensors")
    assert read_inference_config(tmp_path / "trained.safetensors") == own


@pytest.mark.parametrize("text", ["{", '{"zoom": {"window": "wide"}}', '{"filters": 3}', "[]"])
def test_settings_that_cannot_be_read_are_one_line(tmp_path: Path, text: str) -> None:
    save_file(load_file(TINY), tmp_path / "a.safetensors", {KEY: text})
    with pytest.raises(ModelError, match="settings of inference that cannot be read") as error:
        load_segmenter(tmp_path / "a.safetensors")
    assert "\n" not in str(error.value)


def test_settings_that_lack_those_of_the_architecture(tmp_path: Path) -> None:
    save_file(load_file(TINY), tmp_path / "a.safetensors", InferenceConfig().to_metadata())
    with pytest.raises(ModelError, match="lack those of the architecture"):
        load_segmenter(tmp_path / "a.safetensors")


def test_every_number_of_tiny_is_used_or_names_where_it_was_chosen() -> None:
    config = tiny_inference_config()
    fields = {
        f"{group}.{name}" for group, values in asdict(config).items() if isinstance(values, dict) for name in values
    }
    assert set(config.chosen_on) <= fields
    sources = "".join(path.read_text() for path in Path(find("tiny").path).parents[2].rglob("*.py"))
    for group in ("zoom", "postprocess", "proposals", "text"):
        for name in asdict(config)[group]:
            assert len(re.findall(rf"\.{name}\b", sources)) > 0, f"{group}.{name} is used nowhere"


def test_core_has_no_number_of_a_model() -> None:
    core = Path(find("tiny").path).parents[2] / "core"
    for path in core.glob("*.py"):
        assert "dev/" not in path.read_text(), f"{path.name} holds what was chosen on a set"


def test_the_hash_of_weights_does_not_depend_on_their_settings(tmp_path: Path) -> None:
    a, b, other = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors"))
    save_file({"a": torch.ones(2)}, a)
    save_file({"a": torch.ones(2)}, b, tiny_inference_config().to_metadata())
    save_file({"a": torch.zeros(2)}, other)
    assert weights_hash(a) == weights_hash(b) != weights_hash(other)
    assert weights_hash(TINY).startswith("sha256:b8a69017"), "sessions of version 0.1.0 name it"
