"""Every way in which kt says no: one clear line for the user, one exit code for a script.

Exit codes: 0 done, 1 a bug in kt (a traceback), 2 a mistake on the command line or in a recipe, 3 data, 4 weights or
network, 5 training, 6 no mobile artefact passed the release gate, 7 the environment (package, disk), 130 interrupted.
"""

import difflib
from collections.abc import Iterable


class KtError(Exception):
    """What happened, what was expected, how to mend it: shown as one line, without a traceback."""

    exit_code = 2


class RecipeError(KtError):
    """A recipe or an override that cannot be right, found before any data is read."""

    exit_code = 2


class DataError(KtError):
    """Pictures, folders or tables that cannot be used as they are."""

    exit_code = 3


class WeightsError(KtError):
    """Pretrained weights that cannot be had, or are not what they should be."""

    exit_code = 4


class TrainingError(KtError):
    """Training that cannot go on, such as a loss that became NaN."""

    exit_code = 5


class ReleaseError(KtError):
    """An artefact that cannot be made, read or released."""

    exit_code = 6


class EnvironmentProblem(KtError):  # noqa: N818 - EnvironmentError is taken by Python
    """A missing package, a full disk, a backend that is not installed."""

    exit_code = 7


def one_line(error: BaseException) -> str:
    """What an exception of another library says, on one line; the name of its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A hint that ends an error: the closest known name, or else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"There is: {', '.join(names)}." if names else "There is none."
