"""``napari-segany train …``: trains a model."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_segany.cli.shared import DeviceOption, JsonProgressOption, ShownProgress, ShownStages, new_app
from napari_segany.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from napari_segany.training.data import Sample
    from napari_segany.training.held_out_examples import HeldOutExample

train = new_app(help="Train a model.")

_TRUTH = ("label", "labels", "mask", "masks", "groundtruth")
"""What files and folders of truth are called."""


SourcesOption = Annotated[Path, typer.Option(help="Folder that holds one folder per training source.")]

RunOption = Annotated[
    Path, typer.Option("--out", help="Where checkpoint, log and weights go; a checkpoint there is resumed.")
]


ArchitectureOption = Annotated[
    str, typer.Option(help="vit_b, vit_l or vit_h, in place of that of the TOML file; its [encoder] may change sizes.")
]

StepsOption = Annotated[int | None, typer.Option(min=1, help="Steps, in place of those of the TOML file.")]


@train.command()
def sam(  # noqa: PLR0913  each parameter is an option of the command line
    config: Annotated[
        str,
        typer.Argument(
            help="TOML file, `tiny-first` to `tiny-eighth` for the embedded model, or `paper` for the paper's settings."
        ),
    ],
    data: SourcesOption,
    out: RunOption,
    device: DeviceOption = "auto",
    architecture: ArchitectureOption = "",
    start: Annotated[str, typer.Option(help="Weights to begin with: a model, or what `train mae` wrote.")] = "",
    steps: StepsOption = None,
) -> None:
    """Train a model by simulated clicks and boxes."""
    path = _checked(config, data, out)
    from napari_segany.models.device import pick_device
    from napari_segany.training.train_sam import RunChanges, train_sam

    changes = [RunChanges(architecture, start, steps)] if architecture or start or steps else []
    typer.echo(f"wrote {train_sam(path, data, out, pick_device(device), *changes)}")


@train.command("mae")
def train_mae(
    data: Annotated[
        Path, typer.Option(help="Folder of images, also in its folders; what is called labels or masks is left out.")
    ],
    out: RunOption,
    config: Annotated[str, typer.Argument(help="TOML file, or `mae`.")] = "mae",
    device: DeviceOption = "auto",
    architecture: ArchitectureOption = "",
    steps: StepsOption = None,
) -> None:
    """Pretrain an image encoder on images without labels (masked autoencoding), for `train sam --start`."""
    path = _checked(config, data, out)
    from napari_segany.models.device import pick_device
    from napari_segany.training import mae
    from napari_segany.training.train_sam import check_apart

    check_apart(out, [data])
    run = mae.read_mae_config(path)
    run = replace(
        run,
        architecture=architecture or run.architecture,
        loop=run.loop if steps is None else run.loop.of_length(steps),
    )
    run.sizes()  # before many images are read
    typer.echo(f"wrote {mae.train_mae(run, _pictures(data), out, pick_device(device))}")


@train.command("text")
def train_text(
    config: Annotated[str, typer.Argument(help="TOML file, `tiny-text-towers` or `tiny-text`.")],
    data: SourcesOption,
    out: RunOption,
    device: DeviceOption = "auto",
) -> None:
    """Train what texts need: towers that compare texts with objects, or the head that makes prompts of texts."""
    path = _checked(config, data, out)
    from napari_segany.models.device import pick_device
    from napari_segany.training.train_text import train_text

    typer.echo(f"wrote {train_text(path, data, out, pick_device(device))}")


@train.command("mask2former")
def train_queries(
    config: Annotated[str, typer.Argument(help="TOML file, or `tiny-queries`.")],
    data: SourcesOption,
    out: RunOption,
    device: DeviceOption = "auto",
) -> None:
    """Train queries that find, draw and name objects, on the features of a model that stays as it is."""
    path = _checked(config, data, out)
    from napari_segany.models.device import pick_device
    from napari_segany.training.train_mask2former import train_mask2former

    shown = ShownProgress("steps")
    for step in train_mask2former(path, data, out, pick_device(device)):
        shown(step)
    typer.echo(f"wrote {out / 'weights.safetensors'}")


@train.command("identity")
def train_identities(
    config: Annotated[str, typer.Argument(help="TOML file, or `tiny-identity`.")],
    data: SourcesOption,
    out: RunOption,
    device: DeviceOption = "auto",
) -> None:
    """Train queries that keep the identity of objects from frame to frame, on the features of `tiny`."""
    path = _checked(config, data, out)
    from napari_segany.models.device import pick_device
    from napari_segany.training.train_identity import train_identity

    made, shown = ShownProgress("clips"), ShownProgress("steps")
    for step in train_identity(path, data, out, pick_device(device), lambda done, _: made(done)):
        shown(step)
    typer.echo(f"wrote {out / 'weights.safetensors'}")


@train.command("classes")
def train_names(
    data: SourcesOption,
    out: RunOption,
    config: Annotated[str, typer.Argument(help="TOML file, or `tiny-classes`.")] = "tiny-classes",
    device: DeviceOption = "auto",
) -> None:
    """Train the names of masks: a branch next to the decoder of a model that stays as it is."""
    path = _checked(config, data, out)
    from napari_segany.models.device import pick_device
    from napari_segany.training.train_classes import train_classes

    shown = ShownStages(as_json=False)
    for stage, done, total in train_classes(path, data, out, pick_device(device)):
        shown(stage, done, total, math.nan)
    typer.echo((out / "report.json").read_text())
    typer.echo(f"wrote {out / 'weights.safetensors'}")


@train.command("on")
def train_on(  # noqa: PLR0913  each parameter is an option of the command line
    sources: Annotated[
        list[Path],
        typer.Argument(help="Folders with images/ and labels/, images with --labels, or session files."),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="Name of the new model, or path of its weights, .safetensors.")
    ],
    labels: Annotated[Path | None, typer.Option(help="Folder of NAME_labels.tif or NAME.tif for the images.")] = None,
    image: Annotated[Path | None, typer.Option(help="Image of a session that is not where it was opened from.")] = None,
    model: Annotated[str, typer.Option(help="Weights to begin with: of `tiny`, or of a SAM.")] = "tiny",
    complete: Annotated[
        bool, typer.Option("--complete", help="All objects are labelled: unlabelled ground is background.")
    ] = False,
    name: Annotated[str, typer.Option(help="Kept in the weights.")] = "",
    note: Annotated[str, typer.Option(help="Kept in the weights.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of weights.")] = False,
    json_progress: JsonProgressOption = False,
) -> None:
    """Fine-tune the shipped model on your own masks; a fifth of them measure whether it got better.

    Nothing is written where it did not get better on the masks that were held out. A run that was interrupted goes on.
    """
    path = _weights_path(out)
    _check_weights(path, sources, overwrite=overwrite)
    samples = _own_samples(sources, labels, image, complete=complete)
    from napari_segany.training.fine_tune import FineTuneConfig, fine_tune

    shown = ShownStages(as_json=json_progress)
    report = None
    examples: tuple[HeldOutExample, ...] = ()
    for progress in fine_tune(samples, path, FineTuneConfig(parent=model, name=name or path.stem, note=note)):
        shown(progress.stage, progress.done, progress.total, progress.seconds_left)
        report, examples = progress.report, progress.examples
    if report is not None:
        if json_progress:
            typer.echo(json.dumps({"examples": [asdict(one) for one in examples]}))
        typer.echo(report.sentence)
        typer.echo(report.gauge_sentence)
        typer.echo(f"wrote {path}" if report.accepted else "nothing was written")


def _weights_path(out: str) -> Path:
    """A path is taken as it is; a name is that of a model of the user's own."""
    from napari_segany.models.registry import new_own_model

    path = Path(out).expanduser()
    return path if len(path.parts) > 1 or path.suffix else new_own_model(out).path


def _check_weights(out: Path, sources: list[Path], *, overwrite: bool) -> None:
    """Refuse a place for the weights before anything is read."""
    if out.suffix != ".safetensors":
        raise InputError(f"weights are written as .safetensors, not {out.name!r}")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists; --overwrite replaces it")
    for source in sources:
        if not source.exists():
            raise InputError(f"there is no file or folder {source}")
    _check_folder(out.parent)


def _own_samples(sources: list[Path], labels: Path | None, image: Path | None, *, complete: bool) -> dict[str, Sample]:
    from napari_segany.batch.labelled_sources import paired_planes, session_planes
    from napari_segany.experiments.datasets import labelled_planes
    from napari_segany.training.data import Sample

    samples: dict[str, Sample] = {}
    for source in sources:
        if labels is not None:
            found = paired_planes(source, labels)
        elif source.is_dir():
            found = ((one.name, one.plane, one.labels) for one in labelled_planes(source))
        else:
            found = session_planes(source, image, confirmed=not complete)
        for name, plane, own in found:
            # planes of a stack are called NAME/NUMBER
            stack, _, number = name.rpartition("/")
            group = f"{source}/{stack if number.isdecimal() and stack else name}"
            samples[f"{source}/{name}"] = Sample(plane, (own.astype("int32"),), complete=complete, group=group)
    return samples


def _pictures(folder: Path) -> list[np.ndarray]:
    """All planes of the images in a folder and in its folders, (y, x, 3) uint8, without labels."""
    from napari_segany.io.images import PICTURES, TIFF, read_image

    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in (*TIFF, *PICTURES) and path.is_file() and not _is_truth(path.relative_to(folder))
    ]
    if not paths:
        raise InputError(f"{folder} holds no image, but for labels")
    stacks = (read_image(path).stack() for path in paths)
    return [stack.plane(number) for stack in stacks for number in range(len(stack))]


def _is_truth(path: Path) -> bool:
    """Whether a file is called as labels are, or hidden, or in such a folder."""
    parts = (*path.parts[:-1], path.stem)
    ending = path.stem.lower().rpartition("_")[2]
    return ending in _TRUTH or any(part.startswith(".") or part.lower().startswith(_TRUTH) for part in parts)


def _checked(config: str, data: Path, out: Path) -> Path:
    """The file of a configuration; refused when there are no data, or no place for what is made of them."""
    if not data.is_dir():
        raise InputError(f"there is no folder {data}")
    _check_folder(out)
    return _config(config)


def _config(name: str) -> Path:
    """A file of that name, or else a configuration of the package."""
    path = Path(name).expanduser()
    shipped = Path(__file__).parents[1] / "training" / "configs" / f"{name}.toml"
    return shipped if not path.is_file() and path.name == name and shipped.is_file() else path


def _check_folder(out: Path) -> None:
    """Refuse a folder that could not be made or written to, before the data are read."""
    nearest = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"cannot write to the folder {out}")
