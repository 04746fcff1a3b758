"""Rows of numbers from a folder of labelled images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_segany import cli
from napari_segany.cli.bench import _show
from napari_segany.cli.shared import ShownProgress
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.experiments import benchmark, scores
from napari_segany.experiments.benchmark import BenchConfig, check_rows, rows_of
from napari_segany.experiments.scores import Scores
from napari_segany.models import loading
from tests.fakes import FakeSegmenter

COLUMNS = {"bench", "set", "model", "device", "commit", "miou", "oracle", "miou_per_image", "n"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images of 1, 2 and no discs of radius 10, bright on dark."""
    folder = tmp_path / "discs"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    rows, columns = np.indices((60, 90))
    for name, centres in {"a": [20], "b": [20, 60], "c": []}.items():
        labels = np.zeros((60, 90), np.uint8)
        for number, x in enumerate(centres, start=1):
            labels[(rows - 30) ** 2 + (columns - x) ** 2 <= 100] = number
        Image.fromarray(np.where(labels > 0, 200, 30).astype(np.uint8)).save(folder / "images" / f"{name}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{name}.png")
    return folder


def test_clicks_beside_the_baselines(data: Path) -> None:
    done: list[int] = []
    rows = rows_of(BenchConfig("clicks", data), FakeSegmenter, done.append)
    assert [row["model"] for row in rows] == ["fake", "otsu", "otsu watershed"]
    assert done == [1, 2, 3]
    for row in rows:
        assert row.keys() >= COLUMNS
        assert (row["bench"], row["set"], row["device"], row["n"], row["images"]) == ("clicks", "discs", "cpu", 3, 2)
        assert row["miou_low"] <= row["miou"] <= row["miou_high"]
        assert row["seconds"] >= 0
    assert (rows[0]["miou"], rows[0]["oracle"]) == (1, 1)
    assert all(row["miou"] > 0.85 for row in rows)


def test_the_mean_is_over_masks_and_over_images(data: Path) -> None:
    class Wrong(FakeSegmenter):
        """Answers nothing on the first image."""

        def segment(self, *given, **options):  # type: ignore[no-untyped-def]
            self.radius = 10 if self.asked else 0
            return super().segment(*given, **options)

    (row, *_) = rows_of(BenchConfig("clicks", data), Wrong)
    assert row["miou"] == pytest.approx(2 / 3, abs=0.01)
    assert row["miou_per_image"] == pytest.approx(1 / 2, abs=0.01)


def test_boxes_stand_alone(data: Path) -> None:
    (row,) = rows_of(BenchConfig("boxes", data, limit=1), FakeSegmenter)
    assert (row["bench"], row["n"], row["images"]) == ("boxes", 1, 1)
    assert row["miou"] == row["oracle"] == pytest.approx(317 / 441)


def test_rounds(data: Path) -> None:
    row, *others = rows_of(BenchConfig("clicks", data, rounds=3), lambda: FakeSegmenter(radius=6))
    assert row["miou"] == row["miou_1"]
    assert row["miou_3"] > row["miou_2"] > row["miou_1"]
    assert row["gain_low_2"] > 0
    assert row["noc90"] == 3
    assert {"gain_low_3", "noc85"} <= row.keys()
    assert not any("miou_2" in other for other in others)


def test_groups(data: Path) -> None:
    whole, dark, size, *_ = rows_of(BenchConfig("boxes", data, by_group=True), FakeSegmenter)
    assert "group" not in whole
    assert (dark["group"], size["group"]) == ("gray on dark", "200 to 399 px")
    assert whole["n"] == dark["n"] == size["n"] == 3


def test_some_objects_of_each_image(data: Path) -> None:
    (row,) = rows_of(BenchConfig("boxes", data, per_image=1), FakeSegmenter)
    assert (row["n"], row["images"]) == (2, 2)


def test_other_prompts(data: Path) -> None:
    rows = {row["prompt"]: row for row in rows_of(BenchConfig("prompts", data), FakeSegmenter)}
    assert rows.keys() == {"box and click", "rough mask", "scribble"}
    # the fake answers a mask with the mask itself, and a scribble with discs all along it
    assert 0.5 < rows["rough mask"]["miou_1"] < 1
    assert rows["rough mask"]["miou_2"] == rows["rough mask"]["miou_1"]
    assert 0.3 < rows["scribble"]["miou"] < 0.8


def test_other_sizes(data: Path) -> None:
    rows = rows_of(BenchConfig("sizes", data, limit=1), FakeSegmenter)
    found = {(row["variant"], row["prompt"]): row for row in rows}
    assert len(found) == 16
    assert found["as it is", "box"]["drop"] == 0
    for variant in ("cropped", "padded to 1024", "tiled to 4096", "twice the magnification"):
        assert abs(found[variant, "box"]["drop"]) < 0.05, variant
    # discs of a fixed radius are wrong at another magnification, and the row says so
    assert found["half the magnification", "click"]["drop"] > 0.5


def test_what_is_not_there(data: Path) -> None:
    class Honest(FakeSegmenter):
        """Scores by what lies under the prompt."""

        def segment(self, embedding, prompts, *, candidates=None, at_least=0.0):  # type: ignore[no-untyped-def]
            answers = super().segment(embedding, prompts, candidates=candidates)
            plane = embedding.features["plane"]

            def bright(prompt: Prompt) -> bool:
                box = prompt.box
                y, x = (prompt.points[0].y, prompt.points[0].x) if box is None else (box.y0 + box.y1, box.x0 + box.x1)
                half = 1 if box is None else 2
                return bool(plane[int(y / half), int(x / half), 0] > 100)

            return [
                [Mask(m.pixels, 0.9 if bright(prompt) else 0.1, m.logits) for m in masks]
                for prompt, masks in zip(prompts, answers, strict=True)
            ]

    for row in rows_of(BenchConfig("empty", data), Honest):
        assert (row["auroc"], row["n"], row["n_empty"]) == (1, 3, 3)
        assert row["score_object"] > row["score_empty"]
    for row in rows_of(BenchConfig("empty", data), FakeSegmenter):
        assert row["auroc"] == 0.5


def test_gains_are_paired_and_drawn_by_image() -> None:
    base = np.array([0.1, 0.9])
    chosen = [np.stack([base, base + 0.05], axis=1) for _ in range(3)]
    figures = scores.figures([Scores(one, one[:, 0], 0.0) for one in chosen])
    assert figures["gain_low_2"] == pytest.approx(0.05)
    assert (figures["noc85"], figures["noc90"]) == (1.5, 1.5)


def test_sets_that_cannot_be_measured(data: Path, tmp_path: Path) -> None:
    def load() -> FakeSegmenter:
        raise AssertionError("the model was loaded")

    with pytest.raises(InputError, match="there is no folder"):
        rows_of(BenchConfig("clicks", tmp_path / "gone"), load)
    for name in "ab":
        (data / "labels" / f"{name}.png").unlink()
    with pytest.raises(InputError, match="no object that is large enough"):
        rows_of(BenchConfig("clicks", data), FakeSegmenter)


def test_the_commit() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|[0-9.]+\S*|unknown", benchmark.commit())


class TestCommand:
    @pytest.fixture(autouse=True)
    def _fake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(model: str, *_: object, **__: object) -> FakeSegmenter:
            if model != "fake":
                raise ModelError(f"no model is called {model!r}")
            return FakeSegmenter()

        monkeypatch.setattr(loading, "load_segmenter", load)

    def test_json(self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "rows.json"
        arguments = ["bench", "clicks", "--model", "fake", "--data", str(data), "--json", str(out), "--rounds", "2"]
        assert cli.main(arguments) == 0
        assert capsys.readouterr().out == f"wrote {out}: 3 rows\n"
        rows = json.loads(out.read_text())
        assert rows[0].keys() >= COLUMNS | {"miou_1", "miou_2", "noc85", "noc90"}

    def test_table(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["bench", "boxes", "--model", "fake", "--data", str(data), "--limit", "1"]) == 0
        head, row = capsys.readouterr().out.splitlines()
        assert head.split()[:3] == ["bench", "set", "model"]
        assert row.split()[:3] == ["boxes", "discs", "fake"]
        assert "0.7188" in row

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["--data", "gone"], "there is no folder gone"),
            ([], "Missing option '--data'"),
            (["--data", "DATA", "--json", "gone/rows.json"], "there is no folder gone"),
            (["--data", "DATA", "--json", "DATA"], "cannot write"),
            (["--data", "DATA", "--limit", "0"], "--limit"),
            (["--data", "DATA", "--rounds", "none"], "--rounds"),
            (["--data", "DATA", "--model", "nobody"], "no model is called 'nobody'"),
        ],
    )
    def test_bad_input(self, data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
        given = [str(data) if word == "DATA" else word for word in arguments]
        assert cli.main(["bench", "clicks", "--model", "fake", *given]) == 2
        err = capsys.readouterr().err
        assert line in err
        assert err.count("\n") == 1


def test_the_baselines_of_the_public_nuclei(data_dir: Path) -> None:
    """The figures that a model's are read against: 0.553 and 0.614 over masks, 0.637 and 0.671 over images."""
    rows = rows_of(BenchConfig("clicks", data_dir / "dev" / "dsb2018"), _Silent)
    expected = {"otsu": (0.553, 0.637), "otsu watershed": (0.614, 0.671)}
    for row in rows[1:]:
        assert (row["miou"], row["miou_per_image"]) == pytest.approx(expected[row["model"]], abs=0.008)
        assert row["n"] == 3297


class _Silent(FakeSegmenter):
    """Answers every prompt with the same empty mask, at no cost."""

    def segment(self, embedding, prompts, *, candidates=None, at_least=0.0):  # type: ignore[no-untyped-def]
        mask = self._mask((1, 1), prompts[0], 0, 0.5)
        empty = type(mask)(np.zeros(embedding.shape, bool), 0.0, mask.logits)
        return [[empty] * (candidates or 1) for _ in prompts]


class TestRowsAsTheyCome:
    def test_each_is_in_the_file_before_the_next_is_measured(self, tmp_path: Path) -> None:
        out = tmp_path / "rows.json"
        seen: list[list[dict]] = []

        def measure() -> Iterator[dict]:
            for number in range(3):
                seen.append(json.loads(out.read_text()) if out.exists() else [])
                yield {"bench": "x", "n": number}
            raise InputError("stopped")

        with pytest.raises(InputError, match="stopped"):
            _show(out, measure)
        assert [len(rows) for rows in seen] == [0, 1, 2]
        assert [row["n"] for row in json.loads(out.read_text())] == [0, 1, 2]
        assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]

    @pytest.mark.parametrize("content", ['{"a": 1}', "[1]", "[{}]", "mine", '[{"file_name": "a"}]'])
    def test_a_file_of_somebody_else_is_not_replaced(self, tmp_path: Path, content: str) -> None:
        out = tmp_path / "rows.json"
        out.write_text(content)
        with pytest.raises(InputError, match="no rows of a bench"):
            _show(out, lambda: pytest.fail("nothing is measured"))
        assert out.read_text() == content

    def test_rows_and_inputs(self, tmp_path: Path) -> None:
        out, mine = tmp_path / "rows.json", tmp_path / "mine.pt"
        for content in ("", "[]", '[{"bench": "x"}]', '[{"what": "click"}]'):
            out.write_text(content)
            check_rows(out)
        mine.write_bytes(b"")
        out.unlink()
        out.hardlink_to(mine)
        with pytest.raises(InputError, match="would replace"):
            check_rows(out, [mine])

    def test_progress_is_told_now_and_then(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [0.0]
        monkeypatch.setattr("napari_segany.cli.shared.time.monotonic", lambda: now[0])
        told = ShownProgress()
        for done in range(1, 31):
            now[0] = float(done)
            told(done)
        assert capsys.readouterr().err.splitlines() == ["10 images", "20 images", "30 images"]
