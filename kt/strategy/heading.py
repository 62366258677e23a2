"""What the JSON files of a comparison begin with: who was asked for what, when, and with which versions."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import keras

from kt.base.environment import machine, versions
from kt.base.metrics import CONFIDENCE
from kt.data.splits import Splits
from kt.runs.origin import Origin


def heading(origin: Origin, started: datetime, *, finished: bool, splits: Splits) -> dict[str, Any]:
    """The recipe, the command, the time, the versions and the data, as plain data."""
    installed = versions()
    return {
        "kt": installed.get("kt-transfer", "unknown"),
        "recipe": {
            "name": origin.name,
            "file": str(origin.file) if origin.file else None,
            "settings": list(origin.settings),
            "data": origin.data,
            "target": origin.target,
            "target_labels": origin.target_labels,
        },
        "command": origin.command,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
        "finished": finished,
        "backend": str(keras.backend.backend()),
        "versions": installed,
        "machine": machine(),
        "data": _data(splits),
        "confidence": CONFIDENCE,
    }


def _data(splits: Splits) -> Mapping[str, Any]:
    return {
        "kind": splits.kind.name,
        "origin": splits.origin,
        "digest": splits.digest,
        "rendered": splits.rendered,
        "classes": list(splits.classes),
        "image_size": splits.kind.to_json().get("image_size"),
        "batch_size": splits.batch_size,
        "pictures": {name: len(part) for name, part in splits.parts().items()},
        "things": {name: len(set(part.groups)) for name, part in splits.parts().items()},
    }
