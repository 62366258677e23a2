"""The words that people use for train, validation and test, in the names of folders and in a column of a table."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import pairwise

TRAIN = frozenset({"train", "trn", "training", "trainval", "trainvalid"})
VALIDATION = frozenset({"validation", "val", "valid", "validate", "validating", "dev", "devel", "development"})
TEST = frozenset({"test", "tst", "testing", "tests", "holdout", "heldout", "eval", "evaluation", "evaluate"})

_EVALUATION = frozenset({"eval", "evaluation", "evaluate"})
"""Words that mean test; if the data have a test split under another name and no validation, they mean validation."""

_WORDS = {
    **dict.fromkeys(TRAIN, "train"),
    **dict.fromkeys(VALIDATION, "validation"),
    **dict.fromkeys(TEST, "test"),
}
_BEHIND = r"(?:sets?|data|dataset|images?|imgs?|pictures?|pics?|photos?|split|samples?|folder)"
_GLUED = re.compile(rf"({'|'.join(sorted(_WORDS, key=len, reverse=True))}){_BEHIND}")
"""A split word and a noun that is often joined to it, such as `trainset`."""


def split_of(name: str) -> str | None:
    """The split that a name means: "train", "validation" or "test"; None if it means none, or more than one.

    Upper and lower case are equal, and other words may come before or after it: `Training`, `seg_train`, `images-test`,
    `01_train`, `valSet`.
    """
    meant = {_WORDS[word] for word in _known_words(name)}
    if meant == {"train", "validation"}:  # train and validation in one, as in VOC's trainval
        return "train"
    return meant.pop() if len(meant) == 1 else None


def splits_of(names: Iterable[str]) -> Mapping[str, str | None]:
    """The split that each name of one data set means, by name.

    Evaluation means validation if the data set has another test and no validation; otherwise it means test.
    """
    meant = {name: split_of(name) for name in names}
    evaluation = {name for name, split in meant.items() if split == "test" and _known_words(name) <= _EVALUATION}
    tests = {name for name, split in meant.items() if split == "test"} - evaluation
    if tests and "validation" not in meant.values():
        meant.update(dict.fromkeys(evaluation, "validation"))
    return meant


def _known_words(name: str) -> set[str]:
    parts = [part.lower() for part in re.findall(r"[^\W\d_]+", _apart(name))]
    words = {_known(part) for part in [*parts, *map("".join, pairwise(parts))]}
    return {word for word in words if word}


def _known(part: str) -> str:
    """The split word that a part of a name is, or that it joins to a noun of `_BEHIND`; empty if there is none."""
    if part in _WORDS:
        return part
    glued = _GLUED.fullmatch(part)
    return glued[1] if glued else ""


def _apart(name: str) -> str:
    """Put a space between words that only a capital separates: `imagesTrain`, `TrainImages`."""
    plain = unicodedata.normalize("NFKC", name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain)
