"""SAM and its successors as `transformers` has them: which class a folder needs, and what it does to a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from napari_segany.core.filters import Filters

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of R, G and B from 0 to 1, of ImageNet."""
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class SamFamily:
    """One generation of models.

    Parameters
    ----------
    title : str
        Its name, as users know it.
    image_class : str
        Class of `transformers` that takes points, boxes and masks on a picture.
    video_class : str
        Class that follows objects by a memory, where the family has one.
    stretched : bool
        See :class:`~napari_segany.models.geometry.Frame`.
    mean, deviation : tuple of float
        Of R, G and B from 0 to 1, where the folder has no ``preprocessor_config.json``.
    filters : Filters
        Which automatic masks pass, by default as the authors choose.
    """

    title: str
    image_class: str
    video_class: str = ""
    stretched: bool = True
    mean: tuple[float, ...] = IMAGENET[0]
    deviation: tuple[float, ...] = IMAGENET[1]
    filters: Filters = field(default_factory=lambda: Filters(score=0.8))


_SAM2 = SamFamily("SAM 2", "Sam2Model", "Sam2VideoModel")
_EDGETAM = SamFamily("EdgeTAM", "EdgeTamModel", "EdgeTamVideoModel")
_SAM3 = SamFamily("SAM 3", "Sam3TrackerModel", "Sam3TrackerVideoModel", mean=HALF[0], deviation=HALF[1])

FAMILIES: Mapping[str, SamFamily] = {
    "sam": SamFamily("SAM", "SamModel", stretched=False, filters=Filters()),
    "sam_hq": SamFamily("SAM-HQ", "SamHQModel", stretched=False, filters=Filters()),
    "sam2": _SAM2,
    "sam2_video": _SAM2,
    "edgetam": _EDGETAM,
    "edgetam_video": _EDGETAM,
    "sam3_tracker": _SAM3,
    "sam3_tracker_video": _SAM3,
    "sam3_video": _SAM3,
    "sam3": SamFamily("SAM 3", "Sam3Model", mean=HALF[0], deviation=HALF[1]),
}
"""By the ``model_type`` in ``config.json``."""
WITH_DETECTOR = "sam3_video"
"""The ``model_type`` of folders whose weights include the detector of SAM 3, next to its tracker."""
DETECTOR = "sam3"
"""The ``model_type`` of folders with the detector of SAM 3 alone."""
MEMORY = "_video"
"""End of the ``model_type`` of folders whose weights include a memory."""
