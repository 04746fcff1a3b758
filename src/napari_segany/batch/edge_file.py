"""From an image file to a file of its edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from napari_segany.core.arguments import as_path
from napari_segany.core.errors import InputError
from napari_segany.core.segmenter import Segmenter
from napari_segany.engine.edges import edge_map
from napari_segany.io.images import FilePlanes, read_image, reading
from napari_segany.io.labels import TIFF, check_output, replacing
from napari_segany.io.tiff_writer import write_tiff


def edges_of_file(
    image: str | Path,
    out: str | Path,
    load: Callable[[], Segmenter],
    *,
    overwrite: bool = False,
    inputs: Iterable[Path] = (),
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write how strong the edge at each pixel of an image is, plane by plane.

    The edges are those of :func:`~napari_segany.engine.edges.edge_map`.

    Parameters
    ----------
    image : str or Path
        Anything that :func:`~napari_segany.io.images.read_image` reads.
    out : str or Path
        A TIFF file, (..., y, x) float32 from 0 to 1, with the distances of pixels of the image.
    load : callable
        Makes the segmenter; called after all else is checked.
    overwrite : bool
        Whether an existing file is replaced.
    inputs : iterable of Path
        Other files that must not be replaced.
    progress : callable, optional
        Called with the number of planes done.

    Raises
    ------
    InputError
        The image cannot be read, or the file cannot be written; nothing is written then.
    ModelError
        From `load`.
    """
    image, out = as_path(image, "image"), as_path(out, "out")
    if out.suffix.lower() not in TIFF:
        raise InputError(f"edges are written to {', '.join(TIFF)}, not to {out.name}")
    check_output(out, overwrite=overwrite, inputs=(image, *inputs))
    file = read_image(image)
    with reading(image):
        stack = file.stack()
    planes, segmenter = FilePlanes(image, stack), load()
    found = np.zeros((len(stack), *stack.plane_shape), np.float32)
    for number in range(len(stack)):
        found[number] = edge_map(segmenter, planes.plane(number))
        if progress is not None:
            progress(number + 1)
    with replacing(out) as temporary:
        shape = (*stack.shape, *stack.plane_shape)
        write_tiff(temporary, found.reshape(shape), file.label_axes, file.label_calibration)
    return out
