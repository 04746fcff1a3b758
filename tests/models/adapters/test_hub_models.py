"""Models of the registry that are folders of the hub, and the user's own folders: listed, loaded, checked, refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_segany.cli import app
from napari_segany.core.errors import ModelError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.models import availability, registry
from napari_segany.models.adapters import hub_loading
from napari_segany.models.loading import load_segmenter
from napari_segany.models.registry import find, list_models
from napari_segany.models.weight_check import check_model

from tests.models.adapters.small_models import small_folder  # isort: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder("sam2", tmp_path_factory.mktemp("small") / "sam2")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(registry, "weights_folder", lambda: tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(registry.OWN_MODELS, str(tmp_path / "models"))
    return tmp_path / "models"


def test_a_model_of_the_hub_is_downloaded_once(small, cache, monkeypatch) -> None:
    asked: list[Any] = []

    def download(repository: str, target: Path, progress: Any) -> Path:
        asked.append((repository, target))
        shutil.copytree(small, target)
        return target

    monkeypatch.setattr(hub_loading, "download", download)
    assert not find("sam2.1_tiny").installed
    first = load_segmenter("sam2.1_tiny", "cpu")
    assert asked == [("facebook/sam2.1-hiera-tiny", cache / "sam2.1_tiny")]
    assert find("sam2.1_tiny").installed
    assert first.name.startswith("sam2.1_tiny-")
    # sessions record the name with the hash
    assert load_segmenter(first.name, "cpu").name == first.name
    assert len(asked) == 1
    with pytest.raises(ModelError, match="no model is called"):
        load_segmenter("sam2.1_tiny-00000000", "cpu")


def test_a_model_that_is_too_large_is_refused_before_it_is_downloaded(cache, monkeypatch) -> None:
    monkeypatch.setattr(availability.psutil, "virtual_memory", lambda: type("Free", (), {"available": 3 * 10**9})())
    monkeypatch.setattr(hub_loading, "download", lambda *given: pytest.fail("it was downloaded"))
    with pytest.raises(ModelError, match=r"sam3 needs about 4\.5 GB of memory, and 3\.0 GB are free") as caught:
        load_segmenter("sam3", "cpu")
    assert "\n" not in str(caught.value)


def test_a_folder_of_another_kind_is_one_line(small, cache) -> None:
    shutil.copytree(small, cache / "edgetam")
    config = (cache / "edgetam" / "config.json").read_text()
    (cache / "edgetam" / "config.json").write_text(config.replace('"model_type": "sam2"', '"model_type": "clip"'))
    with pytest.raises(ModelError, match="kind 'clip'; supported are EdgeTAM, SAM") as caught:
        load_segmenter("edgetam", "cpu")
    assert "\n" not in str(caught.value)


def test_the_users_own_folders_are_models(small, own) -> None:
    shutil.copytree(small, own / "mine")
    (own / "not one").mkdir()
    spec = find("mine")
    assert (spec.own, spec.folder, spec.installed, spec.size) == (True, True, True, "on this computer")
    assert [one.name for one in list_models()][:2] == ["tiny", "mine"]
    segmenter = load_segmenter("mine", "cpu")
    assert find(segmenter.name) == spec
    embedding = segmenter.embed(np.zeros((40, 50, 3), np.uint8))
    assert len(segmenter.segment(embedding, [Prompt((Point(3, 4),))])[0]) == 3


def test_a_folder_that_is_called_like_a_published_model_does_not_hide_it(small, own, cache, monkeypatch) -> None:
    shutil.copytree(small, own / "vit_b")
    assert not find("vit_b").folder
    monkeypatch.chdir(own)
    shutil.copytree(small, own / "tiny")
    assert load_segmenter("tiny", "cpu").name == "tiny"


def test_models_list_and_info(small, own, cache) -> None:
    shutil.copytree(small, own / "mine")
    listed = CliRunner().invoke(app, ["models", "list"]).stdout
    assert "your model" not in listed, "a folder of others was not trained here"
    rows = {line.split()[0]: line for line in listed.splitlines()}
    assert "yes" in rows["mine"]
    assert "yes" in rows["tiny"]
    assert "yes" not in rows["sam2.1_tiny"]
    assert "156 MB" in rows["sam2.1_tiny"]
    assert "gated" in rows["sam3"]
    shown = CliRunner().invoke(app, ["models", "info", "sam3"]).stdout
    assert "not verified" in shown
    assert "https://huggingface.co/facebook/sam3" in shown
    assert "not there yet" in shown


@pytest.mark.parametrize("named", ["hf:{}", "{}"])
def test_models_check(small, named) -> None:
    plane, truth = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), int)
    plane[20:40, 20:40], truth[20:40, 20:40] = 255, 1
    found = check_model(named.format(small), plane, truth, "cpu")
    assert found.architecture == "SAM 2"
    assert found.weights > 100
    assert found.published == ""
    assert found.as_expected


def test_models_info_says_why_a_model_cannot_be_used(cache, monkeypatch) -> None:
    monkeypatch.setattr(availability, "find_spec", lambda package: None)
    shown = CliRunner().invoke(app, ["models", "info", "edgetam"]).output
    assert "cannot be used: it needs the package transformers" in shown
    assert "cannot be used" not in CliRunner().invoke(app, ["models", "info", "tiny"]).output
