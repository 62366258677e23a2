"""A recipe from its file: the file is run to load it, or only parsed to find and list it."""

import ast
import dataclasses
import os
import re
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.base.names import is_plain
from kt.errors import KtError, RecipeError, did_you_mean
from kt.recipe.definition import AdaptedProbe, LinearProbe, Phase, Recipe
from kt.recipe.field_types import is_part, shown
from kt.recipe.unlabelled import AdaptiveBatchNorm, Shot


@dataclass(frozen=True)
class Loaded:
    """A recipe with its file: `name` (the file's stem), `description` (its docstring), and its own `run`, if any.

    text: the recipe as Python, if it is in no file yet; then `file` is the folder or table that it was written for.
    """

    recipe: Recipe
    file: Path
    name: str
    description: str
    run: Callable[[Recipe, Path], Any] | None = None
    text: str | None = None


def load(file: Path) -> Loaded:
    """Run a recipe's file and take its `recipe`. No data is read.

    Raises RecipeError with the line of the mistake, whatever it is.
    """
    if file.suffix != ".py" or not file.is_file():
        folder = file if file.is_dir() else file.parent
        recipes = ", ".join(str(path) for path in sorted(folder.glob("*.py")) if is_recipe(path))
        raise RecipeError(f"{file} is not a recipe file. There is: {recipes or 'no recipe in that folder'}.")
    check_name(file.stem, where=str(file))
    module = _execute(file)
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        mistake = "has no object named 'recipe'" if recipe is None else f"has a 'recipe' that is {shown(recipe)}"
        raise RecipeError(f"{file} {mistake}; it must end with: recipe = Recipe(...).")
    run = getattr(module, "run", None)
    if run is not None and not callable(run):
        raise RecipeError(f"{file}: run must be a function (recipe, out), not {shown(run)}.")
    return Loaded(recipe, file, file.stem, (module.__doc__ or "").strip(), run)


def check_name(name: str, *, where: str) -> None:
    """Raise RecipeError for a name that a model can't have: it is used for a folder, for files and in addresses.

    where: the recipe's file, for the error.
    """
    if name.startswith("."):
        raise RecipeError(f"{where}: a recipe's name is its model's, and can't begin with a dot; rename the file.")
    if not is_plain(name):
        raise RecipeError(
            f"{where}: a recipe's name is its model's, and has to be plain text, in UTF-8 and without line breaks or "
            "other control characters; rename the file."
        )
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise RecipeError(
            f"{where}: a recipe's name is its model's, and has {LONGEST_NAME} bytes at most, for files are named after "
            "it; rename the file."
        )


LONGEST_NAME = 200
"""The most bytes of a model's name: with its suffixes, the name of a file for phones fits the usual limit of 255."""


def load_text(text: str, *, file: Path, name: str) -> Loaded:
    """The recipe in a text of Python, such as the one that kt writes for the pictures in `file`."""
    module = _execute(Path(f"{name}.py"), text.encode())
    return Loaded(module.recipe, file, name, (module.__doc__ or "").strip(), text=text)


def _execute(file: Path, content: bytes | None = None) -> types.ModuleType:
    # Registered in sys.modules under its own name, so that dataclasses in a recipe resolve their annotations.
    module = types.ModuleType(f"kt_recipe_{file.stem}")
    module.__file__ = str(file.absolute())
    sys.modules[module.__name__] = module
    try:
        # Compiled, not imported: an import leaves a __pycache__, and may run a stale one after a quick edit.
        code = compile(file.read_bytes() if content is None else content, module.__file__, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - a recipe is a program that its user asked to run
    except KtError as error:
        raise RecipeError(f"{_where(file, error)}: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any mistake of a program becomes one line
        raise RecipeError(f"{_where(file, error)}: {_explained(error, vars(module))}") from None
    return module


def _where(file: Path, error: BaseException) -> str:
    own = str(file.absolute())
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    if isinstance(error, SyntaxError) and error.filename == own:
        lines.append(error.lineno)
    return f"{file}:{lines[-1]}" if lines and lines[-1] else str(file)


def _explained(error: BaseException, names: Mapping[str, Any]) -> str:
    """The error as one line. names: those of the recipe's module, to find the class whose field is unknown."""
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        return error.msg if error.filename == names["__file__"] else f"SyntaxError: {text}"
    if match := re.fullmatch(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'.*", text):
        steps = (AdaptedProbe, AdaptiveBatchNorm, LinearProbe, Phase, Shot)
        known_classes = {cls.__name__: cls for cls in (*steps, Recipe)}
        cls = {**known_classes, **names}.get(match[1])
        known = [field.name for field in dataclasses.fields(cls)] if cls is not None and is_part(cls) else []
        return f"{match[1]} has no field {match[2]!r}. {did_you_mean(match[2], known) if known else ''}".rstrip()
    if match := re.fullmatch(r"(\w+)\.__init__\(\) missing \d+ required positional arguments?: (.*)", text):
        return f"{match[1]} needs {match[2]}."
    return f"{type(error).__name__}: {text}".rstrip(": ")


def summary_of(file: Path) -> str:
    """The first line of a recipe's docstring, read without running it; empty where there is none."""
    try:
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError):
        return "(not readable as Python)"
    return (docstring or "").partition("\n")[0]


def is_recipe(file: Path) -> bool:
    """Whether a Python file assigns `recipe` at its top level, without running it.

    A file that can't be parsed counts too, so that a recipe with a syntax error is still listed.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return True
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return any(isinstance(target, ast.Name) and target.id == "recipe" for target in targets)
