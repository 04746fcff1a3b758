"""The numbers of inference travel with the weights."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_segany.core.confidence import Gates
from napari_segany.core.errors import ModelError
from napari_segany.core.filters import Filters
from napari_segany.core.synthetic import synthetic_image
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
    assert (known.gates.score_power, InferenceConfig().text.scene_share) == (1.0, 0.0)
    assert (tiny_inference_config().gates.score_power, tiny_inference_config().text.scene_share) == (20.0, 0.5)
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


def test_numbers_that_an_older_file_lacks_are_those_of_tiny(tmp_path: Path) -> None:
    own = json.loads(replace(tiny_inference_config(), filters=Filters(score=0.9)).to_metadata()[KEY])
    del own["ranking"], own["gates"]["score_power"], own["text"]["scene_share"], own["chosen_on"]
    save_file(load_file(TINY), tmp_path / "old.safetensors", {KEY: json.dumps(own)})
    expected = replace(tiny_inference_config(), filters=Filters(score=0.9))
    assert load_segmenter(tmp_path / "old.safetensors").config == expected
    model = TinySam()
    begin(model, str(tmp_path / "old.safetensors"))
    assert model.inference == expected


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


def test_where_numbers_were_chosen_is_told_of_numbers_that_there_are() -> None:
    config = tiny_inference_config()
    groups = {group: values for group, values in asdict(config).items() if isinstance(values, dict)}
    fields = {f"{group}.{name}" for group, values in groups.items() for name in values}
    assert config.chosen_on
    assert set(config.chosen_on) <= fields
    assert all(config.chosen_on.values())


def test_a_number_of_the_file_is_the_one_that_is_used(tmp_path: Path) -> None:
    plane = synthetic_image(np.random.default_rng(5), (160, 160), kind="fluorescence", radius=10).image
    own = tiny_inference_config()
    assert own.proposals is not None
    changed = replace(own, proposals=replace(own.proposals, least_heat=1.0))
    save_file(load_file(TINY), tmp_path / "none.safetensors", changed.to_metadata())
    none, some = (load_segmenter(model) for model in (tmp_path / "none.safetensors", "tiny"))
    assert not none.seeds(none.embed(plane))
    assert some.seeds(some.embed(plane))


def test_the_hash_of_weights_does_not_depend_on_their_settings(tmp_path: Path) -> None:
    a, b, other = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors"))
    save_file({"a": torch.ones(2)}, a)
    save_file({"a": torch.ones(2)}, b, tiny_inference_config().to_metadata())
    save_file({"a": torch.zeros(2)}, other)
    assert weights_hash(a) == weights_hash(b) != weights_hash(other)
    assert weights_hash(TINY).startswith("sha256:ac7bbfcb"), "recorded sessions name it"
