"""The latest pictures that a version has answered, as features and scores in a fixed amount of memory."""

import threading

import numpy as np
import numpy.typing as npt

from kt.drift import Observed, Reference


class Window:
    """Keeps what a model says of its latest `size` pictures, to be compared with a reference. Safe for threads.

    The memory is taken at once: 2 bytes for each feature and 4 for each score. The pictures themselves are not kept.
    """

    def __init__(self, reference: Reference, *, size: int) -> None:
        self.reference, self.size = reference, size
        self._features = np.zeros((size, reference.seen.features.shape[1]), np.float16)
        self._scores = np.zeros((size, reference.seen.scores.shape[1]), np.float32)
        self._lock = threading.Lock()
        self.added = 0
        """How many pictures were added since the start."""

    def __len__(self) -> int:
        return min(self.added, self.size)

    def add(self, features: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]) -> None:
        """Add pictures, in place of the oldest. One whose features or scores are no finite numbers is left out."""
        finite = np.isfinite(features).all(axis=1) & np.isfinite(scores).all(axis=1)
        seen = Observed.of(features[finite][-self.size :], scores[finite][-self.size :])
        with self._lock:
            places = (self.added + np.arange(len(seen))) % self.size
            self._features[places], self._scores[places] = seen.features, seen.scores
            self.added += len(seen)

    def latest(self) -> Observed:
        """A copy of what is kept, in any order."""
        with self._lock:
            kept = np.arange(len(self))
            return Observed(self._features[kept], self._scores[kept])
