"""Where kt keeps what it can make or fetch again: rendered data sets, pretrained weights, encoded features."""

import os
from pathlib import Path

import platformdirs

from kt.errors import EnvironmentProblem


def cache_home() -> Path:
    """The cache directory, made if it isn't there: `KT_HOME`, or else the user's own cache for `kt`.

    Raises EnvironmentProblem where it can't be written.
    """
    home = os.environ.get("KT_HOME")
    path = Path(home).expanduser().resolve() if home else Path(platformdirs.user_cache_dir("kt"))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(_refused(path, error.strerror or str(error))) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise EnvironmentProblem(_refused(path, "it can't be written"))
    return path


def _refused(path: Path, why: str) -> str:
    return f"kt can't use its cache directory {path}: {why}. Set KT_HOME to a directory that can be written."
