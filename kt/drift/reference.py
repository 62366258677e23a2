"""What a model says of examples, as it is kept to be compared: of new ones, and of the held-out ones it carries."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.files import whole
from kt.errors import DataError, ReleaseError

MOST = 1000
"""The most held-out examples that a model carries: 2 MB of features before compression."""

_LARGEST = float(np.finfo(np.float16).max)
_ARRAYS = ("features", "scores", "labels", "groups", "model")


@dataclass(frozen=True, eq=False)
class Observed:
    """What a model says of N examples: features float16 `[N, F]` and scores float32 `[N, C]`.

    float16 takes half the room. It rounds new examples as it rounded the held-out ones, so that this is no difference.
    """

    features: npt.NDArray[np.float16]
    scores: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.scores.ndim != 2 or len(self.features) != len(self.scores):
            raise DataError(
                f"Features of shape {list(self.features.shape)} and scores of shape {list(self.scores.shape)} don't "
                "fit; expected [examples, features] and [examples, classes]."
            )
        if not (np.isfinite(self.features).all() and np.isfinite(self.scores).all()):
            raise DataError("The model gives features or scores that are not finite numbers; export it again.")

    @classmethod
    def of(cls, features: npt.ArrayLike, scores: npt.ArrayLike) -> "Observed":
        """From any numbers. Features outside of float16's range become its largest numbers."""
        bounded = np.clip(np.asarray(features, np.float32), -_LARGEST, _LARGEST)
        return cls(bounded.astype(np.float16), np.asarray(scores, np.float32))

    @classmethod
    def joined(cls, parts: "Sequence[Observed]") -> "Observed":
        """One after the other; there is at least one."""
        return cls(np.concatenate([part.features for part in parts]), np.concatenate([part.scores for part in parts]))

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, places: npt.NDArray[Any]) -> "Observed":
        """Those at these indices."""
        return Observed(self.features[places], self.scores[places])


@dataclass(frozen=True, eq=False)
class Reference:
    """What a model says of examples that it did not learn from, with their labels: what is new is compared with these.

    labels: int64 `[N]`. groups: int64 `[N]`; examples of one number show one thing. model: SHA-256 of the model.
    """

    seen: Observed
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    model: str = ""

    def __post_init__(self) -> None:
        if not len(self.seen) == len(self.labels) == len(self.groups):
            raise DataError(
                f"{len(self.seen)} held-out examples don't fit {len(self.labels)} labels and {len(self.groups)} groups."
            )
        classes = self.seen.scores.shape[1]
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < classes:
            raise DataError(f"Labels of held-out examples must be from 0 to {classes - 1}.")

    @classmethod
    def of(
        cls, seen: Observed, labels: npt.ArrayLike, groups: Sequence[str] | None = None, *, model: str = ""
    ) -> "Reference":  # fmt: skip
        """From groups by name; None if each example is on its own."""
        numbers = np.arange(len(seen)) if groups is None else numbered(groups)
        return cls(seen, np.asarray(labels, np.int64), numbers, model)

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, places: npt.NDArray[Any]) -> "Reference":
        """The examples at these indices."""
        return Reference(self.seen.at(places), self.labels[places], self.groups[places], self.model)

    def write(self, file: Path) -> None:
        """Write it in one step; the same content gives the same bytes."""
        arrays = {
            "features": self.seen.features,
            "scores": self.seen.scores,
            "labels": self.labels.astype(np.int32),
            "groups": self.groups.astype(np.int32),
            "model": np.array(self.model),
        }
        with whole(file) as opened, zipfile.ZipFile(opened, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                content = io.BytesIO()
                np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), content.getvalue(),
                                 compress_type=zipfile.ZIP_DEFLATED)  # fmt: skip

    @classmethod
    def read(cls, file: Path, *, model: str) -> "Reference":
        """Read what `write` wrote. model: SHA-256 of the model that it must belong to.

        Raises ReleaseError if there is no such file, if it is damaged, or if it belongs to another model.
        """
        if not file.is_file():
            raise ReleaseError(
                f"There is no {file}: this model carries no held-out examples to compare with, as those of an earlier "
                "kt. Export its run again: kt export RUN"
            )
        try:
            with np.load(file, allow_pickle=False) as arrays:
                features, scores, labels, groups, name = (arrays[name] for name in _ARRAYS)
            result = cls(
                Observed(features.astype(np.float16), scores.astype(np.float32)),
                labels.astype(np.int64),
                groups.astype(np.int64),
                str(name),
            )
        except Exception as error:  # noqa: BLE001 - a damaged archive raises nearly anything
            raise ReleaseError(f"{file} is damaged; export the run again: kt export RUN ({error})") from None
        if result.model != model:
            raise ReleaseError(f"{file} belongs to another model than the one beside it; export the run again.")
        return result


def numbered(groups: Sequence[str]) -> npt.NDArray[np.int64]:
    """A number for each group, from 0, in the order in which they first come."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)


def drawn_from(groups: npt.NDArray[np.int64], most: int, *, seed: int = 0) -> npt.NDArray[np.int64]:
    """The indices of up to `most` random examples: one of each group first, then a second one of each, and so on."""
    order = np.random.default_rng(seed).permutation(len(groups))
    turn = np.zeros(len(groups), np.int64)
    seen: dict[int, int] = {}
    for place in order:
        turn[place] = seen.get(int(groups[place]), 0)
        seen[int(groups[place])] = turn[place] + 1
    return np.sort(order[np.argsort(turn[order], kind="stable")][:most])


def independent(groups: npt.NDArray[np.int64], *, seed: int = 0) -> npt.NDArray[np.int64]:
    """The index of one random example of each group."""
    return drawn_from(groups, len(np.unique(groups)), seed=seed)
