"""A round of the data engine on a folder (Kirillov et al. 2023, section 4): what was annotated, and what comes next.

The images whose sessions hold confirmed objects are learned from, all others are segmented, and those whose masks the
model is least sure of come first when the user goes on.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from napari_segany.batch.labelled_sources import NamedPlane, session_planes
from napari_segany.batch.segment_folder import images_of
from napari_segany.core.errors import InputError
from napari_segany.engine.autosave import saved_sessions
from napari_segany.engine.session_files import session_files
from napari_segany.io.images import read_image, reading
from napari_segany.io.labels import replacing
from napari_segany.session.fingerprint import fingerprint_of, sample_fingerprint

REVIEW = "review.csv"
"""In the folder of a model's results: the images, the least certain first."""
ROUND = "round.json"
"""In the folder of all results: the last round."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round learned from, and the model that came of it or was kept.

    Parameters
    ----------
    masks : int
        How many there were.
    model : str
        Name of the model that the other images were segmented with.
    """

    masks: int
    model: str


def last_round(out: Path) -> Round | None:
    """The last round whose results lie in a folder; None where there is none that can be read."""
    try:
        return msgspec.json.decode((out / ROUND).read_bytes(), type=Round)
    except (OSError, msgspec.MsgspecError):
        return None


def write_round(out: Path, what: Round) -> None:
    """Note a round in the folder of its results, which is made if needed.

    Raises
    ------
    InputError
        The folder cannot be made or written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / ROUND) as temporary:
            temporary.write_bytes(msgspec.json.encode(what))
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class ImageCertainty:
    """How sure the model is of what it found in an image.

    Parameters
    ----------
    image : Path
        The image.
    objects : int
        How many it found.
    score : float
        Mean IoU that it predicts for them; NaN where it found none.
    least : float
        The lowest of them; NaN where it found none.
    """

    image: Path
    objects: int
    score: float
    least: float


def session_images(folder: Path) -> dict[Path, list[NamedPlane]]:
    """The images of a folder that the user annotated, each with the planes of its latest session that have objects.

    Images are recognised by their content, wherever they were when the session was recorded. Objects that the user
    neither made nor changed nor accepted do not count; images whose session cannot be read are left out.

    Raises
    ------
    InputError
        There is no image in the folder.
    """
    found = {}
    for image in images_of(folder):
        session = _latest_session(image)
        if session is None:
            continue
        try:
            planes = list(session_planes(session, image))
        except InputError:
            continue
        if planes:
            found[image] = planes
    return found


def _latest_session(image: Path) -> Path | None:
    """The file of the latest session of an image that holds objects."""
    try:
        with reading(image):
            array = read_image(image).array
            # reading all values of a large image takes long, and most images have no session
            if not session_files(sample_fingerprint(array), str(image)):
                return None
            sessions = saved_sessions(fingerprint_of(array), being_written=True, path=str(image))
    except InputError:
        return None
    return next((one.path for one in sessions if one.objects), None)


def review_order(images: Mapping[Path, str], out: Path) -> list[ImageCertainty]:
    """How sure the model is of each image that was segmented into a folder, the least certain first.

    Images in which nothing was found come first of all. Those without a table of objects in `out` are left out.

    Parameters
    ----------
    images : mapping of Path to str
        Images, and the names of their results, see :func:`~napari_segany.batch.segment_folder.images_of`.
    out : Path
        Folder of the results, with ``NAME_objects.csv``.
    """
    found = [_certainty(image, out / f"{name}_objects.csv") for image, name in images.items()]
    return sorted(filter(None, found), key=lambda one: (one.objects > 0, one.score))


def _certainty(image: Path, table: Path) -> ImageCertainty | None:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            scores = [row["score"] for row in csv.DictReader(file)]
        known = [float(score) for score in scores if score]
    except (OSError, KeyError, ValueError):
        return None
    if not known:
        return ImageCertainty(image, len(scores), math.nan, math.nan)
    return ImageCertainty(image, len(scores), sum(known) / len(known), min(known))


def write_review(order: Iterable[ImageCertainty], path: Path) -> None:
    """Write a table of images, objects and scores; an earlier one is replaced."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "objects", "mean score", "lowest score"])
        for one in order:
            scores = ["" if math.isnan(value) else f"{value:.3f}" for value in (one.score, one.least)]
            writer.writerow([one.image.name, one.objects, *scores])
