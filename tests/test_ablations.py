"""Ablations: runs that differ in one setting, and their table."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from skimage import io

from napari_segany.core.synthetic import synthetic_image
from napari_segany.models.loading import load_weights

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ablations", ROOT / "scripts" / "ablations.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def given(tmp_path: Path) -> argparse.Namespace:
    for place in ("train/dsb2018", "dev"):
        for kind in ("images", "labels"):
            (tmp_path / place / kind).mkdir(parents=True)
        for number in range(2):
            made = synthetic_image(np.random.default_rng(number), (96, 96), kind="fluorescence", radius=12)
            io.imsave(tmp_path / place / f"images/{number}.png", made.image, check_contrast=False)
            labels = made.levels[0].astype(np.uint16)
            io.imsave(tmp_path / place / f"labels/{number}.png", labels, check_contrast=False)
    dev, out = tmp_path / "dev", tmp_path / "out"
    return argparse.Namespace(data=tmp_path / "train", dev=dev, out=out, steps=1, limit=2, per_image=2)


def row(value: str, one: list[list[float]], three: list[list[float]], seed: int = 0) -> dict[str, Any]:
    settings = {"changed": "rounds", "value": value, "seed": seed}
    return {"settings": settings, "iou": {"1": one, "3": three}, "oracle": 0.75, "step_seconds": 0.5}


def test_the_table_compares_objects_one_by_one(script: ModuleType) -> None:
    base = row("3", [[0.5, 0.7], [0.6]], [[0.8, 0.8], [0.8]])
    other = row("1", [[0.6, 0.8], [0.7]], [[0.7, 0.7], [0.7]])
    third = row("3", [[0.9, 0.9], [0.9]], [[0.9, 0.9], [0.9]], seed=1)
    lines = script.table([base, other, third]).splitlines()
    assert lines[2] == "| rounds | 3 | 0 | 0.600 |  | 0.750 | 0.800 |  | 0.50 |"
    assert lines[3] == "| rounds | 3 | 1 | 0.900 |  | 0.750 | 0.900 |  | 0.50 |", "the base of another seed"
    assert lines[4].startswith("| rounds | 1 | 0 | 0.700 | +0.100 (+0.100 to +0.100) | 0.750 | 0.700 | -0.100 (-0.100 ")


def test_a_page_gets_the_table(script: ModuleType) -> None:
    page = "# a\n\n<!-- table: ablations -->\nold\n<!-- end of table -->\n\nb\n"
    assert script.written(page, "| new |") == (
        "# a\n\n<!-- table: ablations -->\n\n| new |\n\n<!-- end of table -->\n\nb\n"
    )
    with pytest.raises(SystemExit, match="0 places"):
        script.written("# a\n", "| new |")


def test_the_page_has_a_place(script: ModuleType) -> None:
    script.written((ROOT / "docs/development/experiments.md").read_text(encoding="utf-8"), "")


def test_runs_differ_in_one_setting(script: ModuleType, tmp_path: Path) -> None:
    base, *others = (script.configured(run, tmp_path / "start", 80) for run in script.RUNS)
    assert base.task.focal_weight == 20
    assert len({run.name for run in script.RUNS}) == len(script.RUNS)
    for run, config in zip(script.RUNS[1:], others, strict=True):
        assert (config.task, config.sources, config.seed) != (base.task, base.sources, base.seed), run
        assert (config.loop, config.phases, config.start) == (base.loop, base.phases, base.start), run
    assert {number for run in script.RUNS for number in run.task.get("rounds", {})} == {1, 5, 8, 11}


def test_a_row_that_is_there_is_not_measured_again(
    script: ModuleType, given: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [script.Run("rounds", "2", {"rounds": {2: 1.0}}), script.Run("ambiguity", "one mask", {"ambiguity": False})]
    first = list(script.rows_of(runs, given))
    assert [one["images"] for one in first] == [2, 2]
    assert first[0]["n"] == 4
    begun, learned = (
        load_weights(given.out / "start.safetensors"),
        load_weights(given.out / "rounds-2-seed-0/weights.safetensors"),
    )
    # the image encoder stays, and what is learned again begins at random
    known = load_weights("tiny")
    for name, value in begun.items():
        if name.startswith("image_encoder.") and not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(learned[name].float(), value.half().float())
        assert torch.equal(value, known[name].float()) != name.startswith(script.AGAIN), name
    monkeypatch.setattr(script.train_sam, "train", lambda *_: pytest.fail("trained again"))
    assert list(script.rows_of(runs, given)) == json.loads(json.dumps(first))
    given.steps = 2
    with pytest.raises(SystemExit, match="a row of other settings"):
        list(script.rows_of(runs, given))


def test_nothing_is_measured_on_what_was_learned(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["ablations", "--data", "a", "--dev", "a/dsb2018", "--out", "b"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="measure on other images"):
        script.main()
