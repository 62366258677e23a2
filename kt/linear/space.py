"""The space that a classifier is fitted in: standardised features, in at most as many coordinates as pictures."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

OF_MEAN, OF_MIDDLE = 0.05, 0.1
"""The floor of a feature's scale, as shares of its mean and of the median of all features' standard deviations."""


def widest(rows: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float32], float]:
    """Places `[N, 2]` of rows `[N, D]` along their two widest directions, and these directions' share of the variance.

    The principal components. Each direction has the sign that makes its largest place positive, so that the same rows
    always give the same places.
    """
    centred = np.asarray(rows, np.float64) - np.mean(rows, axis=0, dtype=np.float64)
    turned, widths, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(centred), 2))
    places[:, : min(2, len(widths))] = turned[:, :2] * widths[:2]
    signs = np.sign(places[np.abs(places).argmax(axis=0), [0, 1]])
    whole = float((widths**2).sum())
    return (places * np.where(signs < 0, -1.0, 1.0)).astype(np.float32), float((widths[:2] ** 2).sum()) / max(
        whole, 1e-300
    )


class Space:
    """Standardised features (`scale_of`), in as few coordinates as represent them exactly, and the way back."""

    def __init__(self, rows: Floats) -> None:
        self._mean, self._scale = rows.mean(axis=0), scale_of(rows)
        standard = (rows - self._mean) / self._scale
        # The two factors of the basis `[D, coordinates]`; their product is never computed.
        self._turned: tuple[Floats, Floats] | None = None
        self.inside: Floats = standard
        if rows.shape[1] > rows.shape[0] and standard.any():  # a fold may hold copies of a single picture
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
        """The weights of the standardised features, `[D, C]`, from weights in this space."""
        if self._turned is None:
            return weights
        own, turn = self._turned
        return np.asarray(own.T @ (turn @ weights))

    def outside(self, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """The weights and bias for the original features that give the same scores as these in this space."""
        turned = self.relevance(weights) / self._scale[:, None]
        return turned, bias - self._mean @ turned


def scale_of(rows: Floats) -> Floats:
    """The divisor of each feature: its standard deviation, with a floor; infinite if it varies only by rounding.

    The floor combines a share of the feature's mean with a share of the median deviation of all features. Without it, a
    feature that varies less would get a weight so large that a rare picture, or the rounding of an export, decides the
    result: a probe on 7,488 features lost 26 points as int8.
    """
    means, deviations = np.abs(rows.mean(axis=0)), rows.std(axis=0)
    varies = deviations > 1e-6 * max(deviations.max(), means.max())
    middle = np.median(deviations[varies]) if varies.any() else 0.0
    floor = (OF_MEAN * means) ** 2 + (OF_MIDDLE * middle) ** 2
    return np.where(varies, np.sqrt(deviations**2 + floor), np.inf)
