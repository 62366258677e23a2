"""What a recipe is, and how one is loaded, changed from the command line and described (standard library only).

A recipe is a Python file with one object named `recipe`. Its mistakes are found here, at load, before any data is read.
"""

import ast
import contextlib
import dataclasses
import functools
import re
import sys
import traceback
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from kt.errors import KtError, RecipeError, did_you_mean

EXPORTS = ("saved_model", "tflite", "keras", "onnx", "openvino")
"""Formats that `Recipe.export` takes by name; a function `(model, directory) -> Path` makes any other."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Phase:
    """One stretch of training: which layers move, for how long, how fast.

    trainable: a function of the backbone that sets `layer.trainable`; the head always trains. lr: the peak learning
    rate. optimizer: a function of the learning rate that gives a Keras optimizer (default: Adam). schedule: a function
    `(lr, steps)` that gives a Keras schedule, such as `kt.Cosine()` (default: constant). patience: end the phase after
    so many epochs without a better validation loss. layer_rates: a function `(block, blocks)` that gives the factor of
    `lr` for each block, 0 being the stem and `blocks` the head, such as `kt.LayerwiseDecay()` (default: 1 for all).
    """

    name: str
    trainable: Callable[[Any], None]
    epochs: int
    lr: float
    optimizer: Callable[[Any], Any] | None = None
    schedule: Callable[[float, int], Any] | None = None
    patience: int | None = None
    layer_rates: Callable[[int, int], float] | None = None

    def __post_init__(self) -> None:
        check_types(self)
        where = f"Phase {self.name!r}"
        _check_name(self.name, where)
        if self.epochs < 1:
            raise RecipeError(f"{where}: epochs must be at least 1, not {self.epochs}.")
        if not 0 < self.lr < 100:
            raise RecipeError(f"{where}: lr must be above 0, such as 1e-3, not {self.lr}.")
        if self.patience is not None and self.patience < 1:
            raise RecipeError(f"{where}: patience must be at least 1 epoch, not {self.patience}.")


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise RecipeError(f"{where}: a name has letters, digits, '_' and '-', and begins with a letter.")


@dataclass(frozen=True)
class LinearProbe:
    """A step like `Phase` that fits a convex classifier on frozen features, and puts its weights into the head.

    classifier: "softmax" (multinomial logistic regression) or "svm" (a linear SVM, its margins scaled to
    probabilities). C: the inverse strength of the L2 penalty on standardised features, as in scikit-learn; None chooses
    it by cross-validation on train. features: "top", the pooled output of the backbone; or the name of a block or layer
    of it, pooled; or several of these side by side; "all" for every block (20 at most, evenly spaced) and the top. Of
    several depths the features are used that cross-validation finds to pay (Evci et al., Head2Toe, ICML 2022). A
    backbone of which the top is not taken ends at the last block that is.

    Later phases go on from the probe's weights (Kumar et al., Fine-Tuning can Distort Pretrained Features and
    Underperform Out-of-Distribution, ICLR 2022).
    """

    classifier: Literal["softmax", "svm"] = "softmax"
    C: float | None = None
    features: str | Sequence[str] = "top"
    name: str = "probe"

    def __post_init__(self) -> None:
        check_types(self)
        where = f"LinearProbe {self.name!r}"
        _check_name(self.name, where)
        if self.C is not None and self.C <= 0:
            raise RecipeError(f"{where}: C must be above 0, such as 0.01, not {self.C}.")
        if not self.depths or len(set(self.depths)) < len(self.depths):
            raise RecipeError(f"{where}: features must be 'top', a block, or a list of different ones.")

    @property
    def depths(self) -> tuple[str, ...]:
        """The places in the backbone that features are taken from."""
        return (self.features,) if isinstance(self.features, str) else tuple(self.features)

    def trainable(self, backbone: Any) -> None:
        """Nothing of the backbone moves."""
        backbone.trainable = False


Step = Phase | LinearProbe


@dataclass(frozen=True)
class Recipe:
    """A whole job: data, backbone, head, phases, exports.

    data: a function that gives `kt.data.Splits`. backbone: a constructor of keras.applications or kt.backbones, or a
    function `(include_top, weights, input_shape)` that gives a Keras model. head: a function `(features, num_classes)`
    that gives class scores, with `loss` and `metrics`. export: names of formats, or functions `(model, directory) ->
    Path`. weights: "imagenet", "none" or a local file. augment: a function of images, float `[N, H, W, 3]` in 0 to 255,
    used in training only and never exported. class_weight: "balanced" weighs each class by the inverse of its
    frequency. seed: of the head's weights, the order, dropout and augmentation; the split has its own, in `data`.
    tolerance: the accuracy, as a share, that a quantised export may lose and still be released.
    """

    data: Callable[[], Any]
    backbone: Callable[..., Any]
    head: Callable[[Any, int], Any]
    phases: Sequence[Step]
    export: Sequence[str | Callable[[Any, Path], Path]] = ("saved_model", "tflite")
    weights: str | None = "imagenet"
    augment: Callable[[Any], Any] | None = None
    class_weight: Literal["balanced"] | None = None
    seed: int = 0
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("loss", "metrics"):
            if not callable(getattr(self.head, name, None)):
                raise RecipeError(f"Recipe: head has no function {name!r}; kt.Classifier shows what a head needs.")
        if not self.phases:
            raise RecipeError("Recipe: phases is empty; it needs at least one Phase.")
        names = [phase.name for phase in self.phases]
        if twice := {name for name in names if names.count(name) > 1}:
            raise RecipeError(f"Recipe: two phases are named {min(twice)!r}; names must differ.")
        if len(depths := {step.depths for step in self.phases if isinstance(step, LinearProbe)}) > 1:
            raise RecipeError(
                f"Recipe: its probes take features at {' and at '.join(map(str, sorted(depths)))}; the head has one "
                "place for them, so they must be the same."
            )
        if clash := set(names) & {field.name for field in dataclasses.fields(self)}:
            raise RecipeError(f"Recipe: a phase can't be named {min(clash)!r}, as a field of the recipe is.")
        for export in self.export:
            if isinstance(export, str) and export not in EXPORTS:
                raise RecipeError(f"Recipe: unknown export {export!r}. {did_you_mean(export, EXPORTS)}")
        if not 0 <= self.tolerance < 1:
            raise RecipeError(
                f"Recipe: tolerance is a share of accuracy from 0 to 1, such as 0.01, not {self.tolerance}."
            )
        if not 0 <= self.seed < 2**31:
            raise RecipeError(f"Recipe: seed must be from 0 to 2147483647, not {self.seed}.")


def depths_of(recipe: Recipe) -> tuple[str, ...]:
    """The places in the backbone that the head gets its features from: where the probe wants them, or else the top."""
    return next((step.depths for step in recipe.phases if isinstance(step, LinearProbe)), ("top",))


def epochs_of(recipe: Recipe) -> int:
    """The epochs of all phases together; a linear probe is solved and has none."""
    return sum(phase.epochs for phase in recipe.phases if isinstance(phase, Phase))


@dataclass(frozen=True)
class Loaded:
    """A recipe with its file: `name` (the file's stem), `description` (its docstring), and its own `run`, if any."""

    recipe: Recipe
    file: Path
    name: str
    description: str
    run: Callable[[Recipe, Path], Any] | None = None


# ------------------------------------------------------------------------------------------------ checking of types


def check_types(part: Any) -> None:
    """Hold every field of a dataclass instance against its annotation.

    Raises RecipeError that names the field, what was expected and what was found.
    """
    for name, expected in _field_types(type(part)).items():
        value = getattr(part, name)
        if not _fits(value, expected):
            raise RecipeError(f"{type(part).__name__}: {name} must be {_words(expected)}, not {_shown(value)}.")


def _field_types(cls: type) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError) as error:
        raise RecipeError(f"{cls.__name__}: the types of its fields can't be read: {error}.") from None
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _fits(value: Any, expected: Any) -> bool:
    origin, args = get_origin(expected), get_args(expected)
    if expected is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is Literal:
        return value in args
    if Callable in (origin, expected):
        return callable(value) and not _is_part(value)
    if origin is tuple and args[-1] is not Ellipsis:
        return isinstance(value, tuple) and len(value) == len(args) and all(map(_fits, value, args))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        kind = origin if issubclass(origin, tuple) else Sequence
        return (
            isinstance(value, kind)
            and not isinstance(value, str | bytes)
            and all(_fits(item, args[0]) for item in value)
        )
    if expected is float:  # neither infinite nor NaN
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    try:
        return isinstance(value, origin or expected)
    except TypeError:  # an annotation that can't be asked, such as a protocol in a data source of one's own
        return True


def _is_part(value: Any) -> bool:
    """Whether it is a class such as `Classifier` where `Classifier()` was meant."""
    return isinstance(value, type) and dataclasses.is_dataclass(value)


def _words(expected: Any) -> str:
    origin, args = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(arg) for arg in args)
    if origin is Literal:
        return " or ".join(repr(arg) for arg in args)
    if origin is tuple and args[-1] is not Ellipsis:
        return f"a tuple of {len(args)} ({', '.join(_words(arg) for arg in args)})"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"a list of {_words(args[0])}"
    if Callable in (origin, expected):
        return "a function"
    plain = {
        int: "an integer",
        float: "a number",
        str: "a string",
        type(None): "None",
        bool: "true or false",
        Path: "a path",
    }
    return plain.get(expected, getattr(expected, "__name__", str(expected)))


def _shown(value: Any) -> str:
    if _is_part(value):
        return f"the class {value.__name__}; write {value.__name__}(...)"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# -------------------------------------------------------------------------------------------------- loading a recipe


def load(file: Path) -> Loaded:
    """Run a recipe's file and take its `recipe`.

    Raises RecipeError with the line of the mistake, whatever it is; nothing of the data is read.
    """
    if file.suffix != ".py" or not file.is_file():
        folder = file if file.is_dir() else file.parent
        there = ", ".join(str(path) for path in sorted(folder.glob("*.py")) if is_recipe(path))
        raise RecipeError(f"{file} is not a recipe file. There is: {there or 'no recipe in that folder'}.")
    module = _execute(file)
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        found = "has no object named 'recipe'" if recipe is None else f"has a 'recipe' that is {_shown(recipe)}"
        raise RecipeError(f"{file} {found}; it must end with: recipe = Recipe(...).")
    run = getattr(module, "run", None)
    if run is not None and not callable(run):
        raise RecipeError(f"{file}: run must be a function (recipe, out), not {_shown(run)}.")
    return Loaded(recipe, file, file.stem, (module.__doc__ or "").strip(), run)


def _execute(file: Path) -> types.ModuleType:
    # Registered by a name of its own, so that dataclasses in a recipe resolve their annotations.
    module = types.ModuleType(f"kt_recipe_{file.stem}")
    module.__file__ = str(file.absolute())
    sys.modules[module.__name__] = module
    try:
        # Compiled here and not imported, which would leave a __pycache__ and may run a stale one after a quick edit.
        code = compile(file.read_bytes(), module.__file__, "exec", dont_inherit=True)
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
    """The error as one line; `names` are those of the recipe's module, to find the class whose field is unknown."""
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        return error.msg if error.filename == names["__file__"] else f"SyntaxError: {text}"
    if match := re.fullmatch(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'.*", text):
        cls = {"Phase": Phase, "LinearProbe": LinearProbe, "Recipe": Recipe, **names}.get(match[1])
        known = [field.name for field in dataclasses.fields(cls)] if cls is not None and _is_part(cls) else []
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
    """Whether a Python file assigns `recipe` at its top level, found without running it.

    A file that is not readable as Python counts too, so that a recipe with a slip in it does not go missing.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return True
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return any(isinstance(target, ast.Name) and target.id == "recipe" for target in targets)


# ------------------------------------------------------------------------------------------------ changes by --set


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Apply `path=value` settings, such as `fine_tune.lr=3e-6` or `data.batch_size=16`, each checked against its field.

    Raises RecipeError for a path that does not exist or a value of the wrong type.
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise RecipeError(f"Cannot set {setting!r}: write it as name=value, such as fine_tune.lr=1e-5.")
        recipe = _set(recipe, path.strip(), text.strip())
    return recipe


def _set(recipe: Recipe, path: str, text: str) -> Recipe:
    first, _, rest = path.partition(".")
    names = [phase.name for phase in recipe.phases]
    fields = [field.name for field in dataclasses.fields(recipe)]
    if first in names:
        if not rest:
            raise RecipeError(f"Cannot set {path!r}: {first!r} is a phase; name one of its fields, such as {first}.lr.")
        index = names.index(first)
        phases = list(recipe.phases)
        phases[index] = _replaced(phases[index], rest, path=path, text=text)
        return dataclasses.replace(recipe, phases=phases)
    if first not in fields:
        raise RecipeError(f"Cannot set {path!r}: Recipe has no {first!r}. {did_you_mean(first, [*names, *fields])}")
    if not rest:
        changed: Recipe = _replaced(recipe, first, path=path, text=text)
        return changed
    if first == "phases":
        raise RecipeError(f"Cannot set {path!r}: begin with the name of a phase, such as {names[-1]}.lr.")
    part = getattr(recipe, first)
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        raise RecipeError(f"Cannot set {path!r}: {first!r} has no fields of its own; change it in the recipe file.")
    return dataclasses.replace(recipe, **{first: _replaced(part, rest, path=path, text=text)})


def _replaced(part: Any, name: str, *, path: str, text: str) -> Any:
    hints = _field_types(type(part))
    if name not in hints:
        raise RecipeError(f"Cannot set {path!r}: {type(part).__name__} has no {name!r}. {did_you_mean(name, hints)}")
    value = _parsed(text, hints[name], path=path)
    try:
        return dataclasses.replace(part, **{name: value})
    except KtError:
        raise
    except Exception as error:  # noqa: BLE001 - a part of the user's own may refuse in any way
        why = " ".join(str(error).split())
        raise RecipeError(f"Cannot set {path!r} to {_shown(text)}: {why}") from None


def _parsed(text: str, expected: Any, *, path: str) -> Any:
    if not _settable(expected) and text.lower() != "none":
        raise RecipeError(f"Cannot set {path!r}: it is a function; change it in the recipe file.")
    for value in _candidates(text):
        if _fits(value, expected):
            return float(value) if expected is float else value
    example = ", such as 160x160" if get_origin(expected) is tuple else ""
    raise RecipeError(f"Cannot set {path!r} to {_shown(text)}: it must be {_words(expected)}{example}.")


def _settable(expected: Any) -> bool:
    kinds = (
        [arg for arg in get_args(expected) if arg is not type(None)]
        if get_origin(expected) in (Union, types.UnionType)
        else [expected]
    )
    return any(Callable not in (get_origin(kind), kind) for kind in kinds)


def _candidates(text: str) -> list[Any]:
    """Readings of a value, the narrowest first: a Python literal, true/false/none, a list a,b or size AxB, the text."""
    readings: list[Any] = []
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        readings.append(words[text.lower()])
    with contextlib.suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        sized = re.fullmatch(r"\d+x\d+", text)
        readings.append(tuple(map(int, text.split("x"))) if sized else ast.literal_eval(text))
    readings += [text, [item.strip() for item in text.split(",")] if text else []]
    return readings


# ------------------------------------------------------------------------------------------------------ description


def describe(part: Any) -> Any:
    """The resolved recipe as plain data for JSON: dataclasses as dicts, functions by their dotted names."""
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        values = {field.name: describe(getattr(part, field.name)) for field in dataclasses.fields(part)}
        return values if isinstance(part, Recipe | Phase) else {"kind": type(part).__name__, **values}
    if isinstance(part, str | int | float | bool | None):
        return part
    if isinstance(part, Path):
        return str(part)
    if isinstance(part, Mapping):
        return {str(key): describe(value) for key, value in part.items()}
    if isinstance(part, Sequence):
        return [describe(item) for item in part]
    if isinstance(part, functools.partial):
        arguments = describe(part.args), describe(part.keywords)
        return {"kind": "partial", "function": describe(part.func), "args": arguments[0], **arguments[1]}
    name = getattr(part, "__qualname__", None) or type(part).__qualname__
    module = getattr(part, "__module__", "") or ""
    return name if module.startswith("kt_recipe_") or not module else f"{module}.{name}"
