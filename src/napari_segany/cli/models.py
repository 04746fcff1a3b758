"""``napari-segany models …``: which models there are."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_segany.cli.shared import new_app, table

models = new_app(help="Which models there are.")


@models.command("list")
def list_models() -> None:
    """List the models that are known by name."""
    from napari_segany.models.registry import list_models

    rows = [(spec.name, spec.size, spec.domain, spec.licence) for spec in list_models()]
    typer.echo(table([("model", "size", "made for", "licence"), *rows]))


@models.command("info")
def model_info(name: Annotated[str, typer.Argument(help="Name of a model.")]) -> None:
    """Tell all that is known of one model, or of `tiny-text`, the text prompts in the package."""
    from napari_segany.models.registry import find

    if name == "tiny-text":
        from napari_segany.models.texts import about_embedded

        typer.echo(table([(f"{key}:", value) for key, value in about_embedded().items()]))
        return
    spec = find(name)
    rows = {
        "model": spec.name,
        "architecture": spec.architecture,
        "made for": spec.domain,
        "size": spec.size,
        "licence": spec.licence,
        "cite": spec.citation,
        "published": spec.url or "with this package",
        "hash": spec.hash or "",
        "file": f"{spec.path} ({'there' if spec.path.is_file() else 'not there yet'})",
    }
    typer.echo(table([(f"{key}:", value) for key, value in rows.items() if value]))
