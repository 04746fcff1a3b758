from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.core.synthetic import synthetic_image
from napari_segany.core.terms import TERMS
from napari_segany.core.text_query import Vocabulary
from napari_segany.models.inference_config import tiny_inference_config
from napari_segany.models.loading import load_model
from napari_segany.models.text.clip import Clip, build_towers, load_clip, short_tokenizer
from napari_segany.models.text.prompt_head import TextPromptHead
from napari_segany.models.text.text_prompter import load_text_prompter
from napari_segany.models.tiny.tiny_sam import STRIDE, TinySam
from napari_segany.training import scenes, text_views, towers, train_text
from napari_segany.training.corrective_clicks import add_corrective_click
from napari_segany.training.named_images import (
    ATTRIBUTE_NAMES,
    BACKGROUND,
    MODALITY_NAMES,
    NAMES,
    SOURCES,
    NamedImage,
    load_named,
    packed,
)
from napari_segany.training.text_bank import TextBank, make_bank
from napari_segany.training.text_head import BOTH, CLICK, TEXT, HeadConfig, HeadTask, TextSampler

SMALL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 1024, "width": 32, "heads": 2, "layers": 1},
    "init_logit_scale": 2.7,
    "init_logit_bias": -3.0,
}


def picture(seed: int, kind: str = "fluorescence", name: str = "nucleus") -> NamedImage:
    made = synthetic_image(np.random.default_rng(seed), (96, 96), kind=kind, radius=12)
    names = {int(label): name for label in np.unique(made.levels[0]) if label}
    return NamedImage(made.image, made.levels[:1], (names,), frozenset({"cell"} - {name}), kind)


@pytest.fixture(scope="module")
def pictures() -> list[NamedImage]:
    return [picture(0), picture(1), picture(2, "phase contrast", "cell")]


@pytest.fixture(scope="module")
def clip() -> Clip:
    torch.manual_seed(0)
    return Clip(build_towers(SMALL), short_tokenizer(1024, 20), "small", vocabulary=Vocabulary(TERMS))


@pytest.fixture(scope="module")
def sam() -> TinySam:
    model = load_model("tiny").float().eval()
    assert isinstance(model, TinySam)
    return model


@pytest.fixture(scope="module")
def views(tmp_path_factory, sam, pictures) -> list[Path]:
    folder = tmp_path_factory.mktemp("views")
    return list(text_views.make_views(sam, {"made": pictures}, {"made": (3, 3)}, folder, (1, 32)))


@pytest.fixture(scope="module")
def bank(clip, views) -> TextBank:
    return make_bank(clip, views, views[0].parent / "vectors.npz")


class TestNamed:
    def test_what_is_there_and_what_cannot_be_told(self, pictures):
        assert pictures[0].present == ("nucleus",)
        np.testing.assert_array_equal(pictures[0].union("nucleus"), pictures[0].levels[0] > 0)
        assert not pictures[0].union("person").any()

    def test_crops_are_of_the_objects(self, pictures):
        crops = packed(pictures, seed=0, most=5, empty=1)
        nucleus, cell, person = (NAMES.index(name) for name in ("nucleus", "cell", "person"))
        assert crops.names[:, nucleus].sum() <= 10
        assert crops.names[:, cell].any()
        assert not crops.names[:, person].any()
        assert crops.decided[:, person].all()
        assert not crops.decided[crops.names[:, nucleus], cell].any()
        middle = crops.pixels.shape[1] // 2
        named = crops.names.any(1) & ~crops.names[:, NAMES.index(BACKGROUND)]
        assert (crops.pixels[named, middle - 8 : middle + 8, middle - 8 : middle + 8, 3].max((1, 2)) == 255).all()

    def test_a_parent_is_true_of_its_children(self):
        crops = packed([picture(0, name="dog")], seed=0, most=3, empty=0)
        assert crops.names[:, NAMES.index("animal")].all()

    def test_synthetic_pictures_have_names(self):
        made = load_named(Path(), ["synthetic"], count=12, seed=1)["synthetic"]
        assert {name for one in made for name in one.present} >= {"nucleus", "cell"}
        assert all(not set(one.present) & one.undecided for one in made)

    def test_a_users_own_folder(self, tmp_path, pictures):
        for kind in ("images", "labels"):
            (tmp_path / "own" / kind).mkdir(parents=True)
        io.imsave(tmp_path / "own/images/a.png", pictures[0].image, check_contrast=False)
        io.imsave(tmp_path / "own/labels/a.png", pictures[0].levels[0].astype(np.uint16), check_contrast=False)
        with pytest.raises(InputError, match=r"names\.csv"):
            load_named(tmp_path, ["own"], count=0, seed=0)
        rows = "\n".join(f"a,{label},Organoid" for label in pictures[0].names[0])
        (tmp_path / "own/names.csv").write_text(f"image,label,name\n{rows}\n")
        assert load_named(tmp_path, ["own"], count=0, seed=0)["own"][0].present == ("organoid",)
        with pytest.raises(InputError, match="is not in"):
            load_named(tmp_path, ["other"], count=0, seed=0)


class TestTowers:
    def test_captions_are_true_of_what_they_were_made_for(self, pictures):
        crops = packed(pictures, seed=0, most=8, empty=1)
        config = towers.TowersConfig(captions=40)
        chosen = np.arange(len(crops))
        said, truth = towers.captions(crops, chosen, np.random.default_rng(0), config)
        assert len(said) == 40
        assert truth.shape == (len(crops), 40)
        assert (truth == 1).any(0).all()
        plain = [k for k, one in enumerate(said) if one in ("nucleus", "nuclei", "a nucleus")]
        for k in plain:
            np.testing.assert_array_equal(truth[:, k] == 1, crops.names[:, NAMES.index("nucleus")])
        assert len(ATTRIBUTE_NAMES) == crops.attributes.shape[1]

    def test_views_keep_the_object_in_sight(self, pictures):
        crops = packed(pictures, seed=0, most=8, empty=0)
        seen = towers.views(torch.from_numpy(crops.pixels), torch.Generator().manual_seed(0), 32)
        assert seen.shape == (len(crops), 4, 32, 32)
        assert (seen[:, 3].amax((1, 2)) > 200).all()
        # sampling between pixels rounds in the last bit
        assert 0 <= float(seen.min()) <= float(seen.max()) <= 255 * (1 + 1e-6)

    def test_two_steps_lower_the_loss(self, pictures, monkeypatch):
        monkeypatch.setattr(towers, "TINY", SMALL)
        crops = packed(pictures, seed=0, most=8, empty=1)
        torch.manual_seed(0)
        task = towers.TowersTask(build_towers(SMALL))
        config = towers.TowersConfig(crops=24, captions=12)
        shares = np.full(len(crops), 1 / len(crops))
        batch = next(towers.batches(crops, shares, short_tokenizer(1024, 20), config, (0, 0)))
        optimizer = torch.optim.AdamW(task.model.parameters(), 1e-3)
        losses = []
        for step in range(3):
            loss = task.training_forward(batch, step)["loss"]
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[2] < losses[1] < losses[0]

    def test_a_run_resumes_and_open_clip_reads_what_it_wrote(self, tmp_path, monkeypatch):
        monkeypatch.setattr(train_text, "TINY", SMALL)
        monkeypatch.setattr(towers, "TINY", SMALL)
        config = tmp_path / "towers.toml"
        table = 'trains = "towers"\nsynthetic = 3\n[sources]\nsynthetic = 1.0\n[task]\ncrops = 8\ncaptions = 6\n'
        for steps in (1, 2):
            config.write_text(f"{table}[loop]\nsteps = {steps}\nsave_every = 1\nlog_every = 1\nworkers = 0\n")
            folder = train_text.train_text(config, tmp_path, tmp_path / "out", torch.device("cpu"))
        assert [json.loads(line)["step"] for line in (tmp_path / "out/log.jsonl").read_text().splitlines()] == [1, 2]
        assert load_clip(str(folder)).text_vectors(["anything"]).shape == (1, 32)


class TestViews:
    def test_a_view_comes_back_as_it_was(self, views):
        view = text_views.load_view(views[0])
        text_views.save_view(views[0], view)
        again = text_views.load_view(views[0])
        for name, value in view.features.items():
            np.testing.assert_array_equal(again.features[name], value)
        assert again.names == view.names
        assert again.present == view.present

    def test_whole_and_close(self, views, sam):
        whole, close = (text_views.load_view(next(p for p in views if f"-{k}-" in p.stem)) for k in ("whole", "close"))
        assert whole.features["image_embed"].shape == (128, 64, 64)
        assert whole.levels.shape[1:] == sam.mask_size
        side = tiny_inference_config().zoom.window
        assert close.features["image_embed"].shape == (128, side // STRIDE, side // STRIDE)
        assert close.close
        assert not whole.close
        assert BACKGROUND in whole.present
        assert (whole.union(BACKGROUND) ^ whole.union(whole.present[-1])).any()

    def test_nothing_is_made_twice(self, views, sam, pictures, monkeypatch):
        monkeypatch.setattr(text_views, "view_of", lambda *_, **__: pytest.fail("it was there"))
        again = list(text_views.make_views(sam, {"made": pictures}, {"made": (3, 3)}, views[0].parent, (1, 32)))
        assert again == views


def task_of(sam: TinySam, bank: TextBank, config: HeadConfig) -> HeadTask:
    torch.manual_seed(0)
    return HeadTask(sam, train_text.head_parts(sam, bank, config), config, torch.from_numpy(bank.spread))


class TestHead:
    def test_means_and_spread(self, bank):
        head = train_text.head_parts(load_model("tiny").float(), bank, HeadConfig())["head"]
        np.testing.assert_allclose(head.text_mean, bank.means[0], rtol=1e-5)
        noise = np.random.default_rng(0).standard_normal((4000, len(bank.spread))) @ bank.spread
        assert (noise**2).sum(1).mean() == pytest.approx(1, rel=0.2)
        bare = train_text.head_parts(load_model("tiny").float(), bank, HeadConfig(centring=False))["head"]
        assert not bare.text_mean.any()

    @pytest.mark.parametrize(
        ("change", "images"), [({"text_share": 0.0}, True), ({"text_share": 1.0, "absent": 1.0}, False)]
    )
    def test_each_bridge_can_be_switched(self, views, bank, change, images):
        speaker = TextSampler(views, bank, HeadConfig(drop=0.0, found_steps=0, **change), 2.0)
        batch = next(speaker.batches(0, 0))
        texts = batch["kind"] == TEXT
        assert texts.any()
        if not images:
            assert not batch["image"].any()
        else:
            # of nothing but background there is no crop
            assert batch["image"].any()

    def test_shares_tell_how_often_a_source_comes(self, views, bank):
        config = HeadConfig(whole=1, shares={"made": 0.0, "other": 1.0})
        speaker = TextSampler(views, bank, config, 2.0)
        other = views[0].with_name(views[0].name.replace("made", "other"))
        speaker.paths["whole"] = [views[0], other]
        with pytest.raises(FileNotFoundError, match="other"):
            next(speaker.batches(0, 0))

    def test_prototypes_are_means_of_crops_of_the_name(self, views, bank):
        speaker = TextSampler(views, bank, HeadConfig(text_share=0.0, prototypes=1.0), 2.0)
        rng = np.random.default_rng(0)
        rows = next(iter(bank.images.values()))
        name = next(iter(bank.images))
        for _ in range(5):
            vector, image = speaker._vector(name, rows, rng)
            assert image
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
            # a mean of several lies in what they span
            weights = np.linalg.lstsq(rows.T, vector, rcond=None)[0]
            np.testing.assert_allclose(rows.T @ weights, vector, atol=1e-4)
            assert (np.abs(weights) > 1e-3).sum() > 1

    def test_noise_is_for_vectors_of_crops(self, sam, bank):
        vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
        image = torch.tensor([True, False])
        for noise in (0.0, 0.7):
            task = task_of(sam, bank, HeadConfig(noise=noise))
            head = task.model["head"]
            made = task._vectors(head, vectors, image, torch.Generator().manual_seed(0))
            torch.testing.assert_close(made[1:], head.centred(vectors[1:]))
            assert torch.allclose(made[:1], head.centred(vectors[:1], image=True)) == (noise == 0)

    def test_prompts_mean_what_they_say(self, views, bank):
        speaker = TextSampler(views, bank, HeadConfig(found_steps=0), 2.0)
        for step in range(6):
            batch = next(speaker.batches(3, step))
            assert len(batch["kind"]) == len(batch["target"]) == len(batch["vector"])
            for kind, xy, target in zip(batch["kind"], batch["xy"], batch["target"], strict=True):
                if kind in (BOTH, CLICK) and target.any():
                    x, y = ((xy + 0.5) / 2 - 0.5).round().long().tolist()
                    assert target[y, x]

    @pytest.mark.parametrize(("step", "maps"), [(0, 1.0), (1, 0.0)])
    def test_two_steps_lower_the_loss(self, sam, views, bank, step, maps):
        config = HeadConfig(whole=1, close=2, noise=0.0, found_steps=0, maps=maps, rounds=1)
        task = task_of(sam, bank, config)
        batch = next(TextSampler(views, bank, config, 2.0).batches(0, step))
        before = copy.deepcopy(sam.state_dict())
        optimizer = torch.optim.AdamW(task.model.parameters(), 3e-4)
        losses = []
        for _ in range(3):
            result = task.training_forward(batch, 0)
            losses.append(float(result["loss"].detach()))
            optimizer.zero_grad()
            result["loss"].backward()
            optimizer.step()
        assert losses[2] < losses[0]
        assert ("map_iou" in result) == (maps == 1.0)
        assert ("text_iou" in result) == (maps == 0.0)
        torch.testing.assert_close(sam.state_dict(), before, rtol=0, atol=0)

    def test_a_run_resumes_and_what_it_wrote_is_read(self, tmp_path, clip, monkeypatch):
        monkeypatch.setattr(train_text, "load_clip", lambda *_: clip)
        config = tmp_path / "head.toml"
        table = 'trains = "head"\nsynthetic = 4\n[sources]\nsynthetic = [2, 2]\n'
        table += "[task]\nwhole = 1\nclose = 1\nfound_steps = 1\nprototypes = 0.5\nmemory = 2\n"
        for steps in (1, 2):
            config.write_text(f"{table}[loop]\nsteps = {steps}\nsave_every = 1\nlog_every = 1\nworkers = 0\n")
            path = train_text.train_text(config, tmp_path, tmp_path / "out", torch.device("cpu"))
        assert [json.loads(line)["step"] for line in (tmp_path / "out/log.jsonl").read_text().splitlines()] == [1, 2]
        head = load_text_prompter(TinySam().mask_decoder, path, torch.device("cpu")).head
        assert head.tokens == 2
        # what is remembered is as long as the vectors, and there is some of each name of which there are crops
        assert len(head.memory) >= 2

    def test_every_name_is_asked_for_on_whole_pictures(self, sam, views, bank):
        config = HeadConfig(found_steps=5)
        batch = next(TextSampler(views, bank, config, 2.0).batches(0, 0))
        assert batch["all_there"].shape == (2 * config.whole, len(bank.texts))
        absent = batch["all_there"] == 0
        assert not batch["all_target"][absent].any()
        assert (batch["all_target"][batch["all_there"] == 1].flatten(1).sum(1) > 0).all()
        result = task_of(sam, bank, config).training_forward(batch, 0)
        assert set(result) == {"loss", "where", "there"}

    def test_vectors_are_computed_once(self, clip, views, bank, monkeypatch):
        monkeypatch.setattr(clip, "image_vectors", lambda *_, **__: pytest.fail("they were there"))
        again = make_bank(clip, views, views[0].parent / "vectors.npz")
        assert again.images.keys() == bank.images.keys()


@pytest.mark.parametrize("points", [None, (torch.full((2, 1, 2), 9.0), torch.ones(2, 1, dtype=torch.long))])
def test_a_corrective_click_lies_where_the_mask_is_wrong(points):
    target = torch.zeros(2, 20, 20)
    target[:, 5:15, 5:15] = 1
    logits = torch.where(target > 0, 1.0, -1.0)
    logits[0, 5:15, 5:9] = -1  # missing
    logits[1, 0:4] = 1  # too much
    xy, labels = add_corrective_click(points, logits, target, 2.0, torch.Generator().manual_seed(0))
    assert labels[:, -1].tolist() == [1, 0]
    columns, rows = ((xy[:, -1] - 0.5) / 2).unbind(1)
    assert 5 <= columns[0] < 9
    assert 5 <= rows[0] < 15
    assert rows[1] < 4
    assert len(xy[0]) == len(labels[0]) == (1 if points is None else 2)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_sources_have_names_of_the_vocabulary(name):
    source = SOURCES[name]
    assert {source.name, *source.undecided, *source.named.values()} <= set(NAMES)
    assert source.modality in {*MODALITY_NAMES, "by looks", ""}
    assert source.name not in source.undecided


def test_a_source_with_two_kinds_of_objects(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / "cellpainting" / kind).mkdir(parents=True)
        for name in ("jump_nuclei_ch5", "jump_cells_ch2"):
            io.imsave(tmp_path / f"cellpainting/{kind}/{name}.png", np.eye(40, dtype=np.uint8), check_contrast=False)
    cells, nuclei = load_named(tmp_path, ["cellpainting"], count=0, seed=0)["cellpainting"]
    assert (cells.present, nuclei.present) == (("cell",), ("nucleus",))
    assert cells.undecided == {"nucleus"}
    assert nuclei.undecided == {"cell"}


def test_configurations_that_cannot_be_used(tmp_path):
    path = tmp_path / "config.toml"
    for table, said in (
        ('trains = "towers"', "names no"),
        ('trains = "nothing"\n[sources]\nsynthetic = 1', "trains 'nothing'"),
        ('trains = "towers"\n[sources]\nsynthetic = 1\n[task]\nspeed = 3', "unknown setting"),
        ('trains = "head"\n[sources]\nsynthetic = 1', r"sources.* in \[the file\]: Expected `array`"),
        ('trains = "head"\nseed = "1"\n[sources]\nsynthetic = [1, 2]', r"seed in \[the file\]: Expected `int`"),
        ('trains = "head"\nspeed = 1\n[sources]\nsynthetic = [1, 2]', r"unknown setting in \[the file\]: speed"),
        (
            'trains = "head"\n[sources]\nsynthetic = [1, 2]\n[task.shares]\nelsewhere = 2.0',
            "shares of sources that it does not name: elsewhere",
        ),
        ("][", "cannot read"),
    ):
        path.write_text(table)
        with pytest.raises(InputError, match=said):
            train_text.train_text(path, tmp_path, tmp_path / "out", torch.device("cpu"))


@pytest.mark.parametrize("name", ["tiny-text", "tiny-text-towers"])
def test_the_shipped_configurations_can_be_read(name: str) -> None:
    config = train_text.read_config(Path(train_text.__file__).parent / "configs" / f"{name}.toml")
    assert (config.seed, config.loop.workers) == (5, 0)
    assert config.sources["dsb2018"] in {(240, 300), 0.27}


def test_what_kind_of_picture_it_is_tells_which_names_are_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sources whose embeddings lie apart, a name on each; "both" is undecided on the second."""
    rng = np.random.default_rng(0)
    names = {"x": ("left", "both"), "y": ("right",)}

    def view(path: Path) -> SimpleNamespace:
        source = path.stem[0]
        embed = rng.normal(1.0 if source == "x" else -1.0, 1, (16, 8, 8)).astype(np.float16)
        undecided = ("both",) if source == "y" else ()
        return SimpleNamespace(
            features={"image_embed": embed},
            levels=np.zeros((1, 32, 32)),
            cells=(32, 20),
            present=names[source],
            undecided=undecided,
        )

    monkeypatch.setattr(scenes, "load_view", view)
    vectors = {name: rng.normal(size=(3, 12)).astype(np.float32) for name in ("left", "right", "both", BACKGROUND)}
    head = TextPromptHead(12, 16).eval()
    valid, image = torch.ones(1, 8, 8, dtype=torch.bool), torch.ones(1, 16, 8, 8)
    texts = head.centred(torch.from_numpy(np.stack([vectors["left"][0], vectors["right"][0]])))
    before = head.found(texts, image, valid)
    torch.testing.assert_close(head.found_in_scene(texts, image, valid), before)
    paths = [Path(f"{source}-whole-{k}.npz") for source in "xy" for k in range(8)]
    scenes.learn_scenes(head, paths, TextBank({}, {}, vectors), 3, 0.5)
    for now, then in zip(head.found(texts, image, valid), before, strict=True):
        torch.testing.assert_close(now, then)
    kinds = [torch.from_numpy(view(Path(f"{source}.npz")).features["image_embed"]).float()[None] for source in "xy"]
    told = [head.found_in_scene(texts, one, valid)[1] - head.found(texts, one, valid)[1] for one in kinds]
    assert told[0][0] > 1 > -1 > told[0][1]
    assert told[1][1] > 1 > -1 > told[1][0]
