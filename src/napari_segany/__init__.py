"""Segment anything in napari: click, box or describe an object and get its mask.

The names below are what scripts need; each is imported on first use, so that importing the package is fast and torch is
not imported before a model is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_segany.batch.found_objects import FoundObjects, find_objects
    from napari_segany.batch.segment_folder import segment_folder
    from napari_segany.batch.segment_image import segment_image
    from napari_segany.core.masks import Mask
    from napari_segany.core.objects import ObjectInfo
    from napari_segany.core.planes import Stack
    from napari_segany.core.prompts import Box, Point, Prompt
    from napari_segany.core.propagate import propagate
    from napari_segany.core.query import Query
    from napari_segany.core.segmenter import ImageEmbedding, Segmenter
    from napari_segany.models.loading import load_segmenter
    from napari_segany.training.fine_tune import fine_tune

    __version__: str

__all__ = [
    "Box",
    "FoundObjects",
    "ImageEmbedding",
    "Mask",
    "ObjectInfo",
    "Point",
    "Prompt",
    "Query",
    "Segmenter",
    "Stack",
    "find_objects",
    "fine_tune",
    "load_segmenter",
    "propagate",
    "segment_folder",
    "segment_image",
]

_HOMES = {
    "Box": "core.prompts",
    "FoundObjects": "batch.found_objects",
    "ImageEmbedding": "core.segmenter",
    "Mask": "core.masks",
    "ObjectInfo": "core.objects",
    "Point": "core.prompts",
    "Prompt": "core.prompts",
    "Query": "core.query",
    "Segmenter": "core.segmenter",
    "Stack": "core.planes",
    "find_objects": "batch.found_objects",
    "fine_tune": "training.fine_tune",
    "load_segmenter": "models.loading",
    "propagate": "core.propagate",
    "segment_folder": "batch.segment_folder",
    "segment_image": "batch.segment_image",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def _version() -> str:
    """The version that was installed; a checkout that was not has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("napari-segany")
    except PackageNotFoundError:
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
