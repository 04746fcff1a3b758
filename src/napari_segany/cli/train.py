"""``napari-segany train …``: trains a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from napari_segany.cli.shared import DeviceOption, ShownProgress, new_app
from napari_segany.core.errors import InputError

train = new_app(help="Train a model.")


SourcesOption = Annotated[Path, typer.Option(help="Folder that holds one folder per training source.")]

RunOption = Annotated[
    Path, typer.Option("--out", help="Where checkpoint, log and weights go; a checkpoint there is resumed.")
]


@train.command()
def sam(
    config: Annotated[str, typer.Argument(help="TOML file, or `tiny` for the one that the embedded model came from.")],
    data: SourcesOption,
    out: RunOption,
    device: DeviceOption = "auto",
) -> None:
    """Train a model by simulated clicks and boxes."""
    path = _checked(config, data, out)
    from napari_segany.models.device import pick_device
    from napari_segany.training.train_sam import train_sam

    typer.echo(f"wrote {train_sam(path, data, out, pick_device(device))}")


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
