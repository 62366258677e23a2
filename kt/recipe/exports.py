"""The formats that a recipe can export: those of kt, by name, or its own."""

import inspect
import re
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from kt.errors import RecipeError

EXPORTS = ("saved_model", "tflite", "keras", "onnx", "openvino")
"""The formats that `Recipe.export` takes by name. `kt.export.formats` makes them."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@runtime_checkable
class Format(Protocol):
    """A format of your own, for `Recipe.export`: kt makes it, opens it by your runtime, and checks it like its own.

    name: letters, digits, `_` and `-`. Three more attributes are optional: `mobile` (whether phones run it; default
    False), `exact` (whether every score must match the trained model's within 1e-4; default False: it may lose the
    recipe's `tolerance`) and `packages` (modules that must be installed, checked before training; default none).
    `kt.testing.check_format` checks whether a format keeps the rules.
    """

    @property
    def name(self) -> str:
        """The name of the format in `report.json`."""
        ...

    def make(self, model: Any, directory: Path, *, details: Any) -> Path:
        """Write one file or folder into `directory`, and give its path.

        model: a Keras model on TensorFlow, from pixels uint8 `[N, H, W, 3]` to scores float32 `[N, C]`; a picture's
        scores don't depend on the others of its batch. details: a `kt.export.formats.Details`, with `name` and
        `classes`.
        """
        ...

    def opens(self, path: Path) -> bool:
        """Whether a file or folder is of this format."""
        ...

    def open(self, path: Path) -> Any:
        """Open it by its own runtime: an object whose `scores(pixels)` gives float32 `[N, C]` of uint8 `[N, H, W, 3]`.

        It may have `classes` too, which must be those of the model. Several threads may call one object at once.
        """
        ...


def check_export(brought: Format) -> None:
    """Raise RecipeError if a recipe's own format breaks a rule that can be checked without making the format."""
    if isinstance(brought, type):
        raise RecipeError(f"Recipe: export holds the class {brought.__name__}; write {brought.__name__}(...).")
    kind, name = type(brought).__name__, brought.name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RecipeError(
            f"Recipe: the name of the export {kind} must have letters, digits, '_' and '-', and begin with a letter, "
            f"not {name!r}."
        )
    if name.startswith(EXPORTS) or name == "custom":
        raise RecipeError(f"Recipe: the export {kind} can't be named {name!r}, which begins as a format of kt's does.")
    try:
        inspect.signature(brought.make).bind(None, None, details=None)
    except TypeError:
        raise RecipeError(f"Recipe: {kind}.make must take (model, directory, *, details).") from None
    except ValueError:  # some functions in C
        pass
