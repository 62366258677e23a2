"""Reading the layers of whole saved models as arrays: models nested in Keras's files, and SavedModels.

Nothing of a saved model is built or run; neither its configuration nor its graph is read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from kt.errors import WeightsError

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_OF_TRAINING = ("optimizer", ".OPTIMIZER_SLOT", "save_counter", "keras_api")


@dataclass(frozen=True)
class Stored:
    """A layer with its arrays, in the order of a Keras layer of its kind."""

    name: str
    arrays: Sequence[Any]


@dataclass(frozen=True)
class StoredModel:
    """A model in a file: its name there, and its layers with weights."""

    name: str
    layers: Sequence[Stored]


def nested_in_layout(group: h5py.Group) -> Iterator[StoredModel]:
    """The models inside a file in Keras 3's layout, the outermost first, with the layers that have a name there."""
    for name, child in group.get("layers", {}).items():
        if isinstance(child, h5py.Group) and "layers" in child:
            layers = [layer for layer in map(_stored, child["layers"].values()) if layer]
            yield StoredModel(str(_named(child) or name), layers)
            yield from nested_in_layout(child)


def _stored(group: h5py.Group) -> Stored | None:
    """A layer in Keras 3's layout; None for a layer without its own weights."""
    arrays = group.get("vars", {})
    name = _named(group)
    if not len(arrays) or name is None:
        return None
    return Stored(name, [arrays[str(place)][()] for place in range(len(arrays))])


def _named(group: h5py.Group) -> str | None:
    name = group["vars"].attrs.get("name") if "vars" in group else None
    return name.decode() if isinstance(name, bytes) else name


def by_prefix(named: Sequence[tuple[str, Any]]) -> list[Stored]:
    """Layers from arrays by their full names, such as `base/conv1/kernel:0`.

    Keras 2 and `.h5` write trainable arrays before the others, so a layer's arrays need not be adjacent.
    """
    layers: dict[str, list[Any]] = {}
    for name, array in named:
        layers.setdefault(name.rpartition("/")[0], []).append(array)
    return [Stored(path.rpartition("/")[2], arrays) for path, arrays in layers.items()]


def is_saved_model(path: Path) -> bool:
    """Whether a folder is a SavedModel, as TensorFlow and `model.export` write it."""
    return (path / "saved_model.pb").is_file() and (path / "variables" / "variables.index").is_file()


def of_saved_model(folder: Path) -> StoredModel:
    """The layers of a SavedModel, from its checkpoint alone. Raises WeightsError if it lacks their names."""
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    if not reader.has_tensor(_GRAPH):
        raise WeightsError("its checkpoint does not tell the names of its layers, as those of TensorFlow 2 do")
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH))
    named = [
        (attribute.full_name, reader.get_tensor(attribute.checkpoint_key))
        for node in graph.nodes
        for attribute in node.attributes
        if attribute.full_name and not any(part in attribute.checkpoint_key for part in _OF_TRAINING)
    ]
    return StoredModel(
        folder.name, _in_order(_once([(name, array) for name, array in named if array.dtype.kind == "f"]))
    )


def _once(named: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The arrays without repetitions: `model.export` stores each variable under several paths."""
    distinct: list[tuple[str, Any]] = []
    seen: dict[str, list[Any]] = {}
    for name, array in named:
        same_name = seen.setdefault(name, [])
        if not any(np.array_equal(earlier, array) for earlier in same_name):
            same_name.append(array)
            distinct.append((name, array))
    return distinct


def _in_order(named: Sequence[tuple[str, Any]]) -> list[Stored]:
    """Layers with their arrays in Keras's order; a checkpoint sorts them by name."""
    places = ("kernel", "depthwise_kernel", "pointwise_kernel", "gamma", "bias", "beta", "moving_mean", "mean")
    order = {name: place for place, name in enumerate((*places, "moving_variance", "variance", "count"))}

    def place(item: tuple[str, Any]) -> int:
        return order.get(item[0].rpartition("/")[2].partition(":")[0], len(order))

    return by_prefix(sorted(named, key=place))


def matching(model: keras.Model, part: StoredModel) -> list[tuple[Any, Stored]] | None:
    """Each backbone layer with weights, and the part's layer of the same name and shapes; None if one is missing.

    The part's other layers must look like a top, which has only dense and normalisation layers. Otherwise a deeper
    network of the same family, which has all these names too, would be taken for the smaller one.
    """
    wanted = [layer for layer in model.layers if layer.weights]
    by_name = {stored.name: stored for stored in part.layers}
    names = {layer.name for layer in wanted}
    if not wanted or not names <= set(by_name):
        return None
    if any(array.ndim > 2 for stored in part.layers if stored.name not in names for array in stored.arrays):
        return None
    pairs = [(layer, by_name[layer.name]) for layer in wanted]
    for layer, stored in pairs:
        if [tuple(weight.shape) for weight in layer.weights] != [tuple(array.shape) for array in stored.arrays]:
            return None
    return pairs
