"""Text heads that were added: found by name, and used by the models that they were trained for."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from napari_segany.cli import main
from napari_segany.core.errors import InputError, ModelError
from napari_segany.models import registry
from napari_segany.models.loading import load_segmenter
from napari_segany.models.text.own_heads import add_head, find_head, own_heads
from napari_segany.models.text.text_prompter import text_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(registry.OWN_MODELS, str(tmp_path / "models"))
    return tmp_path / "models"


def head_for(model: str, path: Path) -> Path:
    """The head of the package, as if it had been trained for another model."""
    with safe_open(text_file(), "pt") as file:
        about = file.metadata()["text"]
    metadata = {"text": about[:-1] + f', "model": "{model}"}}'}
    safetensors.torch.save_file(safetensors.torch.load_file(text_file()), path, metadata)
    return path


def test_a_head_is_found_by_name_and_belongs_to_its_model(tmp_path: Path) -> None:
    added = add_head(head_for("mine", tmp_path / "run.safetensors"), "words")
    assert own_heads() == own_heads("mine") == {"words": added}
    assert own_heads("tiny") == {}
    assert find_head("words") == added
    assert find_head(tmp_path / "run.safetensors") == tmp_path / "run.safetensors"
    assert find_head(str(tmp_path / "run.safetensors")) == tmp_path / "run.safetensors"
    with pytest.raises(ModelError, match="did you mean words"):
        find_head("word")
    with pytest.raises(InputError, match="already"):
        add_head(added, "words")
    with pytest.raises(InputError, match="no name"):
        add_head(added, "../words")


def test_what_is_no_head_is_not_added(folder: Path) -> None:
    with pytest.raises(ModelError, match="no text prompts"):
        add_head(registry.find("tiny").path, "words")
    assert not folder.exists()


def test_a_model_without_texts_takes_the_head_that_was_added_for_it(folder: Path, tmp_path: Path) -> None:
    """Its encoder is far from that of the package, so it has no texts of its own."""
    folder.mkdir()
    state = safetensors.torch.load_file(registry.find("tiny").path)
    torch.manual_seed(0)
    changed = {name: value + 0.2 * value.float().std() * torch.randn(value.shape) for name, value in state.items()
               if value.is_floating_point() and value.ndim > 1}  # fmt: skip
    safetensors.torch.save_file(
        state | {name: value.half() for name, value in changed.items()}, folder / "mine.safetensors"
    )
    assert not load_segmenter("mine", "cpu").capabilities.texts
    add_head(head_for("mine", tmp_path / "run.safetensors"), "words")
    assert load_segmenter("mine", "cpu").capabilities.texts
    assert load_segmenter("tiny", "cpu", text="words").capabilities.texts


def test_the_command_line_lists_and_adds_heads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = head_for("vit_b", tmp_path / "run.safetensors")
    assert main(["models", "import", str(source), "--name", "words"]) == 0
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "text heads" in lines[1]
    (row,) = (line for line in lines if line.startswith("vit_b "))
    assert row.rstrip().endswith("words")
