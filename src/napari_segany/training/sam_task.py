"""Promptable training: simulated rounds of clicks, boxes and masks (Kirillov et al. 2023, appendix A)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.models.tiny.tiny_sam import STRIDE, TinySam
from napari_segany.training.corrective_clicks import add_corrective_click
from napari_segany.training.losses import Area, dense_loss, dice, focal, iou


@dataclass(frozen=True)
class TaskConfig:
    """Losses, prompts and phases of the training.

    Parameters
    ----------
    dense_steps : int
        First steps with the dense targets alone; prompts from nothing stall.
    together_steps : int
        Until this step all four masks learn from every prompt, in single rounds; before they can draw anything, those
        that are never the best would be left behind.
    dense_weight, focal_weight, dice_weight, iou_weight : float
        Weights of the losses.
    mask_share : float
        Share of the steps that begin with a rough mask.
    rounds : dict of int to float
        Number of rounds and the share of steps that have so many. From five on two of them bring no new point: the
        last one, and one before it.
    all_rounds : bool
        All rounds learn, as in the paper; else the first and the last one, which takes less memory.
    ambiguity : bool
        A lone point has three masks, of which the best one learns; without it, the single mask is for all prompts.
    single_weight : float
        Weight of the single mask for a lone point; in the paper it learns from other prompts only.
    nested_pairs : bool
        Where a click may mean a part or its whole, two of the three masks learn; in the paper always one.
    focal_area : {"object", "picture"}
        See :func:`~napari_segany.training.losses.focal`.
    frozen_norms : bool
        Batch norms keep their statistics: a few small batches of one kind of image are no better ones.
    prompts_only : bool
        Image encoder and dense heads stay as they are: embeddings that were made, and heads trained on them, hold.
    """

    dense_steps: int = 500
    together_steps: int = 1500
    dense_weight: float = 0.3
    focal_weight: float = 2.0
    dice_weight: float = 1.0
    iou_weight: float = 1.0
    mask_share: float = 0.1
    rounds: dict[int, float] = field(default_factory=lambda: {1: 0.5, 2: 0.2, 3: 0.15, 5: 0.1, 8: 0.05})
    all_rounds: bool = False
    ambiguity: bool = True
    single_weight: float = 0.3
    nested_pairs: bool = True
    focal_area: Area = "object"
    prompts_only: bool = False
    frozen_norms: bool = False


@dataclass(frozen=True, eq=False)
class Scene:
    """The features of a batch, one row per prompt; at half resolution the truth, and what a click may mean instead."""

    image: Tensor
    position: Tensor
    high_res: tuple[Tensor, Tensor] | None
    shift_xy: Tensor
    target: Tensor
    other: Tensor


def rough_masks(target: Tensor, generator: torch.Generator) -> Tensor:
    """What a neighbouring slice or a hasty brush gives: shifted, scaled, turned, ragged.

    Parameters
    ----------
    target : Tensor
        (P, h, w), 0 to 1.
    generator : torch.Generator
        Source of chance, of the same device.

    Returns
    -------
    Tensor
        (P, 1, h, w) logits.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=generator.device)

    count, height, width = target.shape
    reach = (target.sum((1, 2)).sqrt() / max(height, width))[:, None]
    angle, scale = 0.15 * normal(count), (0.1 * normal(count)).exp()
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).unflatten(1, (2, 2))
    # The grid's frame reaches from -1 to 1, and the object lies anywhere in it: turn and scale about its own middle.
    axes = [torch.linspace(-1 + 1 / n, 1 - 1 / n, n, device=target.device) for n in (height, width)]
    mass = target.sum((1, 2)).clamp_min(1)
    middle = torch.stack([(target.sum(1) * axes[1]).sum(1) / mass, (target.sum(2) * axes[0]).sum(1) / mass], dim=-1)
    matrix = turn * scale[:, None, None]
    offset = middle - (matrix @ middle[..., None])[..., 0] + 0.2 * reach * normal(count, 2)
    grid = F.affine_grid(torch.cat([matrix, offset[..., None]], -1), [count, 1, height, width], align_corners=False)
    moved = F.grid_sample(target[:, None].float(), grid, align_corners=False)
    ragged = F.interpolate(normal(count, 1, height // 8, width // 8), size=(height, width), mode="bilinear")
    soft = F.avg_pool2d(moved, 5, stride=1, padding=2) + 0.15 * ragged - 0.5
    sharpness = 4 + 16 * torch.rand(count, 1, 1, 1, generator=generator, device=generator.device)
    return (soft * sharpness).clamp(-10, 10)


class PromptTask:
    """Rounds of simulated prompts and their losses, for any decoder.

    Parameters
    ----------
    config : TaskConfig
        How.
    """

    stride = 2
    """Pixels of the input frame for each value of the logits."""

    def __init__(self, config: TaskConfig) -> None:
        self.config = config
        self._losses_of = self._mask_losses

    def _decode(self, scene: Scene, xy: Tensor, kinds: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits (P, 4, h, w) and predicted IoU (P, 4) of prompts."""
        raise NotImplementedError

    def _prompted(
        self, scene: Scene, batch: dict[str, Tensor], generator: torch.Generator, together: bool
    ) -> dict[str, Tensor]:
        config = self.config
        device = generator.device
        draw = torch.rand(2, generator=generator, device=device).tolist()
        shares = torch.tensor(list(config.rounds.values()), device=device)
        rounds = 1 if together else list(config.rounds)[int(torch.multinomial(shares, 1, generator=generator))]
        xy, kinds = batch["xy"].flatten(0, 1), batch["kinds"].flatten(0, 1)
        previous = None
        if draw[0] < config.mask_share:
            previous = rough_masks(scene.target, generator)
            if draw[1] < 0.5:
                xy, kinds = xy[:, :0], kinds[:, :0]
        silent = int(torch.randint(1, max(rounds - 1, 2), (1,), generator=generator, device=device))
        losses: list[Tensor] = []
        log: dict[str, Tensor] = {}
        for number in range(rounds):
            learns = config.all_rounds or number in (0, rounds - 1)
            with torch.set_grad_enabled(learns):
                logits, scores = self._decode(scene, xy, kinds, previous)
            lone = (kinds == 1).any(1) & (config.ambiguity and number == 0 and previous is None)
            if learns:
                loss, watch = self._losses_of(logits.float(), scores.float(), scene, lone, together)
                losses.append(loss)
                log = {f"first_{k}": v for k, v in watch.items()} if number == 0 else {**log, "last_iou": watch["iou"]}
            if number + 1 < rounds:
                previous = self._shown(logits, scores, lone).detach()
                # A round without a new click teaches the model to refine its own mask.
                if rounds < 5 or number + 1 not in (silent, rounds - 1):
                    xy, kinds = add_corrective_click((xy, kinds), previous[:, 0], scene.target, self.stride, generator)
        return {"loss": torch.stack(losses).mean(), **log}

    @staticmethod
    def _shown(logits: Tensor, scores: Tensor, lone: Tensor) -> Tensor:
        """The mask (P, 1, h, w) that a user would be shown: of a `lone` point that of the highest predicted IoU."""
        choice = torch.where(lone, scores[:, 1:].argmax(1) + 1, 0)
        return logits.take_along_dim(choice[:, None, None, None], 1).float()

    def _mask_losses(
        self, logits: Tensor, scores: Tensor, scene: Scene, lone: Tensor, together: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Best of the three masks for a `lone` point, the single mask for everything else; IoU for all in use."""
        config, target = self.config, scene.target
        truth = target[:, None].expand_as(logits)
        shape = self._shape_losses(logits, truth)
        real = iou(logits.detach(), truth)
        best = self._nested(shape[:, 1:], logits[:, 1:], scene)
        per_prompt = torch.where(lone, best + config.single_weight * shape[:, 0], shape[:, 0])
        single = ~lone | (config.single_weight > 0)
        used = torch.cat([single[:, None], lone[:, None].expand(-1, 3)], 1).float()
        if together:
            per_prompt, used = shape.mean(1), torch.ones_like(used)
        # Where nothing should be found the mask matters less than the low score.
        present = (target.flatten(1).sum(1) > 0).float()
        per_prompt = per_prompt * (0.1 + 0.9 * present)
        calibration = (((scores - real) ** 2) * used).sum(1) / used.sum(1)
        loss = (per_prompt + config.iou_weight * calibration).mean()
        return loss, {**self._watch(scores, real, lone, present), "score_error": calibration.mean().detach()}

    def _shape_losses(self, logits: Tensor, truth: Tensor) -> Tensor:
        config = self.config
        by_pixel = focal(logits, truth, area=config.focal_area)
        return config.focal_weight * by_pixel + config.dice_weight * dice(logits, truth)

    def _nested(self, shape: Tensor, logits: Tensor, scene: Scene) -> Tensor:
        """Loss (P,) of the best of three masks; where a click may mean a part or its whole, of the best two.

        The part is drawn by an earlier mask than the whole, so that the three are ordered by size.
        """
        nested = scene.other.flatten(1).amax(1) > 0
        best = shape.min(1).values
        if not (self.config.nested_pairs and bool(nested.any())):
            return best
        other = self._shape_losses(logits, scene.other[:, None].expand_as(logits))
        inner = (scene.target.sum((1, 2)) < scene.other.sum((1, 2)))[:, None]
        small, large = torch.where(inner, shape, other), torch.where(inner, other, shape)
        pairs = torch.stack([small[:, i] + large[:, j] for i, j in ((0, 1), (0, 2), (1, 2))], 1)
        return torch.where(nested, pairs.min(1).values / 2, best)

    @staticmethod
    def _watch(scores: Tensor, real: Tensor, lone: Tensor, present: Tensor) -> dict[str, Tensor]:
        """Mean IoU of the masks that would be shown, and of the best that could have been."""
        chosen = real[:, 1:].take_along_dim(scores[:, 1:].argmax(1, keepdim=True), 1)[:, 0]
        count = present.sum().clamp_min(1)
        shown = torch.where(lone, chosen, real[:, 0])
        best = torch.where(lone, real[:, 1:].max(1).values, real[:, 0])
        return {"iou": (shown * present).sum() / count, "oracle": (best * present).sum() / count}


class SamTask(PromptTask):
    """Model and losses; the loop knows neither.

    Parameters
    ----------
    model : TinySam
        What is trained.
    config : TaskConfig
        How.
    """

    def __init__(self, model: TinySam, config: TaskConfig) -> None:
        super().__init__(config)
        self.model = model

    def compile(self) -> None:
        """Let torch compile what is computed for each prompt."""
        self.model.mask_decoder.compile()
        self._losses_of = torch.compile(self._mask_losses)

    def training_forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses and, detached, what is worth watching.

        Parameters
        ----------
        batch : dict of str to Tensor
            From :mod:`napari_segany.training.batches`.
        step : int
            Decides the phase and seeds the simulated user.

        Returns
        -------
        dict of str to Tensor
            ``loss`` is to be minimised; the rest is for the log.
        """
        if self.config.prompts_only:
            # Their batch norms must not follow the batch either.
            for part in (self.model.image_encoder, self.model.dense_head):
                part.eval()
        if self.config.frozen_norms:
            for layer in self.model.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        with torch.set_grad_enabled(not self.config.prompts_only):
            features = self.features(batch)
        return self._losses(features, batch, step)

    def features(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Maps of the image encoder for the crops of a batch."""
        found: dict[str, Tensor] = self.model.image_encoder(self.model.preprocess(batch["image"].float()))
        return found

    def _losses(self, features: dict[str, Tensor], batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        generator = torch.Generator(batch["image"].device).manual_seed(step)
        if self.config.prompts_only:
            return self._prompted(self._scene(features, batch), batch, generator, together=False)
        dense = dense_loss(self.model.dense_head(features).float(), batch["dense"], batch["dense_known"])
        if step < self.config.dense_steps:
            return {"loss": dense, "dense": dense.detach()}
        losses = self._prompted(self._scene(features, batch), batch, generator, step < self.config.together_steps)
        losses["dense"] = dense.detach()
        losses["loss"] = losses["loss"] + self.config.dense_weight * dense
        return losses

    def _scene(self, features: dict[str, Tensor], batch: dict[str, Tensor]) -> Scene:
        masks = batch["masks"]
        per_image = masks.shape[1]
        cells = features["image_embed"].shape[-2:]
        # The decoder computes in the type of its image: half as wide, training spends far less time in copies.
        kind = torch.get_autocast_dtype(masks.device.type) if torch.is_autocast_enabled(masks.device.type) else None
        features = {name: feature.to(kind or feature.dtype) for name, feature in features.items()}
        pe = self.model.prompt_encoder.dense_pe().to(features["image_embed"].dtype)
        rows, columns = (batch["shift"] // STRIDE).unbind(1)
        position = torch.cat(
            [pe[..., r : r + cells[0], c : c + cells[1]] for r, c in zip(rows.tolist(), columns.tolist(), strict=True)]
        )

        def each(x: Tensor) -> Tensor:
            return x.repeat_interleave(per_image, dim=0)

        return Scene(
            image=each(features["image_embed"]),
            position=each(position),
            high_res=(each(features["high_res_0"]), each(features["high_res_1"])),
            shift_xy=each(batch["shift"].flip(1).float())[:, None],
            target=F.avg_pool2d(masks.flatten(0, 1)[:, None].float(), 2)[:, 0],
            other=F.avg_pool2d(batch["others"].flatten(0, 1)[:, None].float(), 2)[:, 0],
        )

    def _decode(self, scene: Scene, xy: Tensor, kinds: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        encoder = self.model.prompt_encoder
        sparse = encoder.tokens(xy + scene.shift_xy, kinds)
        rows, columns = scene.image.shape[-2:]
        if masks is None:
            dense = encoder.no_mask_embed.weight[..., None, None].expand(len(sparse), -1, rows, columns)
        else:
            dense = encoder.mask_downscaling(masks)
        return self.model.mask_decoder(scene.image, scene.position, sparse, dense, scene.high_res)
