"""Kinds of examples, one package each: how examples of that kind are found, read and checked.

`KINDS` lists all of them. The data source determines the kind, and the kind is saved with the model.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from kt.errors import ReleaseError
from kt.kinds.kind import Kind, Nouns, Unnamed

KINDS = {"pictures": "kt.kinds.pictures.kind:Pictures", "rows": "kt.kinds.rows.kind:Rows"}
"""The module and class of each kind, by its name; imported on first use."""


def from_json(told: Mapping[str, Any]) -> Kind:
    """The kind from the data of its `Kind.to_json`. Raises ReleaseError for a kind that this version does not know."""
    if told.get("kind") not in KINDS:
        raise ReleaseError(
            f"Examples of the kind {told.get('kind')!r} are unknown to this kt; it knows {', '.join(KINDS)}."
        )
    kind: Kind = _class(str(told["kind"])).from_json(told)
    return kind


def nouns(name: str | None) -> Nouns:
    """What examples of the kind of this name are called; neutral words for a kind that this kt does not know.

    name: as files have it; None or empty in those of an earlier kt, which knew pictures alone.
    """
    name = name or next(iter(KINDS))
    found: Nouns = _class(name) if name in KINDS else Unnamed()
    return found


def of_model(shape: tuple[int | None, ...], dtype: str, asides: Mapping[str, str], *, where: object) -> Kind:
    """The kind of examples that an artefact takes.

    shape: the shape of its input, `[N, ...]`, with None for any size. dtype: that of its input. asides: the texts that
    it carries. where: its path, for errors. Raises ReleaseError if no kind fits.
    """
    for name in KINDS:
        kind: Kind | None = _class(name).of_model(shape, dtype, asides)
        if kind is not None:
            return kind
    raise ReleaseError(
        f"{where} takes {dtype} {list(shape)}; kt runs models that take pictures, [N, H, W, 3], or rows whose columns "
        "it carries."
    )


def asides() -> tuple[str, ...]:
    """The names of the texts that artefacts may carry."""
    return tuple(name for kind in KINDS for name in _class(kind).asides)


def inputs() -> tuple[str, ...]:
    """The names of models' inputs, one for each kind."""
    return tuple(_class(kind).takes for kind in KINDS)


def _class(name: str) -> Any:
    module, _, attribute = KINDS[name].partition(":")
    return getattr(import_module(module), attribute)
