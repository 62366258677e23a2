"""How few pictures are too few, and the warnings for it. It imports only numbers, so every room can use it."""

from collections.abc import Sequence

from kt.base.metrics import CONFIDENCE

FEW = 20
"""Below this number of independent pictures of a class, results depend on which pictures they are.

docs/few-images.md has the measurements. The same number holds for training, validation and test.
"""

FEW_THINGS = 10
"""Below this number of groups of a class in the test split, intervals are too narrow: the bootstrap draws groups."""

FEW_TO_CHOOSE_BY = 100
"""Below this number of independent validation pictures in all, a probe is cross-validated as well."""

FEW_BEFORE_SPLITTING = 30
"""Pictures of a class before the split. A third goes to validation and test, so about `FEW` remain for training."""


def caution_on_test(things: Sequence[int], classes: Sequence[str], *, grouped: bool, many: str = "pictures") -> str:
    """A warning that the test pictures have so few groups that intervals are too narrow; empty where they are enough.

    things: the number of groups among the test pictures of each class. grouped: whether a group has several pictures.
    many: what a person calls the examples.
    """
    fewest, name = min((pair for pair in zip(things, classes, strict=True) if pair[0]), default=(FEW_THINGS, ""))
    if not grouped or fewest >= FEW_THINGS:
        return ""
    plural = "s" if fewest != 1 else ""
    return (
        f"The test {many} of “{name}” show only {fewest} thing{plural}: the true uncertainty is larger than it looks."
    )


def caution_on_validation(things: Sequence[int], classes: Sequence[str]) -> str:
    """A warning that validation is small, and how little it can prove; empty where it is large enough.

    things: the number of groups among the validation pictures of each class, at least one.
    """
    fewest = min(things)
    if fewest >= FEW:
        return ""
    proven = ((1 - CONFIDENCE) / 2) ** (1 / fewest)  # Clopper and Pearson's lower end if all are right
    return (
        f"validation is small: it shows {fewest} thing{'s' if fewest != 1 else ''} of "
        f"{classes[things.index(fewest)]!r}, so even with all of them right that class's true recall may be as "
        f"low as {proven:.2f}; take its intervals with care"
    )
