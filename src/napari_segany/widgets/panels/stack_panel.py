"""Propagation of objects to the other slices: which objects, direction, distance, and uncertain slices."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QPushButton, QSpinBox, QVBoxLayout, QWidget

FOLLOWED = ("The selected object", "All objects on this slice", "Find objects on every slice")
WAYS = {"Both directions": (True, True), "To higher slices": (True, False), "To lower slices": (False, True)}


class StackPanel(QWidget):
    """Settings and buttons of the propagation.

    Attributes
    ----------
    wanted, doubted, withdrawn, tracked : Signal
        Emitted when objects are to be propagated, when the next uncertain slice is to be shown, when the last
        propagation is to be undone, and when tracks are to be shown.
    """

    wanted = Signal()
    doubted = Signal()
    withdrawn = Signal()
    tracked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._objects = QComboBox()
        self._objects.addItems(FOLLOWED)
        self._objects.setCurrentIndex(1)
        self._objects.setToolTip(
            "The selected object: its row is selected in the table, or you kept it last. Find objects on every slice: "
            "objects that overlap from slice to slice get one label"
        )
        self._words = QLineEdit()
        self._words.setPlaceholderText("or name it: nuclei; bright cells")
        self._words.setToolTip("Find only objects of these names, as on the tab All")
        self._words.setClearButtonEnabled(True)
        self._way = QComboBox()
        self._way.addItems(list(WAYS))
        self._reach = QSpinBox()
        self._reach.setRange(0, 100_000)
        self._reach.setSpecialValueText("to the end")
        self._reach.setToolTip("How many slices away from this one, in each direction")
        self._follow = QPushButton("Track  (Shift+G)")
        self._follow.setToolTip("Find the objects on the next slices; existing labels there stay as they are")
        self._doubt = QPushButton("Next uncertain slice  (Shift+N)")
        self._doubt.setToolTip("Go to the slice on which an object is most uncertain, then to the next one")
        self._back = QPushButton("Undo tracking")
        self._back.setToolTip("Undo the last tracking, and all later changes")
        self._tracks = QPushButton("Show tracks")
        self._tracks.setToolTip("Show the path of each object through slices or time, as a Tracks layer")
        self._text = QLabel()
        self._text.setWordWrap(True)
        form = QFormLayout()
        form.addRow("Objects", self._objects)
        form.addRow("Named", self._words)
        form.addRow("Direction", self._way)
        form.addRow("Slices", self._reach)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        for widget in (self._follow, self._doubt, self._back, self._tracks, self._text):
            layout.addWidget(widget)
        self._follow.clicked.connect(self.wanted)
        self._doubt.clicked.connect(self.doubted)
        self._back.clicked.connect(self.withdrawn)
        self._tracks.clicked.connect(self.tracked)
        self._words.returnPressed.connect(self.wanted)
        self._objects.currentIndexChanged.connect(self._suit)
        self._suit()
        self.show_state("", uncertain=0, followed=False)

    def _suit(self) -> None:
        """Enable the controls that suit the choice of objects."""
        self._words.setEnabled(self.everything)
        self._follow.setText(f"{'Find' if self.everything else 'Track'}  (Shift+G)")

    @property
    def everything(self) -> bool:
        """Whether objects are found on every slice, and not propagated from this one."""
        return self._objects.currentIndex() == FOLLOWED.index("Find objects on every slice")

    @property
    def words(self) -> str:
        """Names of the objects to find; empty for all."""
        return self._words.text().strip() if self.everything else ""

    @property
    def all_objects(self) -> bool:
        """Whether all objects of the slice are propagated, not the selected one alone."""
        return self._objects.currentIndex() == 1

    @property
    def ways(self) -> tuple[bool, bool]:
        """Whether to go to higher and to lower slices."""
        return WAYS[self._way.currentText()]

    @property
    def reach(self) -> int:
        """How many slices away; 0 for all."""
        return self._reach.value()

    @property
    def text(self) -> str:
        """The text below the buttons."""
        return self._text.text()

    def show_state(self, text: str, *, uncertain: int, followed: bool) -> None:
        """Show a text; how many slices are uncertain, and whether something can be undone."""
        self._text.setText(text)
        self._doubt.setEnabled(uncertain > 0)
        self._back.setEnabled(followed)
