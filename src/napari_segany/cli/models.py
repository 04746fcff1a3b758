"""``napari-segany models …``: which models there are, and whether one works."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_segany.cli.shared import DeviceOption, new_app, show_download, table

if TYPE_CHECKING:
    from napari_segany.models.registry import ModelSpec
    from napari_segany.training.generations import Generation

models = new_app(help="Which models there are, and whether one works.")


@models.command("list")
def list_models() -> None:
    """List the models that are known by name, the text heads that fit them, and what those learned that you trained."""
    from napari_segany.models.registry import list_models
    from napari_segany.training.generations import generations

    rows = [
        (spec.name, spec.size, "yes" if spec.installed else "", spec.domain, spec.licence, _heads_of(spec))
        for spec in list_models()
    ]
    typer.echo(table([("model", "size", "here", "made for", "licence", "text heads"), *rows]))
    own = [_generation_row(one) for one in generations()]
    if own:
        columns = ("your model", "made", "parent", "masks", "one click", "share", "synthetic", "note")
        typer.echo(f"\n{table([columns, *own])}")


def _heads_of(spec: ModelSpec) -> str:
    """Which text heads a model can be used with; empty where there are none."""
    from napari_segany.models.registry import own_heads_folder

    embedded = ["in the package"] if spec.embedded else []
    if not own_heads_folder().is_dir():  # (what reads them imports torch)
        return ", ".join(embedded)
    from napari_segany.models.text.own_heads import own_heads

    return ", ".join([*embedded, *own_heads(spec.name)])


def _generation_row(one: Generation) -> tuple[str, ...]:
    """What is known of a model of the user's own, in the columns of `models list`."""
    day, told = f"{one.made.astimezone():%Y-%m-%d %H:%M}", one.report
    if told is None:
        return (one.name, day, *[""] * 6)
    synthetic = f"{told.gauge_before:.2f} → {told.gauge_after:.2f}"
    return (one.name, day, told.parent, str(told.masks), one.scores, f"{told.alpha:g}", synthetic, told.note)


@models.command("info")
def model_info(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Name of a model, or a text head of `train text`.")],
) -> None:
    """Print the facts about a model, about `tiny-text` (the text prompts in the package), or about a text head."""
    from napari_segany.models.availability import why_not
    from napari_segany.models.registry import EXPECTED_IOU, find
    from napari_segany.training.generations import generations

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
    why = why_not(spec)
    rows["now"] = f"cannot be used: it {why}" if why else ""
    own = next((one for one in generations() if spec.own and one.name == spec.name), None)
    if own is not None:
        rows |= {"learned": own.description, "note": own.report.note if own.report is not None else ""}
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


@models.command("export")
def export_model(
    model: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Name of a model, or a checkpoint.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The zip file; it must not exist.")],
    title: Annotated[str, typer.Option(help="What the package is called; by default as the model.")] = "",
    description: Annotated[str, typer.Option(help="What it segments, in a sentence.")] = "",
    author: Annotated[list[str] | None, typer.Option(help="Your name; several times for several authors.")] = None,
    licence: Annotated[str, typer.Option(help="SPDX identifier of its licence, such as CC-BY-4.0.")] = "",
) -> None:
    """Write a model as a package of the BioImage Model Zoo (bioimage.io), checked by the zoo's library.

    The package has the weights, an image, points and masks to test with, and all settings. Texts are left out. What the
    zoo would like to know besides is printed.
    """
    from napari_segany import sample_data
    from napari_segany.core.planes import Stack
    from napari_segany.models.zoo_package import PackageFacts, export_package

    (image, _, _), (truth, _, _) = sample_data.nuclei()
    facts = PackageFacts(
        title or f"{Path(model).stem} of napari-segany",
        description or "Objects from points.",
        tuple(author or ()),
        licence,
    )
    for warning in export_package(model, out, facts, Stack(image).plane(0), truth):
        typer.echo(f"the zoo's checks: {warning}")
    typer.echo(f"wrote {out}")


@models.command("import")
def import_model(
    package: Annotated[
        Path, typer.Argument(metavar="FILE", help="Zip file of bioimage.io or a folder of one; or a text head.")
    ],
    name: Annotated[str, typer.Option(help="What it is called here; by default as the file.")] = "",
) -> None:
    """Add the model in a package of the BioImage Model Zoo (bioimage.io), or a text head, to your own models.

    A text head is a file that `train text` wrote. The model that it was trained for takes texts from then on, and
    --text-head NAME chooses it.
    """
    if package.suffix == ".safetensors" and package.is_file():
        from napari_segany.models.text.own_heads import add_head

        typer.echo(f"added {add_head(package, name or package.stem).stem}; use it with --text-head")
        return
    from napari_segany.models.zoo_package import import_package

    typer.echo(f"added {import_package(package, name or package.stem).name}; use it with --model or in the window")
