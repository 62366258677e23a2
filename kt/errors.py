"""The errors of kt: each has one clear line for the user and an exit code for scripts.

Exit codes: 0 done, 1 a bug in kt (a traceback), 2 a mistake on the command line or in a recipe, 3 data, 4 weights or
network, 5 training, 6 no mobile artefact passed the release gate, 7 the environment (package, disk), 130 interrupted.
"""

import difflib
import re
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path


class KtError(Exception):
    """What happened, what was expected, how to mend it: shown as one line, without a traceback."""

    exit_code = 2


class RecipeError(KtError):
    """A recipe or a setting that can't be right, found before any data is read."""

    exit_code = 2


class DataError(KtError):
    """Pictures, folders or tables that cannot be used as they are."""

    exit_code = 3


class WeightsError(KtError):
    """Pretrained weights that can't be had, or that have wrong content."""

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
    """The message of another library's exception on one line; the name of its class if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def in_users_code(error: BaseException) -> str:
    """Where a user's own code failed, and how, such as `paper.py:12, in flip: ValueError: no such axis`.

    Empty if the error comes from elsewhere, also if kt's own code failed that a user's function called.
    """
    kind = type(error).__name__
    places = [(frame.filename, frame.lineno, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
    text = str(error)
    if "in user code:" in text:  # TensorFlow rewrites a function, and names the place in the original in its message
        quoted = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', text)
        places += [(file, int(line), name) for file, line, name in quoted]
        said = [line.strip() for line in text.splitlines() if line.strip()][-1]
        named = re.match(r"(\w+): (.*)", said)
        kind, text = (named[1], named[2]) if named else (kind, said)
    last = max((index for index, (file, *_) in enumerate(places) if _is_users(file)), default=None)
    if last is None or any(Path(file).is_relative_to(_OURS) for file, *_ in places[last + 1 :]):
        return ""
    file, line, name = places[last]
    inside = "" if name == "<module>" else f", in {name}"
    return f"{Path(file).name}:{line}{inside}: {kind}: {' '.join(text.split())[:300]}".rstrip(": ")


_OURS = Path(__file__).resolve().parent
_LIBRARIES = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")})


def _is_users(file: str) -> bool:
    path = Path(file)
    if not path.is_absolute() or path.name.startswith("__autograph_generated") or not path.is_file():
        return False
    return not any(path.resolve().is_relative_to(place) for place in (_OURS, *_LIBRARIES))


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A hint that ends an error: the closest known name, or else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"There is: {', '.join(names)}." if names else "There is none."
