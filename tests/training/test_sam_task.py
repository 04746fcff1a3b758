"""The paper's rounds and losses (Kirillov et al. 2023, appendix A), by examples worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_segany.training.batches import BatchConfig, first_prompt
from napari_segany.training.losses import focal
from napari_segany.training.sam_task import PromptTask, Scene, TaskConfig

PAPER = {
    "focal_weight": 20.0,
    "focal_area": "picture",
    "mask_share": 0.0,
    "all_rounds": True,
    "single_weight": 0.0,
    "nested_pairs": False,
}


class Recorded(PromptTask):
    """Decodes nothing: it records the prompts of each round, and whether the round learns."""

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        self.tokens: list[int] = []
        self.learned: list[bool] = []
        self.clicks: list[Tensor] = []
        self.given: list[Tensor | None] = []
        self.weight = torch.zeros(4, requires_grad=True)

    def _decode(self, scene: Scene, xy: Tensor, kinds: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        self.tokens.append(kinds.shape[1])
        self.clicks.append(xy)
        self.given.append(masks)
        self.learned.append(torch.is_grad_enabled())
        # each of the four masks is a square of another place
        logits = torch.full((len(xy), 4, 16, 16), -2.0)
        for number in range(4):
            logits[:, number, 4 * number : 4 * number + 4, :4] = 2.0
        scores = torch.tensor([0.1, 0.2, 0.9, 0.3]).expand(len(xy), 4)
        return logits + self.weight[None, :, None, None], scores + self.weight


def run(config: TaskConfig, kinds: tuple[int, int] = (1, -1), seed: int = 0) -> tuple[Recorded, Tensor]:
    task = Recorded(config)
    target = torch.zeros(2, 16, 16)
    target[:, 4:8, :4] = 1
    scene = SimpleNamespace(target=target, other=torch.zeros_like(target))
    batch = {"xy": torch.zeros(1, 2, 2, 2), "kinds": torch.tensor(kinds).expand(1, 2, 2)}
    loss = task._prompted(scene, batch, torch.Generator().manual_seed(seed), together=False)["loss"]
    return task, loss


@pytest.mark.parametrize("seed", range(12))
def test_eleven_rounds_have_eight_clicks_and_two_rounds_without_one(seed: int) -> None:
    task, _ = run(TaskConfig(rounds={11: 1.0}, **PAPER), seed=seed)
    assert len(task.tokens) == 11
    steps = np.diff(task.tokens)
    assert task.tokens[-1] == 2 + 8
    assert steps[-1] == 0, "the last round brings no new point"
    assert sorted(steps.tolist()) == [0, 0] + 8 * [1]
    assert task.given[0] is None
    assert all(one is not None for one in task.given[1:])


@pytest.mark.parametrize(("rounds", "every"), [(1, False), (3, False), (8, False), (1, True), (3, True), (11, True)])
def test_which_rounds_learn(rounds: int, every: bool) -> None:
    task, _ = run(TaskConfig(rounds={rounds: 1.0}, mask_share=0.0, all_rounds=every))
    assert task.learned == [every or number in (0, rounds - 1) for number in range(rounds)]


def test_the_rounds_count_alike() -> None:
    task, loss = run(TaskConfig(rounds={11: 1.0}, **PAPER))
    loss.backward()
    # the lone click teaches one of the three masks in one round of eleven, the single mask all others
    assert task.weight.grad is not None
    assert task.weight.grad[0].abs() > 0


@pytest.mark.parametrize(
    ("kinds", "ambiguity", "number"), [((1, -1), True, 2), ((1, -1), False, 0), ((2, 3), True, 0), ((2, 3), False, 0)]
)
def test_three_masks_are_for_a_lone_point(kinds: tuple[int, int], ambiguity: bool, number: int) -> None:
    """The mask of highest predicted IoU of the three enters the next round; a box has the single mask."""
    task, _ = run(TaskConfig(rounds={3: 1.0}, **{**PAPER, "ambiguity": ambiguity}), kinds)
    given = task.given[1]
    assert given is not None
    assert given[0, 0, 4 * number, 0] > 0
    assert int((given[0, 0] > 0).sum()) == 16


@pytest.mark.parametrize(
    ("ambiguity", "learning"), [(True, [False, True, False, False]), (False, [True] + 3 * [False])]
)
def test_one_model_with_and_without_ambiguity(ambiguity: bool, learning: list[bool]) -> None:
    """With it the best of three masks of a lone click learns and nothing else; without it the single mask does."""
    task, loss = run(TaskConfig(rounds={1: 1.0}, iou_weight=0.0, **{**PAPER, "ambiguity": ambiguity}))
    loss.backward()
    assert task.weight.grad is not None
    assert [bool(one != 0) for one in task.weight.grad] == learning


@pytest.mark.parametrize(("ambiguity", "learning"), [(True, [False, True, True, True]), (False, [True] + 3 * [False])])
def test_the_scores_of_the_masks_in_use_learn(ambiguity: bool, learning: list[bool]) -> None:
    task = PromptTask(TaskConfig(iou_weight=1.0, **{**PAPER, "ambiguity": ambiguity}))
    scores = torch.full((1, 4), 0.5, requires_grad=True)
    scene = SimpleNamespace(target=torch.ones(1, 4, 4), other=torch.zeros(1, 4, 4))
    lone = torch.tensor([ambiguity])
    loss, _ = task._mask_losses(torch.ones(1, 4, 4, 4), scores, scene, lone, False)
    loss.backward()
    assert scores.grad is not None
    assert [bool(one != 0) for one in scores.grad[0]] == learning


def test_focal_loss_over_the_picture_and_over_the_object() -> None:
    # logit 0 everywhere: each pixel gives .5^2 log 2; 16 of 64 pixels are object
    target = torch.zeros(1, 8, 8)
    target[:, :4, :4] = 1
    each = 0.25 * np.log(2)
    assert focal(torch.zeros(1, 8, 8), target, area="picture").item() == pytest.approx(each)
    assert focal(torch.zeros(1, 8, 8), target, area="object").item() == pytest.approx(64 * each / (16 + 16))


def test_box_noise_of_a_tenth_of_the_side_and_twenty_pixels_at_most() -> None:
    mask = np.zeros((600, 600), bool)
    mask[200:240, 100:500] = True
    config = BatchConfig(box_share=1.0, box_noise=0.1, box_noise_varies=False)
    rng = np.random.default_rng(0)
    boxes = np.array([first_prompt(mask, rng, config)[0] for _ in range(400)])
    moved = boxes - [[100, 200], [499, 239]]
    assert np.abs(moved).max() <= 20
    assert moved[..., 1].std() == pytest.approx(4, rel=0.1), "a tenth of 40 rows"
    assert (np.abs(moved[..., 0]) == 20).mean() > 0.5, "a tenth of 400 columns is 40, cut at 20"
