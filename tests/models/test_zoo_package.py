"""Models as packages of bioimage.io: checked by its library, and read back as they were."""

from __future__ import annotations

import importlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage.filters import gaussian

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.models import registry
from napari_segany.models.inference_config import read_metadata
from napari_segany.models.loading import load_segmenter
from napari_segany.models.zoo_package import PackageFacts, export_package, import_package

# the library of the zoo leaves files open
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
spec = pytest.importorskip("bioimageio.spec", reason="the library of bioimage.io is not installed")

Y, X = np.mgrid[:160, :192]
TRUTH = np.where((Y - 50) ** 2 + (X - 50) ** 2 < 20**2, 1, np.where((Y - 100) ** 2 + (X - 130) ** 2 < 26**2, 2, 0))
_NOISE = np.random.default_rng(0).normal(0, 12, TRUTH.shape)
PLANE = np.repeat((gaussian(np.where(TRUTH > 0, 170.0, 40.0), 2) + _NOISE).astype(np.uint8)[..., None], 3, axis=2)
FACTS = PackageFacts("Own cells", "Cells of a test.", ["A. Biologist"], "CC-BY-4.0")


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv(registry.OWN_MODELS, str(folder))
    return folder


@pytest.fixture
def package(tmp_path: Path) -> Path:
    out = tmp_path / "own-cells.zip"
    assert export_package("tiny", out, FACTS, PLANE, TRUTH) == []
    return out


def test_the_checks_of_the_zoo_pass(package: Path) -> None:
    found = spec.load_model_description(package)
    # (what the format asks for; "passed" is given by the program that runs it)
    assert (found.validation_summary.errors, found.validation_summary.status) == ([], "valid-format")
    assert (found.name, found.authors[0].name, str(found.license)) == (FACTS.name, "A. Biologist", "CC-BY-4.0")


def test_another_program_gets_the_masks_of_the_test(package: Path, tmp_path: Path) -> None:
    """As the library of the zoo runs a state dict: class, arguments, weights, test inputs, test outputs."""
    with zipfile.ZipFile(package) as file:
        file.extractall(tmp_path / "unpacked")
    weights = spec.load_model_description(package).weights.pytorch_state_dict
    assert weights is not None
    kind = getattr(importlib.import_module(weights.architecture.import_from), str(weights.architecture.callable))
    module = kind(**weights.architecture.kwargs)
    module.load_state_dict(torch.load(tmp_path / "unpacked" / "weights.pt", weights_only=True))
    tensors = {path.stem: np.load(path) for path in (tmp_path / "unpacked").glob("*.npy")}
    masks, scores = module(*(torch.from_numpy(tensors[name]) for name in ("image", "points", "point_labels")))
    np.testing.assert_array_equal(masks, tensors["masks"])
    np.testing.assert_allclose(scores, tensors["scores"], atol=1e-5)
    # the larger object comes first, and is nearly all of what is bright around its point
    overlap = (tensors["masks"][0, 0] > 0) & (TRUTH == 2)
    assert overlap.sum() > 0.8 * (TRUTH == 2).sum()


def test_a_package_is_read_back_as_it_was(package: Path) -> None:
    model = import_package(package, "again")
    assert model.path.is_file()
    assert read_metadata(model.path) == read_metadata(registry.find("tiny").path)
    old, new = load_file(registry.find("tiny").path), load_file(model.path)
    assert all(torch.equal(value.float(), new[key].float()) for key, value in old.items())
    masks = []
    for name in ("tiny", "again"):
        segmenter = load_segmenter(name, "cpu")
        masks.append(segmenter.segment(segmenter.embed(PLANE), [Prompt((Point(50, 50),))])[0][0])
    np.testing.assert_array_equal(masks[0].pixels, masks[1].pixels)
    with pytest.raises(InputError, match="already"):
        import_package(package, "again")


def test_a_package_of_others_needs_only_weights_that_fit(package: Path, tmp_path: Path) -> None:
    """Without the entry of this project, as other programs write them."""
    with zipfile.ZipFile(package) as file:
        file.extractall(tmp_path / "other")
    description = tmp_path / "other" / "rdf.yaml"
    found = spec.load_model_description(description)
    content = json.loads(json.dumps(spec.dump_description(found)))
    del content["config"]["napari_segany"]
    description.unlink()
    (tmp_path / "other" / "rdf.yaml").write_text(json.dumps(content))
    assert read_metadata(import_package(tmp_path / "other" / "rdf.yaml", "other").path) == {}


def test_what_is_no_package(tmp_path: Path, own_models: Path) -> None:
    with pytest.raises(ModelError, match="there is no package"):
        import_package(tmp_path / "nothing.zip", "x")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ModelError, match=r"text\.zip"):
        import_package(tmp_path / "text.zip", "x")
    assert not own_models.exists()


def test_nothing_is_overwritten_or_left_behind(tmp_path: Path) -> None:
    out = tmp_path / "a.zip"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export_package("tiny", out, FACTS, PLANE, TRUTH)
    assert out.read_text() == "mine"
    with pytest.raises(InputError, match="no objects"):
        export_package("tiny", tmp_path / "b.zip", FACTS, PLANE, np.zeros_like(TRUTH))
    with pytest.raises((InputError, ModelError), match="name"):
        export_package("tiny", tmp_path / "b.zip", PackageFacts("a/b?", "x"), PLANE, TRUTH)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("b")] == []
