"""The description of a model inside a phone file: author, license, translated class names, score threshold."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kt.base.names import printable
from kt.errors import ReleaseError
from kt.export.labels import from_text
from kt.recipe import summary_of

_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class About:
    """The words in a TFLite file's metadata; everything may be left out.

    description: one line. author, license: of the model. translations: class names in other languages, in the order of
    the scores, under their locale, such as "de" or "pt-BR". score_threshold: above 0 and at most 1; clients that heed
    it leave out classes with a lower score; None leaves nothing out. one_output: the file gives scores alone, for apps
    whose libraries read one output only. Raises ReleaseError for an invalid locale or threshold.
    """

    description: str = ""
    author: str = ""
    license: str = ""
    translations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    score_threshold: float | None = None
    one_output: bool = False

    def __post_init__(self) -> None:
        for locale in self.translations:
            if not _LOCALE.fullmatch(locale):
                raise ReleaseError(f"{locale!r} is no locale; write it as 'de' or 'pt-BR'.")
        if self.score_threshold is not None and not 0 < self.score_threshold <= 1:
            raise ReleaseError(f"A score threshold is above 0 and at most 1, such as 0.5, not {self.score_threshold}.")

    @classmethod
    def of_recipe(cls, file: Path | None) -> "About":
        """The docstring's first line, `__author__` and `__license__` of a recipe's file, read without running it."""
        if file is None or not file.is_file():
            return cls()
        texts = _texts(file)
        author, licence = (printable(texts.get(name, "")) for name in ("__author__", "__license__"))
        return cls(printable(summary_of(file)), author, licence)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "About":
        """The reverse of `dataclasses.asdict`, after JSON."""
        return cls(**{**data, "translations": {key: tuple(names) for key, names in data["translations"].items()}})

    def check(self, classes: Sequence[str]) -> None:
        """Raise ReleaseError if a translation does not have exactly one name for each class."""
        for locale, names in self.translations.items():
            if len(names) != len(classes) or not all(names):
                order = ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")
                raise ReleaseError(
                    f"The labels in {locale!r} must be {len(classes)} lines in the order {order}; there are "
                    f"{sum(map(bool, names))}{' and an empty one' if not all(names) else ''}."
                )


def read_translation(setting: str) -> tuple[str, tuple[str, ...]]:
    """The locale and the names of `de=labels_de.txt`: a text file with one name a line, as in `labels.txt`."""
    locale, equals, file = setting.partition("=")
    if not equals or not locale or not file:
        raise ReleaseError(f"Cannot take labels from {setting!r}: write it as de=labels_de.txt.")
    try:
        return locale, from_text(Path(file).read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ReleaseError(f"Cannot read the labels in {file}: {reason}.") from None


def _texts(file: Path) -> dict[str, str]:
    """The plain texts that a Python file assigns to names at its top level, by name."""
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError):
        return {}
    return {
        target.id: node.value.value
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
