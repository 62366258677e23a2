"""What is known about examples before they are read: where each one is, its label, its group and its split."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.errors import RecipeError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Item:
    """One example before it is read. source: a file, or a function that returns the example.

    name: what a person calls the example. group: examples of one group show the same object, whatever their labels.
    split: None if the source doesn't assign one. thing: what a person calls the group, if the source has a name for it.
    """

    source: Path | Callable[[], Any]
    label: str
    name: str
    group: str
    split: str | None = None
    thing: str = ""


@dataclass(frozen=True)
class Listed:
    """What a source names, before anything is read. root: the folder that the names of its examples are relative to.

    facts: how the source was understood. notes: what a person should look at.
    """

    items: tuple[Item, ...]
    root: Path
    facts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shares:
    """How to draw splits that the source doesn't give: the shares of validation and test, and the seed."""

    validation: float
    test: float
    seed: int

    def __post_init__(self) -> None:
        for name, share in (("validation", self.validation), ("test", self.test)):
            if not 0 < share < 1:
                raise RecipeError(f"{name} is a share of the pictures between 0 and 1, such as 0.2, not {share}.")
        if self.validation + self.test >= 1:
            raise RecipeError(f"validation {self.validation} and test {self.test} leave nothing to train on.")
