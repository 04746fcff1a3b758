"""``napari-segany engine``: learns from what was annotated in a folder, and segments its other images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_segany.cli.shared import JsonProgressOption, ShownStages
from napari_segany.core.errors import InputError

if TYPE_CHECKING:
    from napari_segany.batch.labelled_sources import NamedPlane
    from napari_segany.models.registry import ModelSpec
    from napari_segany.training.data import Sample

LISTED = 5
"""Images that are named at the end, the least certain first."""


def engine(
    images: Annotated[Path, typer.Argument(help="Folder of images, some of which were annotated in the window.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder for the labels, a folder in it for each model.")],
    name: Annotated[str, typer.Option(help="What the models are called: NAME-1, NAME-2 and so on.")] = "folder",
    json_progress: JsonProgressOption = False,
) -> None:
    """Learn from the images of a folder that were annotated in the window, and segment all others.

    Each call is a round: a model is fine-tuned on all objects that were made, corrected or accepted in the sessions of
    these images, where there are more of them than the last time; it is used if it is better on objects that are held
    out. The images without a session are segmented with the latest model, and listed in review.csv, the least certain
    first: open these, correct them, and call it again. A round that was stopped goes on where it stopped.
    """
    if not images.is_dir():
        raise InputError(f"{images} is no folder of images")
    from napari_segany.batch.data_engine import session_images

    shown = ShownStages(as_json=json_progress)
    annotated = session_images(images)
    if not annotated:
        raise InputError(
            f"no image in {images} has been annotated yet: open one in the window, segment some objects, and try again"
        )
    model = _latest_model(annotated, name, out, shown)
    _segment_others(images, out, model, frozenset(annotated), shown)


def _latest_model(annotated: dict[Path, list[NamedPlane]], name: str, out: Path, shown: ShownStages) -> str:
    """The model of this round: a new one where there is more to learn from and it is better, else the last one."""
    from napari_segany.batch.data_engine import Round, last_round, write_round
    from napari_segany.models.registry import find, new_own_model
    from napari_segany.training.generations import latest_generation
    from napari_segany.training.held_out import count_masks

    samples = _samples(annotated)
    masks, before = sum(map(count_masks, samples.values())), last_round(out)
    number, last = latest_generation(name)
    current = "tiny" if last is None else last.name
    if before is not None and before.masks >= masks and before.model == current:
        typer.echo(f"nothing was added since the last round; {current} is used again")
        return current
    made = new_own_model(f"{name}-{number + 1}")
    model = find(made.name).name if _improved(samples, made, shown) else current
    write_round(out, Round(masks, model))
    return model


def _improved(samples: dict[str, Sample], made: ModelSpec, shown: ShownStages) -> bool:
    """Fine-tune, tell the result, and return whether there is a new model."""
    from napari_segany.training.fine_tune import FineTuneConfig, fine_tune

    report = None
    for progress in fine_tune(samples, made.path, FineTuneConfig(name=made.name)):
        shown(progress.stage, progress.done, progress.total, progress.seconds_left)
        report = progress.report
    if report is None:
        raise RuntimeError("fine-tuning ended without a report")
    typer.echo(report.sentence)
    typer.echo(report.gauge_sentence)
    return report.accepted


def _samples(annotated: dict[Path, list[NamedPlane]]) -> dict[str, Sample]:
    from napari_segany.training.data import Sample

    return {
        f"{image.name}/{name}": Sample(plane, (labels.astype("int32"),), complete=False, group=image.name)
        for image, planes in annotated.items()
        for name, plane, labels in planes
    }


def _segment_others(images: Path, out: Path, model: str, annotated: frozenset[Path], shown: ShownStages) -> None:
    """Segment the images that the user did not annotate, and say which ones to look at first."""
    from napari_segany.batch.data_engine import REVIEW, review_order, write_review
    from napari_segany.batch.segment_folder import FolderJob, images_of, segment_folder_files
    from napari_segany.models.loading import load_segmenter

    others = {image: name for image, name in images_of(images).items() if image not in annotated}
    typer.echo(f"{len(annotated)} of {len(annotated) + len(others)} images were annotated")
    if not others:
        return
    place = out / model
    job = FolderJob(images, place, None, {}, skipped=annotated)
    shown("segment", 0, len(others), float("nan"))
    problems = []
    for done, report in enumerate(segment_folder_files(job, lambda: load_segmenter(model)), start=1):
        shown("segment", done, len(others), float("nan"))
        problems += [f"{report.image}: {report.problem}"] if report.problem else []
    order = review_order(others, place)
    write_review(order, place / REVIEW)
    typer.echo(f"segmented {len(order)} images with {model} into {place}")
    typer.echo("least certain: " + ", ".join(one.image.name for one in order[:LISTED]))
    for problem in problems:
        typer.echo(f"napari-segany: {problem}", err=True)
