"""Names that a model knows without examples: from the vectors of masks to names with probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

OTHER = "other"
"""The name of what is nothing of the names that a model knows."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownClasses:
    """Names that a model knows without examples, from the vectors that it makes of masks.

    Parameters
    ----------
    names : tuple of str
        The last is ``OTHER``: nothing of these.
    weights, bias : ndarray
        (d, names) and (names,): from vectors to the logarithms of the probabilities, up to a constant.
    least : float
        Probability below which no name is given.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    bias: np.ndarray
    least: float = 0.5

    def __eq__(self, other: object) -> bool:
        """Whether the same names are told apart by the same numbers."""
        return isinstance(other, KnownClasses) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)

    @property
    def _values(self) -> tuple[object, ...]:
        return self.names, self.weights.tobytes(), self.bias.tobytes(), self.least

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Return the probability of each name for each object, (n, names)."""
        found: np.ndarray = scipy.special.softmax(vectors @ self.weights + self.bias, axis=1)
        return found

    def suggest(self, vectors: np.ndarray) -> list[tuple[str, float]]:
        """Return the most probable name of each object, and its probability; no name below `least`."""
        rows = self.probabilities(vectors)
        best = [(self.names[int(row.argmax())], float(row.max())) for row in rows]
        return [(name if probability >= self.least else "", probability) for name, probability in best]
