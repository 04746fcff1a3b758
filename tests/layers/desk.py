"""A viewer without a window, whose requests are answered at once."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_segany.engine.prediction import PredictionService
from napari_segany.layers.binding import Binding
from napari_segany.layers.prompt_marks import read_marks
from napari_segany.layers.read import SIGN
from napari_segany.session.events import Event
from napari_segany.session.session import SegmentRequest, Session
from tests.fakes import FakeSegmenter


class Desk:
    """A viewer, a session and a segmenter; that of the tests paints discs."""

    def __init__(
        self,
        image: np.ndarray,
        labels: np.ndarray | None = None,
        session: Session | None = None,
        answers: PredictionService | None = None,
        **options: object,
    ) -> None:
        self.viewer = ViewerModel()
        self.image = self.viewer.add_layer(Image(image, **options))
        given = None if labels is None else self.viewer.add_layer(Labels(labels))
        self.session = session or Session()
        self.events: list[Event] = []
        self.session.happened.connect(self.events.append)
        self.answers = answers or PredictionService(lambda: FakeSegmenter(radius=3))
        self.asked: list[SegmentRequest] = []
        self.late = False
        self.problems: list[str] = []
        self.binding = Binding(self.viewer, self.session, self.image, given)
        self.binding.problem.connect(self.problems.append)
        self.session.requested.connect(self._ask)

    def _ask(self, request: SegmentRequest) -> None:
        self.asked.append(request)
        if not self.late:
            self.answer(request)

    def answer(self, request: SegmentRequest) -> bool:
        return self.session.accept(self.answers.answer(*self.binding.planes.stack(request.plane), request))

    def click(self, *place: float, positive: bool = True) -> None:
        self.binding.points.feature_defaults = {SIGN: "positive" if positive else "negative"}
        self.binding.points.add(place)

    @property
    def labels(self) -> np.ndarray:
        return self.binding.labels.data

    @property
    def steps(self) -> int:
        return len(self.session.history)

    def state(self) -> tuple:
        """All that undo has to bring back, to the byte."""
        labels = self.binding.labels
        shown = (self.binding.labels.data.tobytes(), labels.data.dtype.str) if labels is not None else ()
        tables = [layer.features.to_dict("list") for layer in (self.binding.points, self.binding.shapes)]
        kinds = [layer.features.dtypes.to_dict() for layer in (self.binding.points, self.binding.shapes)]
        data = self.binding.points.data.tobytes(), [shape.tobytes() for shape in self.binding.shapes.data]
        marks = read_marks(self.binding.points), read_marks(self.binding.shapes)
        return shown, tables, kinds, data, list(self.binding.shapes.shape_type), marks

    def preview(self) -> bytes:
        """What is previewed."""
        mask = self.session.mask
        return b"" if mask is None else mask.pixels.tobytes() + mask.logits.tobytes()
