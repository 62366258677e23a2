"""Where a run's recipe comes from, and what was asked for besides."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from kt.base.backend import running
from kt.base.names import is_plain
from kt.base.run_folder import RECIPE
from kt.errors import RecipeError
from kt.recipe import Recipe
from kt.runs.record import Asked


@dataclass(frozen=True)
class Origin:
    """What a run was asked for, so that it can be reported and repeated: the recipe's file, docstring and changes.

    name: of the recipe, its runs and its models; a folder in `saved_models` has this name. force: release a model even
    if the test pictures show that it has learned nothing.
    """

    name: str
    file: Path | None = None
    description: str = ""
    settings: tuple[str, ...] = ()
    data: str | None = None
    target: str | None = None
    target_labels: bool | None = False
    command: str = ""
    mixed_precision: bool = False
    cached: bool = True
    saved_models: Path = Path("saved_models")
    force: bool = False

    def __post_init__(self) -> None:
        if not self.name.strip() or self.name.startswith(".") or set(self.name) & set("/\\") or not is_plain(self.name):
            raise RecipeError(
                f"Origin: name is that of a folder in saved_models, such as 'mushrooms', not {self.name!r}."
            )


_ASKED: ContextVar[Origin | None] = ContextVar("asked", default=None)


@contextmanager
def asked_for(origin: Origin) -> Iterator[None]:
    """Within it, a `run` that is given no origin takes this one: for a recipe with its own `run`."""
    token = _ASKED.set(origin)
    try:
        yield
    finally:
        _ASKED.reset(token)


def origin_of(out: Path) -> Origin:
    """What `asked_for` says, or else what a run's folder shows: `runs/<name>/<time>`, or one named as the model."""
    if given := _ASKED.get():
        return given
    folder = out.absolute()
    in_runs = re.fullmatch(r"\d{8}-\d{6}(-\d+)?", folder.name) or folder.parent.parent.name == "runs"
    name = re.sub(r"[^\w.-]+", "_", (folder.parent if in_runs else folder).name).strip("._-")
    own = out / RECIPE
    return Origin(name=name or "model", file=own if own.is_file() else None)


def asked(origin: Origin, recipe: Recipe, saved_models: Path) -> Asked:
    """What a run was asked for, for one that the command line did not begin."""
    return Asked(
        name=origin.name, file=str(origin.file) if origin.file else None, folder=str(Path.cwd()),
        data=origin.data, target=origin.target, target_labels=origin.target_labels,
        settings=origin.settings, seed=recipe.seed, backend=running(),
        mixed_precision=origin.mixed_precision, cached=origin.cached, saved_models=str(saved_models),
        force=origin.force, command=origin.command,
    )  # fmt: skip
