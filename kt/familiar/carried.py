"""What an export is given, to say how unlike anything it learned from an example is, and to be checked by."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kt.base.stages import Kept
from kt.familiar.model import Familiarity
from kt.familiar.place import FeaturePlace

UNFAMILIARITY, UNFAMILIAR = "unfamiliarity", "unfamiliar"
"""The names of an export's outputs that say how unlike anything it learned from an example is, and whether too much."""


@dataclass(frozen=True, eq=False)
class Carried:
    """A fitted score, where in the model its features are, and what the trained model says of some examples.

    checked: distances by the hash of the example (`kt.frozen.store.hashes`).
    """

    familiarity: Familiarity
    place: FeaturePlace
    checked: dict[bytes, float] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: Kept) -> "Carried | None":
        """What a run has kept; None if that is no more than why it has none."""
        told = kept.told
        if told["place"] is None:
            return None
        checked = kept.arrays["checked"]
        distances = zip(checked["hashes"], checked["distances"].tolist(), strict=True)
        return cls(
            Familiarity.kept(told, kept.arrays["fitted"]),
            FeaturePlace.from_json(told["place"]),
            {row.tobytes(): distance for row, distance in distances},
        )


def as_rows(hashes: list[bytes]) -> npt.NDArray[np.uint8]:
    """Hashes of 32 bytes as uint8 `[N, 32]`."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)
