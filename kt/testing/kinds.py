"""Whether a kind of examples keeps the rules that kt's own kinds keep."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kt.kinds.kind import Kind, check_examples
from kt.testing.rules import hold


def check_kind(kind: Kind, paths: Sequence[Path]) -> None:
    """Read the examples in some files, and take them the ways that kt does; AssertionError says which rule breaks.

    paths: files or folders with examples of the kind, two at least.
    """
    import keras

    made: Any = type(kind)
    told = json.loads(json.dumps(kind.to_json()))
    hold(told.get("kind") == kind.name, f"to_json says kind {told.get('kind')!r}; its name is {kind.name!r}")
    hold(made.from_json(told) == kind, "from_json gives another kind than to_json was asked of")
    hold(set(kind.aside()) <= set(made.asides), "aside has texts that `asides` does not name")
    found = made.of_model((None, *kind.shape), kind.dtype, kind.aside())
    hold(found == kind, "of_model does not find it again by what an artefact carries")
    sources = list(kind.found(paths))
    hold(len(sources) >= 2, f"found gives {len(sources)} examples; expected two at least")
    examples = np.stack([kind.read(source.given) for source in sources if not source.error])
    check_examples(kind, examples)
    back = kind.unpack(kind.pack(examples))
    hold(back.dtype == examples.dtype and np.array_equal(back, examples), "unpack gives something else than was packed")
    inputs = keras.Input(kind.shape, dtype=kind.dtype)
    prepared = keras.Model(inputs, kind.prepared(inputs))
    hold(tuple(prepared.output_shape[1:]) == kind.fed, f"prepared gives {prepared.output_shape}; fed says {kind.fed}")
    values = keras.ops.convert_to_numpy(prepared(examples))
    hold(values.dtype == np.float32 and np.isfinite(values).all(), "prepared gives no float32, or no number")
    shown = kind.shown(examples[0])
    hold(not shown or shown.startswith("data:image/"), "shown gives no `data:` address of a picture")
    if kind.encoded is not None:
        _check_encoded(kind, [source.given for source in sources if not source.error], examples)


def _check_encoded(kind: Kind, given: Sequence[Any], examples: Any) -> None:
    """What a SavedModel decodes is what kt reads, bit for bit."""
    import tensorflow as tf

    encoded = kind.encoded
    assert encoded is not None
    for place, one in enumerate(given):
        for content in (encoded.bytes_of(one), encoded.of_example(examples[place])):
            decoded = encoded.in_graph(tf.constant(content)).numpy()
            hold(np.array_equal(decoded, examples[place]), f"in_graph decodes example {place} otherwise than read does")
