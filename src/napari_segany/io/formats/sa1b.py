"""Objects as the JSON of the SA-1B data set. Here (y, x) becomes its (x, y)."""

from __future__ import annotations

from pathlib import Path

from napari_segany.core.errors import InputError
from napari_segany.io.formats.json_values import finite, write_json, xy_places
from napari_segany.io.formats.labelled_image import LabelledImage
from napari_segany.io.formats.rle import to_rle


def write_sa1b(image: LabelledImage, path: Path, *, image_id: int = 1) -> None:
    """Write masks as the SA-1B data set does; "id" is the label, what is not known is null, "crop_box" the whole plane.

    https://github.com/facebookresearch/segment-anything#dataset

    Parameters
    ----------
    image : LabelledImage
        Of one plane.
    path : Path
        Where to.
    image_id : int
        Number of the image in its set.

    Raises
    ------
    InputError
        When the labels have more than one plane's axes.
    """
    if image.axes != "yx":
        raise InputError(f"SA-1B describes single planes, not labels with the axes {image.axes}; COCO takes them")
    height, width = image.plane_shape
    annotations = [
        {
            "id": piece.about.label,
            "segmentation": to_rle(piece.mask, corner=piece.corner, shape=image.plane_shape),
            "bbox": piece.box,
            "area": piece.area,
            "predicted_iou": finite(piece.about.score),
            "stability_score": finite(piece.about.stability),
            "crop_box": [0, 0, width, height],
            "point_coords": xy_places(piece.about),
        }
        for piece in image.pieces()
    ]
    about = {"image_id": image_id, "width": width, "height": height, "file_name": image.name}
    write_json(path, {"image": about, "annotations": annotations})
