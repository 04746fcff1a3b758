"""``napari-segany models …``: which models there are, and whether one works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segany.cli.shared import DeviceOption, new_app, show_download, table

models = new_app(help="Which models there are, and whether one works.")


@models.command("list")
def list_models() -> None:
    """List the models that are known by name."""
    from napari_segany.models.registry import list_models

    rows = [
        (spec.name, spec.size, "yes" if spec.installed else "", spec.domain, spec.licence) for spec in list_models()
    ]
    typer.echo(table([("model", "size", "here", "made for", "licence"), *rows]))


@models.command("info")
def model_info(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Name of a model, or a text head of `train text`.")],
) -> None:
    """Print the facts about a model, about `tiny-text` (the text prompts in the package), or about a text head."""
    from napari_segany.models.registry import EXPECTED_IOU, find

    if name == "tiny-text":
        from napari_segany.models.text.text_prompter import embedded_info

        typer.echo(table([(f"{key}:", value) for key, value in embedded_info().items()]))
        return
    if name.endswith(".safetensors") and Path(name).expanduser().is_file():
        from napari_segany.models.text.text_prompter import head_info

        facts = head_info(Path(name).expanduser())
        typer.echo(table([(f"{key}:", value) for key, value in facts.items()]))
        return
    spec = find(name)
    rows = {
        "model": spec.name,
        "architecture": spec.architecture,
        "made for": spec.domain,
        "size": spec.size,
        "licence": spec.licence,
        "cite": spec.citation,
        "published": spec.url or spec.package or ("" if spec.own else "with this package"),
        "hash": spec.hash or ("not verified: the publisher states none" if spec.hub else ""),
        "expected": expected(EXPECTED_IOU.get(spec.name)),
        "folder" if spec.folder else "file": ""
        if spec.package
        else f"{spec.path} ({'there' if spec.installed else 'not there yet'})",
    }
    typer.echo(table([(f"{key}:", value) for key, value in rows.items() if value]))


def expected(bound: float | None) -> str:
    """What `models check` should find at least, in words; empty where nothing is expected."""
    if bound is None:
        return ""
    return f"`models check` finds an IoU of {bound:.2f} or more; a cautious bound, not yet run on the published file"


@models.command("check")
def check_model(
    model: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="Name of a model, downloaded if need be, or a checkpoint.")
    ],
    device: DeviceOption = "auto",
) -> None:
    """Check that a model can be used: its file, its weights, and one click on the sample image of nuclei.

    Prints the architecture, whether all weights fit, which published file it is by its hash, the time for the sample,
    and the IoU of the clicked nucleus with its known truth. Of vit_b, vit_t and vit_b_lm an IoU of 0.5 or more is
    expected; this was not tested with the published files. Exit status 2 and one line: it cannot be used.
    """
    from napari_segany import sample_data
    from napari_segany.core.planes import Stack
    from napari_segany.models import weight_check
    from napari_segany.models.registry import find

    (image, _, _), (truth, _, _) = sample_data.nuclei()
    found = weight_check.check_model(model, Stack(image).plane(0), truth, device, show_download)
    published = "that of no published model"
    if found.published:
        embedded = find(found.published).embedded
        published = "of the file in the package" if embedded else f"that of the published {found.published}"
    rows = {
        "file": str(found.path),
        "architecture": found.architecture,
        "weights": f"{found.weights}, all of them fit",
        "hash": f"xxh128:{found.digest}, {published}",
        "encoding": f"{found.encoding:.2f} s for the sample of 512 x 512 pixels",
        "click": f"{found.click:.3f} s",
        "IoU": f"{found.iou:.3f} with the truth; {found.best:.3f} for the best of the candidates",
        "expected": expected(found.expected),
    }
    typer.echo(table([(f"{key}:", value) for key, value in rows.items() if value]))
    if not found.as_expected:
        typer.echo(f"napari-segany: the IoU is lower than what is expected of {found.published}", err=True)
