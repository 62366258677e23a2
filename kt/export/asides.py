"""Reads which kind of examples an artefact takes, from the small texts that it carries beside the model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kt import kinds
from kt.base.files import read_json
from kt.kinds.carried import carried
from kt.kinds.kind import Kind

_ON_CARD = "value_range"


def kind_of_artifact(path: Path, shape: Any, dtype: str, *, told: Mapping[str, str] | None = None) -> Kind:
    """The kind of examples that an artefact takes.

    shape, dtype: of its input, `[N, ...]`. told: the texts that it carries, by name; unless given, they are read from
    the artefact. A text that it lacks is taken from `kt.json` beside it. Raises ReleaseError if no kind takes such an
    input.
    """
    texts = dict(told) if told is not None else carried(path, kinds.asides())
    return kinds.of_model(tuple(shape), dtype, _on_card(path if path.is_dir() else path.parent) | texts, where=path)


def _on_card(folder: Path) -> dict[str, str]:
    """The pictures' value range as the card `kt.json` states it, for artefacts that have no room for it."""
    try:
        card = read_json(folder / "kt.json")
    except (OSError, ValueError):  # `kt models` and `kt serve` name a damaged card
        return {}
    value_range = card.get(_ON_CARD) if isinstance(card, dict) else None
    return {} if value_range is None else {f"{_ON_CARD}.json": json.dumps(value_range)}
