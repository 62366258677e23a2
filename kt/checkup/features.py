"""Features of a data set's pictures for checks: what a linear probe on all depths sees, in one pass, and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt.data.splits import Splits, allocate
from kt.errors import DataError
from kt.freeze import NOTHING
from kt.frozen.cut import Uncut, find_cut
from kt.frozen.encoder import IN_MEMORY, Activations, Encoder, Examples
from kt.frozen.store import CachedRows
from kt.heads import Classifier
from kt.kinds.kind import Kind
from kt.learnability.features import pooled
from kt.network.model import Built, build
from kt.recipe import LinearProbe, Recipe

BLOCK = 1024
"""The number of examples whose features are in memory at once, where not all are."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Features:
    """The features of N examples. rows: float32 `[N, D]`, in memory if small, else mapped from the disk.

    depths: where the features come from, each with its width, the top of the network last; their widths sum to D.
    Features of one depth are means over the picture of maps behind a ReLU, so they are mostly not negative.
    """

    rows: Activations
    depths: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    @property
    def width(self) -> int:
        """The number of features of an example, D."""
        return int(self.rows.shape[1])

    def at(self, places: npt.NDArray[np.int64]) -> Floats:
        """The features float32 `[B, D]` of the examples at these places."""
        return np.asarray(self.rows[places], np.float32)

    def take(self, places: npt.NDArray[np.int64]) -> "Features":
        """The features of the examples at these places alone; those on the disk stay there."""
        rows = self.rows.chosen(places) if isinstance(self.rows, CachedRows) else self.at(places)
        return Features(rows, self.depths)

    def all(self) -> Floats:
        """The features of all examples, float32 `[N, D]`, in memory if small, else mapped from a temporary file."""
        return self._collected(self.width, lambda rows: rows)

    def top(self) -> Floats:
        """The features of the network's top alone, float32 `[N, width of the top]`, as `all` gives them.

        They tell what a picture shows better than those of all depths, which also tell how it was taken.
        """
        width = self.depths[-1][1]
        return self._collected(width, lambda rows: rows[:, -width:])

    def reduced(self, directions: npt.ArrayLike) -> Floats:
        """The features in other coordinates, `rows @ directions`, float32 `[N, K]`, as `all` gives them.

        directions: `[D, K]`.
        """
        matrix = np.asarray(directions, np.float32)
        return self._collected(matrix.shape[1], lambda rows: rows @ matrix)

    def _collected(self, width: int, of: Callable[[Floats], Floats]) -> Floats:
        result = allocate(len(self), (width,), "float32", in_memory=IN_MEMORY)
        for start in range(0, len(self), BLOCK):
            part = np.arange(start, min(start + BLOCK, len(self)))
            result[part] = of(self.at(part))
        return result


def probe_network(
    kind: Kind, *, backbone: Callable[..., Any] | None = None, weights: str | None = "imagenet", classes: int = 2
) -> Built:
    """The network that a new recipe's probe would stand on, for examples of a kind; nothing of it trains.

    backbone: a constructor as in a recipe; None for MobileNetV2, the default of `kt new`. Raises WeightsError if the
    weights can't be had.
    """
    recipe = Recipe(
        data=lambda: None,
        backbone=backbone or keras.applications.MobileNetV2,
        head=Classifier(),
        phases=[LinearProbe(features="all")],
        weights=weights,
    )
    return build(recipe, kind=kind, num_classes=classes)


def features_of(built: Built, parts: Sequence[Examples]) -> list[Features]:
    """The features of each part's examples, such as pixels uint8 `[N, H, W, 3]`, which may be memory-mapped.

    built: from `probe_network`, or that of a run before it trains. One pass computes those of all parts, a batch at a
    time. They are kept in kt's cache by the content of the example, so that only new pictures cost anything next time.
    Raises DataError if the network has no end that can be cut off, OSError if there is no room for the features.
    """
    cut = find_cut(built, NOTHING)
    if isinstance(cut, Uncut):
        raise DataError(f"The features of {built.nouns.many} can't be had: {cut.reason}.")
    rows = Encoder(built).activations(parts, cut)
    if not built.taps and cut.width != built.features.shape[-1]:  # maps, which are small enough to be averaged at once
        rows = [pooled(built, part, len(part)) for part in rows]
    depths = built.taps or (("top", int(rows[0].shape[1])),)
    return [Features(part, depths) for part in rows]


def features_of_splits(splits: Splits, *, built: Built | None = None) -> dict[str, Features]:
    """The features of train, validation and test, by name, from one pass.

    built: as for `features_of`; None for `probe_network`.
    """
    network = built or probe_network(splits.kind, classes=len(splits.classes))
    parts = splits.parts()
    return dict(zip(parts, features_of(network, [part.examples for part in parts.values()]), strict=True))
