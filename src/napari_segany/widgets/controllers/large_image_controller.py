"""Works on large images region by region: layers for one, and its labels to the file of all as they change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Signal

from napari_segany.core.errors import InputError
from napari_segany.engine.windowed_labels import WindowedLabels, windowed_labels_path
from napari_segany.io.ome_zarr import Layout
from napari_segany.layers.binding import Binding
from napari_segany.layers.read import image_array, image_shape
from napari_segany.layers.region import cut_out, is_too_large, labels_of_region, overview, region_shown
from napari_segany.layers.removal import remove_layer
from napari_segany.session.fingerprint import sample_fingerprint
from napari_segany.session.history import Window
from napari_segany.widgets.jobs import Jobs


@dataclass(frozen=True, slots=True, eq=False)
class OpenRegion:
    """A part of a large image as layers, the file that its labels go to, and the layer that shows all of them."""

    whole: Image
    window: Window
    image: Image
    labels: Labels
    file: WindowedLabels
    overview: Labels


class LargeImageController(QObject):
    """Makes the layers of a region, and writes what is painted in it.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.
    parent : QObject
        Owns this object.

    Attributes
    ----------
    opened : Signal
        Emitted with a :class:`Region` that is there to be worked on.
    failed : Signal
        Emitted with the exception of work that failed.
    """

    opened = Signal(object)
    failed = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        # its own worker: what the user cancels must not be what saves the labels
        self._files = Jobs(self)
        self._binding: Binding | None = None
        self._written = 0
        self.region: OpenRegion | None = None

    def bind(self, binding: Binding | None) -> None:
        """Keep masks in the labels of a region, when the image is one, and write what changes in them."""
        if self._binding is not None:
            self._binding.recorder.repainted.disconnect(self._write)
        self._binding = binding
        if binding is not None:
            binding.recorder.repainted.connect(self._write)
            region = self.region
            if region is not None and binding.image is region.image and region.labels in self._viewer.layers:
                binding.set_labels(region.labels)
                binding.session.begin_at(max(binding.session.label, region.file.highest + 1))

    def concerns(self, image: Image | None) -> bool:
        """Whether an image is worked on in regions, or is a region of one."""
        of_region = self.region is not None and image is self.region.image
        return image is not None and (of_region or is_too_large(image))

    def open(self, image: Image) -> None:
        """Read the labels around the middle of what is shown, and make layers for that region."""
        whole = self.region.whole if self.region is not None and image is self.region.image else image
        window, written, before = region_shown(whole, self._viewer), self._written, self.region

        def read() -> tuple[WindowedLabels, np.ndarray]:
            if before is not None:
                # what was painted while another image was in use
                before.file.update(before.window, before.labels.data)
            file = _file_of(whole)
            return file, file.read(window)

        def done(found: tuple[WindowedLabels, np.ndarray]) -> None:
            if self._written == written:
                self._show(whole, window, found)
            else:
                # something was painted meanwhile, and may lie in the new region too
                self.open(whole)

        # after all that is still to be written, for the same worker does both
        self._files.run(read, done=done, failed=self.failed.emit, instead_of="read")

    def _show(self, whole: Image, window: Window, found: tuple[WindowedLabels, np.ndarray]) -> None:
        if whole not in self._viewer.layers:
            return
        file, labels = found
        before, self.region = self.region, None
        if before is not None and before.whole is whole and before.overview in self._viewer.layers:
            shown = before.overview
        else:
            shown = self._viewer.add_layer(overview(whole, file.levels))
        image, painted = cut_out(whole, window), labels_of_region(whole, window, labels)
        self.region = OpenRegion(whole, window, image, painted, file, shown)
        self._viewer.add_layer(image)
        self._viewer.add_layer(painted)
        self.opened.emit(self.region)
        for layer in () if before is None else (before.image, before.labels):
            remove_layer(self._viewer, layer)

    def _write(self, layer: Labels, window: Window) -> None:
        region = self.region
        if region is None or layer is not region.labels:
            return
        self._written += 1
        values = layer.data[window].copy()
        place = tuple(slice(a.start + b.start, a.stop + b.start) for a, b in zip(window, region.window, strict=True))
        self._files.run(
            partial(region.file.write, place, values),
            done=lambda _: region.overview.refresh(),
            failed=self.failed.emit,
        )

    def close(self) -> None:
        """Let the worker end when all is written."""
        self._files.end()


def _file_of(image: Image) -> WindowedLabels:
    """The file of all labels of an image; runs in the worker."""
    path, shape = str(image.source.path or ""), image_shape(image)
    if len(shape) > 4:
        raise InputError(f"an image of {len(shape)} axes is too large to be worked on in regions; choose a part of it")
    known_by = sample_fingerprint(image_array(image)).name
    axes = "tzyx"[-len(shape) :]
    layout = Layout(shape, np.dtype(np.uint32), axes, tuple(float(step) for step in image.scale))
    return WindowedLabels(windowed_labels_path(path, known_by), layout)
