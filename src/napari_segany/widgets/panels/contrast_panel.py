"""The model's input: the picture as the model gets it, and how to improve it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QImage, QPixmap, QShowEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QLabeledDoubleRangeSlider

from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import MEASURED, ChannelSettings, Limits, Stack
from napari_segany.layers.binding import Binding
from napari_segany.widgets.jobs import Jobs

SIDE = 160
"""Pixels of the longer side of the small picture."""
REST_MS = 300
"""How long a slider rests before the picture is encoded again."""
FEW = 8
"""Entries of an axis that may be channels."""
COLOURS = {"All colours": (), "Red only": (0,), "Green only": (1,), "Blue only": (2,)}


class ContrastPanel(QWidget):
    """A small picture of the model's input, its range, its channels, and whether it is inverted.

    Parameters
    ----------
    jobs : Jobs
        Reads planes off the window's thread.

    Attributes
    ----------
    changed : Signal
        Emitted with the :class:`ChannelSettings` that is wanted.
    """

    changed = Signal(object)

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._binding: Binding | None = None
        self._choices: list[ChannelSettings] = []
        self._shown: object = None
        self._picture = QLabel()
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._picture.setMinimumHeight(SIDE)
        self._range: Any = QLabeledDoubleRangeSlider(Qt.Orientation.Horizontal)
        self._range.setToolTip("The values that are black and white for the model; the layer's own contrast stays")
        self._range.setEdgeLabelMode(QLabeledDoubleRangeSlider.EdgeLabelMode.NoLabel)
        self._measured = QPushButton("Measured")
        self._measured.setToolTip("The range from the image's own values, one for all slices")
        self._displayed = QPushButton("As displayed")
        self._displayed.setToolTip("The contrast limits of the layer")
        self._channels = QComboBox()
        self._channels.setToolTip("Channels for the model, together as colours or a single one")
        self._channels.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._inverted = QCheckBox("Invert: bright becomes dark")
        self._inverted.setToolTip("Try it where objects are dark on bright ground and the masks are poor")
        self._lay_out()
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self._change)
        self._range.valueChanged.connect(self._moved)
        self._inverted.toggled.connect(self._rest.start)
        self._channels.activated.connect(self._rest.start)
        self._measured.clicked.connect(self._take_measured)
        self._displayed.clicked.connect(self._take_displayed)
        self.bind(None)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self._measured)
        buttons.addWidget(self._displayed)
        form = QFormLayout()
        form.addRow("Range", self._range)
        form.addRow("", buttons)
        form.addRow("Channels", self._channels)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("Input of the model:"))
        layout.addWidget(self._picture)
        layout.addLayout(form)
        layout.addWidget(self._inverted)

    def bind(self, binding: Binding | None) -> None:
        """Show another image."""
        self._binding = binding
        self._free = True
        self._shown = None
        self._rest.stop()
        self.setEnabled(binding is not None)
        self._picture.clear()
        if binding is not None:
            self._offer(binding.image)
            binding.moved.connect(self.refresh)
            self.refresh()

    def _offer(self, image: Image) -> None:
        """Which channels there are to choose from."""
        self._channels.clear()
        if image.rgb:
            choices = {name: ChannelSettings(channels=channels) for name, channels in COLOURS.items()}
        else:
            names = [str(name) for name in image.axis_labels]
            choices = {"As it is": MEASURED} | {
                f"Axis {names[axis]}: its entries as colours": ChannelSettings(together=axis)
                for axis, length in enumerate(image.level_shapes[0] if image.multiscale else image.data.shape)
                if length <= FEW and axis < image.ndim - 2
            }
        self._choices = list(choices.values())
        self._channels.addItems(list(choices))
        self._channels.setEnabled(len(choices) > 1)

    @property
    def chosen_settings(self) -> ChannelSettings:
        """The settings of the controls."""
        low, high = self._range.value()
        chosen = self._choices[max(self._channels.currentIndex(), 0)] if self._choices else MEASURED
        limits = None if self._free else (float(low), float(high))
        return replace(chosen, limits=limits, inverted=self._inverted.isChecked())

    def refresh(self) -> None:
        """Show the current plane, if the panel is visible."""
        view = self._binding.planes.shown if self._binding is not None else None
        if self._binding is None or view is None or not self.isVisible():
            return
        settings = self._binding.planes.settings
        if self._shown == (view, settings):
            return
        try:
            stack, number = self._binding.planes.stack(view)
        except SeganyError as error:
            self._picture.setText(str(error))
            return
        self._show_controls(settings)
        self._jobs.run(
            lambda: _small(stack, number),
            done=lambda found: self._show(found, (view, settings)),
            failed=self._failed,
            instead_of="picture",
        )

    def showEvent(self, event: QShowEvent) -> None:
        """Show changes that were made while the panel was hidden."""
        super().showEvent(event)
        self.refresh()

    def _show(self, found: tuple[np.ndarray, tuple[Limits, ...]], of: object) -> None:
        small, limits = found
        height, width, _ = small.shape
        image = QImage(small.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        size = self._picture.contentsRect().width(), SIDE
        fitting = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        self._picture.setPixmap(QPixmap.fromImage(image).scaled(*size, *fitting))
        self._shown = of
        if self._free:
            self._set_range(min(low for low, _ in limits), max(high for _, high in limits))

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, SeganyError):
            # a defect of ours: napari shows it with its traceback
            raise error
        self._picture.setText(str(error))

    def _show_controls(self, settings: ChannelSettings) -> None:
        """Show the settings in use, which may come from an earlier session."""
        self._free = settings.limits is None
        if settings.limits is not None:
            self._set_range(*settings.limits)
        self._inverted.blockSignals(True)
        self._inverted.setChecked(settings.inverted)
        self._inverted.blockSignals(False)
        chosen = replace(settings, limits=None, inverted=False)
        if chosen in self._choices:
            self._channels.setCurrentIndex(self._choices.index(chosen))

    def _set_range(self, low: float, high: float) -> None:
        """Set the slider; emits no signal."""
        limits = self._binding.image.contrast_limits_range if self._binding is not None else (low, high)
        bottom, top = min(low, limits[0]), max(high, limits[1])
        self._range.blockSignals(True)
        self._range.setRange(bottom, top if top > bottom else bottom + 1)
        span = max(top - bottom, 1e-12)
        self._range.setDecimals(max(0, 3 - math.floor(math.log10(span))))
        self._range.setValue((low, high))
        self._range.blockSignals(False)

    def _moved(self) -> None:
        """Somebody chose a range."""
        self._free = False
        self._rest.start()

    def _change(self) -> None:
        if self._binding is not None:
            self.changed.emit(self.chosen_settings)

    def _take_measured(self) -> None:
        self._free = True
        self._change()

    def _take_displayed(self) -> None:
        if self._binding is not None:
            self._free = False
            self._set_range(*self._binding.image.contrast_limits)
            self._change()


def _small(stack: Stack, number: int) -> tuple[np.ndarray, tuple[Limits, ...]]:
    """A plane, (y, x, 3) uint8, of about ``SIDE`` pixels, and the limits of its channels; runs in the worker."""
    plane = stack.plane(number)
    step = max(1, max(plane.shape[:2]) // SIDE)
    return np.ascontiguousarray(plane[::step, ::step]), stack.limits
