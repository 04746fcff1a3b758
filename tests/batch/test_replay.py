import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tifffile
from napari.layers import Labels

from napari_segany import cli
from napari_segany.batch import replay as replay_module
from napari_segany.batch.replay import ReplayJob, replay_file
from napari_segany.core.errors import InputError
from napari_segany.core.planes import ChannelSettings
from napari_segany.core.segmenter import Segmenter
from napari_segany.engine.autosave import Autosave, unfinished_sessions
from napari_segany.engine.prediction import PredictionService, load_named
from napari_segany.layers.reopening import resume_session
from napari_segany.session.fingerprint import fingerprint_of
from napari_segany.session.history import Step
from napari_segany.session.session import Session
from tests.fakes import FakeSegmenter
from tests.layers.desk import Desk


@pytest.fixture(autouse=True)
def _nothing_stays_open():
    yield
    while Worked.opened:
        Worked.opened.pop().keeper.disconnect()


class Worked:
    """A session on an image file that is kept in a file."""

    opened: ClassVar[list["Worked"]] = []

    def __init__(self, folder: Path, image: np.ndarray, load: Callable[[str], Segmenter], model: str) -> None:
        self.image = folder / "image.tif"
        tifffile.imwrite(self.image, image, photometric="minisblack")
        self.session = Session()
        self.answers = PredictionService(lambda: load(model))
        self.keeper = Autosave(self.session, lambda: self.answers.name)
        self.keeper.watch(lambda: image, path=str(self.image))
        self.desk = Desk(image, session=self.session, answers=self.answers)
        self.out = folder / "labels.tif"
        self.opened.append(self)

    @property
    def path(self) -> Path:
        """The file, when all that happened is in it."""
        self.keeper.flush()
        return self.keeper.path

    def job(self, **options: object) -> ReplayJob:
        return ReplayJob(self.path, self.out, **options)


def busy(desk: Desk, places: list[tuple[float, ...]]) -> None:
    """Several clicks for an object, a stale answer, candidates, painting by hand, undo and redo, objects changed."""
    binding = desk.binding
    first, second, third, fourth = places

    def near(place: tuple[float, ...], dy: float, dx: float) -> tuple[float, ...]:
        return (*place[:-2], place[-2] + dy, place[-1] + dx)

    desk.click(*first)
    desk.click(*near(first, 2.3, 1.7))
    desk.click(*near(first, -9.1, 9.4), positive=False)
    binding.keep()
    desk.late = True
    desk.click(*second)
    stale = desk.asked[-1]
    desk.click(*near(second, 1.9, 0.1))
    assert not desk.answer(stale)
    desk.answer(desk.asked[-1])
    desk.late = False
    desk.click(*near(second, -1.3, 2.2))
    binding.keep()
    labels: Labels = binding.labels
    with labels.block_history():
        labels.paint(tuple(round(x) for x in near(first, 3, 3)), 2)
        labels.paint(tuple(round(x) for x in near(first, 3, 6)), 2)
    binding.undo()
    binding.redo()
    desk.click(*third)
    binding.planes.change_settings(ChannelSettings((0, 3000), inverted=True))
    desk.session.choose(1)
    desk.click(*near(third, 1.2, 1.2))
    binding.undo()
    binding.output.overwrite = True
    binding.keep()
    binding.undo()
    binding.undo()
    binding.redo()
    binding.redo()
    desk.click(*fourth)
    binding.keep()
    with binding.undo_stack.step(Step("delete")):
        labels.data_setitem(np.nonzero(labels.data == 1), 0)
    binding.undo()
    desk.click(*near(fourth, 5.5, 0.5))
    binding.clear_prompts()


def picture() -> tuple[np.ndarray, list[tuple[float, ...]]]:
    """Bright discs and their middles."""
    y, x = np.indices((96, 128))
    image = np.random.default_rng(0).normal(20, 4, y.shape)
    middles = [(22.0, 25.0), (60.0, 30.0), (30.0, 90.0), (70.0, 95.0)]
    for number, (cy, cx) in enumerate(middles):
        image[(y - cy) ** 2 + (x - cx) ** 2 < (9 + 2 * number) ** 2] += 60
    return image.clip(0, 255).astype(np.uint8), middles


def load_fake(name: str) -> Segmenter:
    return FakeSegmenter(radius=7, name=name)


@pytest.fixture
def worked(tmp_path) -> Worked:
    image, middles = picture()
    worked = Worked(tmp_path, image, load_fake, "fake")
    busy(worked.desk, middles)
    return worked


def test_a_replay_is_the_same_to_the_bit(worked):
    report = replay_file(worked.job(), load_fake)
    assert report.differing == 0
    assert report.objects == len(np.unique(worked.desk.labels)) - 1
    np.testing.assert_array_equal(tifffile.imread(worked.out), worked.desk.labels)


def test_a_volume_is_replayed_slice_by_slice(tmp_path):
    image, middles = picture()
    worked = Worked(tmp_path, np.stack([image] * 4), load_fake, "fake")
    worked.desk.viewer.dims.set_point(0, 2)
    busy(worked.desk, [(2.0, *place) for place in middles])
    worked.desk.viewer.dims.order = (1, 2, 0)
    worked.desk.viewer.dims.set_point(1, 50)
    worked.desk.click(1, 50, 70)
    worked.desk.binding.keep()
    assert replay_file(worked.job(), load_fake).differing == 0
    found = tifffile.imread(worked.out)
    np.testing.assert_array_equal(found, worked.desk.labels)
    assert found[0:3, 50].any()


def test_masks_are_decoded_anew_and_what_differs_is_told(worked):
    report = replay_file(worked.job(), lambda name: FakeSegmenter(radius=6, name=name))
    assert report.differing > 0
    assert (tifffile.imread(worked.out) != worked.desk.labels).sum() == report.differing


def test_a_resumed_session_is_replayed_whole(tmp_path):
    image, middles = picture()
    first = Worked(tmp_path, image, load_fake, "fake")
    busy(first.desk, middles)
    first.desk.click(48, 60)
    first.keeper._drop()
    first.keeper._image = None
    first.keeper.flush()
    second = Worked(tmp_path, image, load_fake, "fake")
    found = unfinished_sessions(fingerprint_of(image))
    second.keeper.resume(found)
    resume_session(second.desk.binding, found)
    second.desk.click(50, 60)
    second.desk.binding.keep()
    second.desk.binding.undo()
    second.desk.binding.undo()
    second.desk.binding.undo()
    second.desk.binding.redo()
    second.desk.binding.keep()
    assert replay_file(second.job(), load_fake).differing == 0
    np.testing.assert_array_equal(tifffile.imread(second.out), second.desk.labels)


def test_another_model_in_the_middle_is_replayed_with_it(tmp_path):
    image, middles = picture()
    worked = Worked(tmp_path, image, load_fake, "fake")
    loads = {"fake": load_fake, "other": lambda name: FakeSegmenter(radius=4, name=name)}
    worked.desk.click(*middles[0])
    worked.answers.use(lambda: loads["other"]("other"))
    worked.session.repeat()
    worked.desk.binding.keep()
    worked.desk.click(*middles[1])
    worked.desk.binding.keep()
    assert replay_file(worked.job(), lambda name: loads[name](name)).differing == 0


def test_other_images_and_weights_are_refused_in_one_line(worked, tmp_path, monkeypatch):
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, np.zeros((96, 128), np.uint8))
    with pytest.raises(InputError, match=r"other\.tif is not the image of this session, which is u?"):
        replay_file(worked.job(image=other), load_fake)
    monkeypatch.setattr(replay_module, "model_of", lambda name: replay_module.ModelEvent(name, "sha256:00"))
    with pytest.raises(InputError, match="weights of 'fake' are not those of the session"):
        replay_file(worked.job(), load_fake)
    assert not worked.out.exists()


def test_an_image_that_was_exchanged_meanwhile_cannot_be_replayed(worked):
    worked.desk.image.data = worked.desk.image.data + 1
    worked.desk.click(48, 60)
    worked.desk.binding.keep()
    with pytest.raises(InputError, match="image was replaced"):
        replay_file(worked.job(), load_fake)


def test_an_image_that_was_moved_is_asked_for(worked, tmp_path):
    moved = tmp_path / "moved.tif"
    worked.image.rename(moved)
    with pytest.raises(InputError, match="there is no file"):
        replay_file(worked.job(), load_fake)
    replay_file(worked.job(image=moved), load_fake)
    with pytest.raises(InputError, match="exists"):
        replay_file(worked.job(image=moved), load_fake)
    assert replay_file(worked.job(image=moved, overwrite=True), load_fake).differing == 0


def test_a_session_without_objects_says_so(tmp_path):
    worked = Worked(tmp_path, picture()[0], load_fake, "fake")
    worked.desk.click(20, 20)
    with pytest.raises(InputError, match="no object was kept"):
        replay_file(worked.job(), load_fake)


def test_the_model_that_ships_gives_the_same_labels_on_the_command_line(tmp_path, capsys):
    image, middles = picture()
    worked = Worked(tmp_path, image, load_named, "tiny")
    busy(worked.desk, middles)
    header = json.loads(worked.path.read_text().splitlines()[0])
    assert header["model"]["hash"].startswith("sha256:")
    assert cli.main(["replay", str(worked.path), "-o", str(worked.out)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "objects" in told.out
    np.testing.assert_array_equal(tifffile.imread(worked.out), worked.desk.labels)
    assert cli.main(["replay", str(worked.path), "-o", str(worked.out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["plane", "inverted", "stack"])
def test_sessions_that_were_recorded_by_version_0_1_0_have_the_same_labels(name, tmp_path):
    """Recorded with the shipped model before modules were renamed and settings moved to its weights."""
    recorded = Path(__file__).parent / "sessions"
    with np.load(recorded / f"{name}.npz") as known:
        image, labels = known["image"], known["labels"]
    tifffile.imwrite(tmp_path / "image.tif", image, photometric="minisblack")
    job = ReplayJob(recorded / f"{name}.jsonl", tmp_path / "labels.tif", tmp_path / "image.tif")
    report = replay_file(job, load_named)
    found = tifffile.imread(tmp_path / "labels.tif")
    assert report.objects == len(np.unique(labels)) - 1
    # other processors add in another order
    assert (found != labels).sum() <= 0.002 * np.count_nonzero(labels)
    assert set(np.unique(found)) == set(np.unique(labels))


def test_a_mask_that_was_chosen_by_committed_objects_is_replayed(tmp_path):
    image, middles = picture()
    worked = Worked(tmp_path, image, load_fake, "fake")
    worked.desk.click(*middles[0])
    # as the window does when the answer has arrived, without a step of the user's
    worked.desk.session.restore_choice(2)
    large = np.count_nonzero(worked.desk.session.mask.pixels)
    worked.desk.binding.keep()
    worked.desk.click(*middles[1])
    worked.desk.binding.keep()
    assert replay_file(worked.job(), load_fake).differing == 0
    assert np.count_nonzero(tifffile.imread(worked.out) == 1) == large > np.count_nonzero(worked.desk.labels == 2)
