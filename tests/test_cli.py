"""The command line: what is asked for happens, and what cannot be is answered in one line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image

import napari_segany
from napari_segany import cli
from napari_segany.batch import data_engine
from napari_segany.engine.session_files import PROJECT
from napari_segany.io.labels import read_labels
from napari_segany.models import loading, registry
from napari_segany.models.inference_config import write_metadata
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training import fine_tune
from napari_segany.training import train_sam as training
from napari_segany.training.fine_tune_report import FineTuneReport, report_metadata
from tests.fakes import FakeSegmenter

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line within this process."""

    def run(*arguments: object) -> SimpleNamespace:
        status = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    return run


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Models load at once and are fakes; what was asked for."""
    asked: list[tuple[str, str]] = []

    def load(model: str, device: str, **options: Any) -> FakeSegmenter:
        asked.append((model, device))
        return FakeSegmenter()

    monkeypatch.setattr(loading, "load_segmenter", load)
    return asked


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny model that has learned nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    training.export(TinySam(), path)
    return path


class TestSegment:
    def test_points_and_boxes(self, run: Run, loaded: list[tuple[str, str]], image: Path) -> None:
        out = image.with_name("out.tif")
        answer = run(
            "segment", image, "-o", out, "--point", "20,20", "--point", " 20, 28,-", "--point=20,60,+",
            "--box", "50,70,55,80", "--model", "vit_b", "--device", "cpu",
        )  # fmt: skip
        assert (answer.status, answer.err) == (0, "")
        assert answer.out == f"wrote {out}: 3 of 3 objects\n"
        labels = read_labels(out)
        assert [labels[20, 15], labels[20, 27], labels[20, 60], labels[52, 75]] == [1, 0, 2, 3]
        assert loaded == [("vit_b", "cpu")]

    def test_one_object(self, run: Run, loaded: list[tuple[str, str]], image: Path) -> None:
        out = image.with_name("out.tif")
        run("segment", image, "-o", out, "--point", "20,20", "--point", "20,60", "--box", "30,0,40,9", "--one-object")
        assert [read_labels(out)[place] for place in ((20, 20), (20, 60), (35, 5))] == [1, 1, 1]

    def test_a_table_and_an_object_that_gets_nothing(
        self, run: Run, loaded: list[tuple[str, str]], image: Path
    ) -> None:
        table, out = image.with_name("clicks.csv"), image.with_name("out.zarr")
        table.write_text("y,x,label\n20,20,5\n20,20,3\n")
        answer = run("segment", image, "--output", out, "--points", table, "--point", "40,60")
        assert answer.status == 0
        assert answer.err == "napari-segany: object 3 got no pixel\n"
        assert sorted(set(read_labels(out).ravel())) == [0, 5, 6]

    def test_boxes_of_a_detector(self, run: Run, loaded: list[tuple[str, str]], image: Path) -> None:
        boxes, out = image.with_name("found.csv"), image.with_name("out.tif")
        boxes.write_text("x,y,width,height,score,class\n20,10,10,5,0.5,cell\n")
        answer = run("segment", image, "-o", out, "--boxes", boxes, "--point", "40,60")
        table = image.with_name("out_objects.csv")
        assert (answer.status, answer.err) == (0, "")
        assert answer.out == f"wrote {out}: 2 of 2 objects, listed in {table}\n"
        assert np.count_nonzero(read_labels(out) == 1) == 50
        assert ",cell,0.5," in table.read_text(encoding="utf-8")
        boxes.write_text("x,y,width,height\n99,99,10,5\n")
        answer = run("segment", image, "-o", image.with_name("two.tif"), "--boxes", boxes)
        assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert "row 1" in answer.err

    def test_weights_from_a_file(self, run: Run, weights: Path, image: Path) -> None:
        out = image.with_name("out.tif")
        answer = run("segment", image, "-o", out, "--point", "20,20", "--model", weights, "--device", "cpu")
        assert answer.status == 0
        assert read_labels(out).shape == (60, 90)

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["--point", "1"], "--point takes y,x or y,x,+ or y,x,-, got '1'"),
            (["--point", "1,2,3,4"], "there is no plane at (1, 2)"),
            (["--point", "1,2,x"], "--point takes"),
            (["--point", ""], "--point takes"),
            (["--point", "nan,2"], "finite"),
            (["--point", "1e999,2"], "finite"),
            (["--point", "-5,2"], "the point -5,2 lies outside the picture, which has 60 rows and 90 columns"),
            (["--point", "1,2,-"], "no positive one before it"),
            (["--box", "1,2,3"], "--box takes y0,x0,y1,x1, got '1,2,3'"),
            (["--box", "1,2,inf,3"], "finite"),
            (["--box", "1,2,1,3"], "no area"),
            (["--point", "1,2", "-z", "1"], "no plane 1"),
            (["--point", "1,2", "-z", "-1"], "--plane"),
            (["--points", "gone.csv"], "gone.csv"),
            (["--one-object"], "needs a positive point or a box"),
            ([], "nothing to segment"),
            (["--point", "1,2", "--model", "vit_bb"], "no model is called 'vit_bb'; did you mean"),
            (["--point", "1,2", "--model", "gone.pt"], "there is no checkpoint gone.pt"),
            (["--point", "1,2", "--device", "abacus"], "'abacus' is not a device"),
            (["--point"], "requires an argument"),
            (["--pint", "1,2"], "No such option: --pint"),
            (["--point", "1,2", "and", "more"], "extra argument"),
        ],
    )
    def test_bad_input(self, run: Run, image: Path, arguments: list[str], line: str) -> None:
        out = image.with_name("out.tif")
        refused(run("segment", image, "-o", out, *arguments), line)
        assert list(image.parent.iterdir()) == [image]

    def test_bad_files(self, run: Run, image: Path) -> None:
        folder = image.parent
        click = ("--point", "5,5")
        text = folder / "notes.png"
        text.write_text("not a picture")
        taken = folder / "taken.tif"
        taken.write_text("precious")
        refused(run("segment", folder / "gone.png", "-o", folder / "out.tif", *click), "there is no file")
        refused(run("segment", text, "-o", folder / "out.tif", *click), "cannot read")
        refused(run("segment", folder, "-o", folder / "out.tif", *click), "none of the kinds")
        refused(run("segment", image, "-o", taken, *click), "exists")
        refused(run("segment", image, "-o", folder / "out.png", *click), "labels are written to")
        refused(run("segment", image, "-o", folder / "gone" / "out.tif", *click), "there is no folder")
        refused(run("segment", image, *click), "Missing option")
        refused(run("segment"), "Missing argument")
        assert taken.read_text() == "precious"
        assert sorted(folder.iterdir()) == [image, text, taken]

    def test_a_folder_that_cannot_be_written(self, run: Run, loaded: list[tuple[str, str]], image: Path) -> None:
        if not Path("/proc/self").is_dir():
            pytest.skip("needs a folder that even root cannot write to: /proc")
        refused(run("segment", image, "-o", "/proc/self/out.tif", "--point", "5,5"), "cannot write to /proc/self")

    def test_weights_that_are_none(self, run: Run, image: Path) -> None:
        broken = image.with_name("broken.pt")
        broken.write_bytes(b"nothing")
        answer = run("segment", image, "-o", image.with_name("out.tif"), "--point", "5,5", "--model", broken)
        refused(answer, "not a complete torch checkpoint")


class TestModels:
    def test_list(self, run: Run) -> None:
        lines = run("models", "list").out.splitlines()
        assert lines[0].split() == ["model", "size", "here", "made", "for", "licence", "text", "heads"]
        assert [line.split()[0] for line in lines[1:3]] == ["tiny", "vit_b"]
        assert len({line.index(word) for line, word in zip(lines[1:3], ("microscopy", "natural"), strict=True)}) == 1

    def test_info(self, run: Run) -> None:
        answer = run("models", "info", "vit_b")
        for part in ("375 MB", "Apache-2.0", "arXiv:2304.02643", "https://dl.fbaipublicfiles.com", "vit_b.pt"):
            assert part in answer.out

    def test_check(self, run: Run, weights: Path) -> None:
        answer = run("models", "check", "tiny", "--device", "cpu")
        assert (answer.status, answer.err) == (0, "")
        rows = {line.split()[0]: line for line in answer.out.splitlines()}
        assert list(rows) == ["file:", "architecture:", "weights:", "hash:", "encoding:", "click:", "IoU:"]
        assert float(rows["IoU:"].split()[1]) > 0.9
        assert "no published model" in run("models", "check", weights, "--device", "cpu").out

    def test_a_model_of_ones_own_is_checked_too(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(registry.OWN_MODELS, str(tmp_path))
        shutil.copyfile(registry.find("tiny").path, tmp_path / "mine.safetensors")
        answer = run("models", "check", "mine", "--device", "cpu")
        assert (answer.status, answer.err) == (0, "")
        assert "architecture:" in answer.out

    def test_check_of_what_cannot_be_used(self, run: Run, tmp_path: Path) -> None:
        refused(run("models", "check", "vitb"), "did you mean vit_b")
        (tmp_path / "torn.pt").write_bytes(b"PK half")
        refused(run("models", "check", tmp_path / "torn.pt"), "not a complete torch checkpoint")

    def test_what_is_expected_is_told(self, run: Run) -> None:
        for name in ("vit_b", "vit_t", "vit_b_lm"):
            assert "IoU of 0.50 or more" in run("models", "info", name).out
        assert "expected" not in run("models", "info", "vit_l").out

    def test_info_of_no_model(self, run: Run) -> None:
        refused(run("models", "info", "vitb"), "did you mean vit_b")

    def test_no_command(self, run: Run) -> None:
        refused(run("models"), "Missing command")


class TestDataset:
    def test_there_and_back_and_what_it_is_like(self, run: Run, tmp_path: Path) -> None:
        for part in ("images", "labels"):
            (tmp_path / "set" / part).mkdir(parents=True)
            Image.fromarray(np.repeat([[0, 1]], 4, axis=0).astype(np.uint8)).save(tmp_path / "set" / part / "a.png")
        out, back, rows = tmp_path / "out", tmp_path / "back", tmp_path / "rows.json"
        answer = run("dataset", "make", tmp_path / "set", "-o", out)
        assert (answer.status, answer.out) == (0, f"wrote {out}: 1 images, 1 masks\n")
        assert run("dataset", "read", out, "-o", back).out == f"wrote {back}: 1 images, 1 objects\n"
        assert read_labels(back / "labels" / "a.tif").tolist() == [[0, 1]] * 4
        shown = run("dataset", "report", back, "--against", out).out
        assert "IoU above 0.9" in shown
        assert "centres, from the top left" in shown
        assert run("dataset", "report", out, "--json", rows).out == f"wrote {rows}: 6 rows\n"
        assert json.loads(rows.read_text())[1]["what"] == "masks per image"
        refused(run("dataset", "make", tmp_path / "set", "-o", out), "exists")
        refused(run("dataset", "report", tmp_path / "set" / "images"), "holds neither")
        refused(run("dataset", "report", out, "--json", out / "rows.json"), "would be written into")


class TestTrain:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Path, Path, torch.device]]:
        asked: list[tuple[Path, Path, Path, torch.device]] = []

        def train_sam(*given: Any) -> Path:
            asked.append(given)
            return Path(given[2]) / "weights.safetensors"

        monkeypatch.setattr(training, "train_sam", train_sam)
        return asked

    def test_train(self, run: Run, asked: list[tuple[Path, Path, Path, torch.device]], tmp_path: Path) -> None:
        config, out = tmp_path / "mine.toml", tmp_path / "runs" / "mine"
        config.touch()
        answer = run("train", "sam", config, "--data", tmp_path, "--out", out, "--device", "cpu")
        assert (answer.status, answer.out) == (0, f"wrote {out / 'weights.safetensors'}\n")
        assert asked == [(config, tmp_path, out, torch.device("cpu"))]

    def test_the_configuration_that_ships(
        self, run: Run, asked: list[tuple[Path, Path, Path, torch.device]], tmp_path: Path
    ) -> None:
        run("train", "sam", "tiny-eighth", "--data", tmp_path, "--out", tmp_path)
        assert training.read_config(asked[0][0]).loop.steps > 0

    def test_a_run_with_changes(
        self, run: Run, asked: list[tuple[Path, Path, Path, torch.device]], tmp_path: Path
    ) -> None:
        options = ("--architecture", "vit_b", "--start", "mae.safetensors", "--steps", "9")
        run("train", "sam", "paper", "--data", tmp_path, "--out", tmp_path, *options)
        assert asked[0][4:] == (training.RunChanges("vit_b", "mae.safetensors", 9),)
        assert training.read_config(asked[0][0]).task.rounds == {11: 1.0}

    def test_mae_then_sam(self, run: Run, tmp_path: Path) -> None:
        """An encoder that was pretrained without labels begins the training of a small SAM."""
        source = tmp_path / "data" / "dsb2018"
        for kind, dtype in (("images", np.uint8), ("labels", np.uint16)):
            (source / kind).mkdir(parents=True)
            for number in range(2):
                array = np.zeros((70, 80), dtype)
                array[10:40, 20 + number : 60] = 1 if kind == "labels" else 200
                Image.fromarray(array).save(source / kind / f"{number}.png")
        (source / "images" / "2_masks.png").write_bytes(b"no image, and never opened")
        sizes = "width = 32\ndepth = 2\nheads = 2\nimage_size = 64\npatch_size = 8\nout_channels = 32\n"
        loop = "[loop]\nsteps = 5\nworkers = 0\nlog_every = 1\n"
        (tmp_path / "mae.toml").write_text(
            f"[encoder]\n{sizes}{loop}[mae]\nwidth = 16\ndepth = 1\nheads = 2\ncrops = 2\n"
        )
        first = tmp_path / "first"
        answer = run("train", "mae", tmp_path / "mae.toml", "--data", tmp_path / "data", "--out", first, "--steps", "2")
        assert (answer.status, answer.out) == (0, f"wrote {first / 'weights.safetensors'}\n")
        (tmp_path / "sam.toml").write_text(
            f"[encoder]\n{sizes}{loop}[sources]\ndsb2018 = 1\n[[phases]]\ncrops = 1\nmasks = 2\n"
        )
        options = ("--architecture", "vit_b", "--start", first / "weights.safetensors", "--steps", "1")
        out = tmp_path / "second"
        answer = run("train", "sam", tmp_path / "sam.toml", "--data", tmp_path / "data", "--out", out, *options)
        assert answer.status == 0, answer.err
        assert loading.load_segmenter(out / "weights.safetensors").model.image_size == 64

    def test_mae_bad_input(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "labels").mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "labels" / "a.png")
        out = tmp_path.parent / f"{tmp_path.name} out"
        refused(run("train", "mae", "--data", tmp_path, "--out", out), "holds no image, but for labels")
        refused(run("train", "mae", "--data", tmp_path, "--out", tmp_path / "out"), "lies in the training source")
        refused(run("train", "mae", "--data", tmp_path / "gone", "--out", out), "there is no folder")
        refused(run("train", "mae", "--data", tmp_path, "--out", out, "--architecture", "vit_t"), "'vit_t'")

    def test_bad_input(self, run: Run, tmp_path: Path) -> None:
        out = tmp_path / "out"
        config = tmp_path / "mine.toml"
        config.write_text("[sources]\nmoon = 1\n")
        refused(run("train", "sam", "gone.toml", "--data", tmp_path, "--out", out), "cannot read the training config")
        refused(run("train", "sam", config, "--data", tmp_path / "gone", "--out", out), "there is no folder")
        refused(run("train", "sam", config, "--data", tmp_path, "--out", config / "out"), "cannot write to the folder")
        refused(run("train", "sam", config, "--out", out), "Missing option '--data'")


class TestDemo:
    def test_demo(self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        asked = []

        def run_demo(headless: bool, out: Path | None) -> str:
            asked.append((headless, out))
            return "shown"

        monkeypatch.setitem(sys.modules, "napari_segany.demo", SimpleNamespace(run_demo=run_demo))
        assert run("demo").out == "shown\n"
        assert run("demo", "--headless", "--out", tmp_path).status == 0
        assert asked == [(False, None), (True, tmp_path)]


def test_version_and_help(run: Run) -> None:
    assert run("--version").out == f"napari-segany {napari_segany.__version__}\n"
    for arguments in ((), ("--help",)):
        answer = run(*arguments)
        assert answer.status == 0
        assert all(name in answer.out for name in ("demo", "segment", "models", "bench", "train"))


def test_commands_that_do_not_exist(run: Run) -> None:
    refused(run("segmnt"), "segmnt")
    refused(run("bench", "speech"), "speech")


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_sam", interrupt)
    assert run("train", "sam", "tiny-eighth", "--data", tmp_path, "--out", tmp_path).status == 130


def test_as_a_process(image: Path) -> None:
    out = image.with_name("out.tif")
    command = [sys.executable, "-m", "napari_segany", "segment", str(image), "-o", str(out), "--point", "500,5"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("napari-segany: the point 500,5 lies outside")
    assert found.stderr.count("\n") == 1


def refused(answer: SimpleNamespace, line: str) -> None:
    """Exit status 2 and one line that says why."""
    assert (answer.status, answer.out) == (2, "")
    assert line in answer.err
    assert answer.err.startswith("napari-segany: ")
    assert answer.err.endswith("\n")
    assert answer.err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_run_that_is_ended_leaves_nothing(tmp_path: Path, name: str) -> None:
    y, x = np.indices((96, 128))
    plane = (1000 * ((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 < 80)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([plane] * 400), photometric="minisblack")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "napari_segany",
        "segment",
        str(tmp_path / "a.tif"),
        "-o",
        str(out),
        "--everything",
    ]
    number = getattr(signal, name)
    # under nohup the tests themselves ignore SIGHUP, which a child inherits
    run = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    try:
        while not list(out.glob(".segany.*/labels")):
            with suppress(subprocess.TimeoutExpired):
                run.wait(timeout=0.02)
                break
        run.send_signal(number)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 128 + number
    assert "Traceback" not in err
    assert [path.name for path in out.iterdir()] == ["everything.json"]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437"])
def test_names_that_the_console_cannot_show(image: Path, encoding: str) -> None:
    env = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "0"}
    for out, status in (("細胞.tif", 0), ("細胞.nothing", 2)):
        words = ["segment", str(image), "-o", str(image.with_name(out)), "--point", "30,30"]
        script = "import sys; from tests.test_cli import fake_main; sys.exit(fake_main(sys.argv[1:]))"
        found = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, env=env, check=False)
        assert found.returncode == status, found.stderr
        assert b"Traceback" not in found.stderr
        assert (found.stdout if status == 0 else found.stderr).count(b"\n") == 1


def fake_main(words: list[str]) -> int:
    """The command line with a fake model, in a process of its own."""
    loading.load_segmenter = lambda *_, **__: FakeSegmenter()
    return cli.main(words)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--everything", "--grid", "9" * 20), "--grid"),
        (("--everything", "--grid", "1025"), "--grid"),
        (("--everything", "--grid", "0"), "--grid"),
        (("--point", "1e999,5"), "finite"),
        (("--point", "nan,5"), "finite"),
        (("--plane", "9" * 30, "--point", "5,5"), "plane"),
        (("--points", "x" * 300), "too long"),
        (("--point", "5,5", "--model", "x" * 300 + ".pt"), "no checkpoint"),
        (("--point", "5,5", "--model", "~nobody-at-all/a.pt"), "no checkpoint"),
    ],
)
def test_ridiculous_values_are_one_line(run: Run, image: Path, arguments: tuple[str, ...], line: str) -> None:
    out = "out" if "--everything" in arguments else "out.tif"
    refused(run("segment", image, "-o", image.with_name(out), *arguments), line)


@pytest.mark.usefixtures("loaded")
def test_paths_that_are_too_long_are_one_line(run: Run, image: Path) -> None:
    for source, out in (
        (image.with_name("x" * 300 + ".tif"), "o.tif"),
        (image, "x" * 300 + ".tif"),
        (image, "x" * 5000),
    ):
        refused(run("segment", source, "-o", image.with_name(out), "--point", "5,5"), "")
    refused(run("replay", image.with_name("x" * 300), "-o", image.with_name("o.tif")), "")
    refused(run("bench", "clicks", "--data", image.with_name("x" * 300)), "")


def test_embeddings_never_go_into_the_image(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(40, 50), dtype="u1")
    monkeypatch.setenv("SEGANY_EMBEDDINGS", str(tmp_path / "a.zarr" / "cache"))
    refused(run("embed", tmp_path / "a.zarr"), "written into")


class TestEngine:
    """Rounds of the data engine; a stand-in is trained."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Two images, of which the second one is said to have been annotated."""
        monkeypatch.setenv(registry.OWN_MODELS, str(tmp_path / "models"))
        images = tmp_path / "images"
        images.mkdir()
        for name in "ab":
            Image.fromarray(np.zeros((64, 64), np.uint8)).save(images / f"{name}.png")
        labels = np.zeros((64, 64), np.int32)
        for label in range(1, 7):
            labels[10 * label - 8 : 10 * label - 1, 5:25] = label
        planes = [("b", np.zeros((64, 64, 3), np.uint8), labels)]
        monkeypatch.setattr(data_engine, "session_images", lambda _: {images / "b.png": planes} if planes else {})
        self.planes = planes
        return images

    @staticmethod
    def train(monkeypatch: pytest.MonkeyPatch, alpha: float) -> list[Path]:
        """Have fine-tuning give the shipped model with a report; returns where the models were to be written."""
        trained: list[Path] = []

        def give(samples: dict[str, Any], out: Path, config: Any) -> Iterator[Any]:
            trained.append(out)
            scores = (0.5, 0.5 + alpha / 4, 0.1, 0.3, alpha, 0.6, 0.6, 9, 1.0)
            made = FineTuneReport("tiny", "", "", 4, 2, 1, *scores)
            if alpha:
                out.parent.mkdir(exist_ok=True)
                shutil.copy(registry.find("tiny").path, out)
                write_metadata(out, report_metadata(made, []))
            yield fine_tune.FineTuneProgress("done", 1, 1, report=made)

        monkeypatch.setattr(fine_tune, "fine_tune", give)
        monkeypatch.setattr(loading, "load_segmenter", lambda model: FakeSegmenter(radius=4))
        return trained

    def test_a_round(self, run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        trained = self.train(monkeypatch, alpha=1.0)
        answer = run("engine", folder, "-o", tmp_path / "out", "--name", "plate")
        assert answer.status == 0
        assert "1 of 2 images were annotated" in answer.out
        assert "least certain: a.png" in answer.out
        assert [path.name for path in trained] == ["plate-1.safetensors"]
        results = {path.name for path in (tmp_path / "out" / "plate-1").iterdir()}
        assert results == {"a_labels.tif", "a_masks.json", "a_objects.csv", "everything.json", "review.csv"}
        again = run("engine", folder, "-o", tmp_path / "out", "--name", "plate")
        assert "nothing was added since the last round; plate-1 is used again" in again.out
        assert len(trained) == 1
        self.planes.append(("b2", *self.planes[0][1:]))
        run("engine", folder, "-o", tmp_path / "out", "--name", "plate")
        assert [path.name for path in trained] == ["plate-1.safetensors", "plate-2.safetensors"]

    def test_a_model_that_is_no_better_is_not_used(
        self, run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trained = self.train(monkeypatch, alpha=0.0)
        answer = run("engine", folder, "-o", tmp_path / "out")
        assert "segmented 1 images with tiny" in answer.out
        assert "tiny is used again" in run("engine", folder, "-o", tmp_path / "out").out
        assert len(trained) == 1
        assert (tmp_path / "out" / "tiny" / "a_labels.tif").is_file()

    def test_bad_input_is_one_line(self, run: Run, folder: Path, tmp_path: Path) -> None:
        refused(run("engine", tmp_path / "gone", "-o", tmp_path / "out"), "is no folder of images")
        self.planes.clear()
        refused(run("engine", folder, "-o", tmp_path / "out"), "has been annotated yet")
        assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("loaded")
def test_a_run_over_the_images_of_a_list(run: Run, tmp_path: Path) -> None:
    plate, names, out = tmp_path / "plate", tmp_path / "names.txt", tmp_path / "out"
    plate.mkdir()
    for number, name in enumerate("abc"):
        tifffile.imwrite(plate / f"{name}.tif", np.full((60, 80), number, np.uint8))
    names.write_text("a.tif\n\n c.tif \n")
    words = ("segment", plate, "-o", out, "--everything", "--grid", "2", "--only")
    answer = run(*words, names)
    assert answer.status == 0, answer.err
    assert "2 images" in answer.out
    assert sorted(path.name for path in out.glob("*_labels.tif")) == ["a_labels.tif", "c_labels.tif"]
    names.write_text("d.tif\n")
    refused(run(*words, names), "no image d.tif")
    names.write_text("\n")
    refused(run(*words, names), "names no image")
    refused(run(*words, tmp_path / "missing.txt"), "cannot read the list")
    refused(run("segment", plate / "a.tif", "-o", out, "--everything", "--only", names), "folder of images")
    refused(run("segment", plate / "a.tif", "-o", "o.tif", "--point", "5,5", "--only", names), "belong to --everything")


def test_open_takes_folders_of_images_alone(run: Run, tmp_path: Path) -> None:
    refused(run("open", tmp_path / "missing"), "there is no image or folder")
    refused(run("open", tmp_path), "there is no image in the folder")


def test_open_shows_a_project(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9), np.uint8))
    opened: list[str] = []
    project = SimpleNamespace(open_folder=opened.append)
    monkeypatch.setattr("napari.Viewer", lambda: None)
    monkeypatch.setattr("napari.run", lambda: None)
    monkeypatch.setattr("napari_segany.widgets.commands.docked", lambda _: SimpleNamespace(project=project))
    for path in (tmp_path, tmp_path / PROJECT):
        assert run("open", path).status == 0
    assert opened == [str(tmp_path)] * 2
