"""Where in a model the features are that a `Familiarity` is fitted on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FROZEN, PREFIX, OWN = "frozen", "prefix", "own"
"""The whole backbone, which was frozen; its blocks before the first that trained; the model's own, as all trained."""


@dataclass(frozen=True)
class FeaturePlace:
    """The place by numbers, so that it is found again in the model's saved file.

    part: FROZEN, PREFIX or OWN. backbone: the name of the layer in whose graph the tensors are; None for the model's
    own graph. tensors: each as the number of the call that makes it, in the order of `kt.graph.nodes`, and its number
    among the outputs of that call. last: how many of the features are used, the last ones. layers: the names of the
    layers that make the tensors.
    """

    part: str
    backbone: str | None
    tensors: tuple[tuple[int, int], ...]
    last: int
    layers: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "part": self.part, "backbone": self.backbone, "tensors": [list(pair) for pair in self.tensors],
            "last": self.last, "layers": list(self.layers),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FeaturePlace":
        """The reverse of `to_json`."""
        pairs = tuple((int(call), int(output)) for call, output in data["tensors"])
        return cls(str(data["part"]), data["backbone"], pairs, int(data["last"]), tuple(data["layers"]))
