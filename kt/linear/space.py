"""The space that a classifier is fitted in: features standardised, in no more coordinates than there are pictures."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

OF_MEAN, OF_MIDDLE = 0.05, 0.1
"""The floor of a feature's scale, in shares of its mean and of the median of all features' standard deviations."""


class Space:
    """Features standardised (`_scale`), and in as few coordinates as hold them all; and the way back."""

    def __init__(self, rows: Floats) -> None:
        self._mean, self._scale = rows.mean(axis=0), _scale(rows)
        standard = (rows - self._mean) / self._scale
        # The basis, `[D, coordinates]`, as the product of `standard.T` and what turns it, which is never computed.
        self._turned: tuple[Floats, Floats] | None = None
        self.inside: Floats = standard
        if rows.shape[1] > rows.shape[0]:
            values, vectors = np.linalg.eigh(standard @ standard.T)
            kept = values > 1e-10 * values.max()
            roots = np.sqrt(values[kept])
            self._turned = standard, vectors[:, kept] / roots
            self.inside = vectors[:, kept] * roots

    def into(self, rows: Floats) -> Floats:
        """Other features in the same coordinates."""
        standard: Floats = (rows - self._mean) / self._scale
        if self._turned is None:
            return standard
        own, turn = self._turned
        return np.asarray(standard @ own.T @ turn)

    def relevance(self, weights: Floats) -> Floats:
        """The weights of the standardised features, `[D, C]`, of those inside."""
        if self._turned is None:
            return weights
        own, turn = self._turned
        return np.asarray(own.T @ (turn @ weights))

    def outside(self, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """The weights and bias that give, from the features as they are, what these give inside."""
        turned = self.relevance(weights) / self._scale[:, None]
        return turned, bias - self._mean @ turned


def _scale(rows: Floats) -> Floats:
    """What each feature is divided by: its standard deviation, with a floor.

    The floor is a share of the feature's mean and of the middle feature's deviation. What varies less would get weights
    so large that a rare picture, or the rounding of an export, decides: without it a probe on 7,488 features lost 26
    points as int8. Infinite for a feature that does not vary but for rounding.
    """
    means, deviations = np.abs(rows.mean(axis=0)), rows.std(axis=0)
    varies = deviations > 1e-6 * max(deviations.max(), means.max())
    middle = np.median(deviations[varies]) if varies.any() else 0.0
    floor = (OF_MEAN * means) ** 2 + (OF_MIDDLE * middle) ** 2
    return np.where(varies, np.sqrt(deviations**2 + floor), np.inf)
