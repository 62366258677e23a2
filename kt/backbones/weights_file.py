"""Local weight files (.h5, .weights.h5, .keras, .pth) and SavedModel folders, read as data.

Nothing in them is run, and no layer of the backbone is left out.
"""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from kt.backbones.stored_layers import (
    StoredModel,
    by_prefix,
    is_saved_model,
    matching,
    nested_in_layout,
    of_saved_model,
)
from kt.backbones.torch_file import SUFFIXES, efficientnet_layers, read_tensors
from kt.base.console import say, shown
from kt.errors import KtError, WeightsError

_LONGEST_TOP = 3  # layers with weights: VGG's fc1, fc2 and predictions; every other family has fewer


def load_weights_file(model: keras.Model, path: Path) -> None:
    """Load a file's weights into a backbone without its top. A top in the file is ignored.

    The file, or the folder of a SavedModel, may hold a whole model that contains the backbone. Every layer of the
    backbone gets its weights, or a WeightsError names one that does not fit. Of a `.keras` archive only arrays are
    read, never the configuration. After an error the model may be half loaded and should be dropped.
    """
    if not path.is_file() and not is_saved_model(path):
        raise WeightsError(f"No weights file {str(path)!r}. weights is 'imagenet', None, or the path to a file.")
    tensors = read_tensors(path) if path.suffix in SUFFIXES else None
    try:
        if path.is_dir():
            _assign_part(model, [of_saved_model(path)], path)
        elif tensors is None:
            _assign_file(model, path)
        else:
            _assign(model, efficientnet_layers(tensors))
    except KtError as error:
        raise WeightsError(f"{shown(path)} does not fit {model.name}: {error}") from error
    except Exception as error:
        # Any error of h5py, zipfile or Keras means that the file is damaged or of another kind.
        raise WeightsError(
            f"{shown(path)} is no Keras weights file that can be read: {_one_line(error)}. Expected .h5, .weights.h5 "
            "or .keras, as Keras writes them, the folder of a SavedModel, or .pth of an EfficientNet-Lite."
        ) from error


def _assign_file(model: keras.Model, path: Path) -> None:
    with _open(path) as file:
        _refuse_links(file)
        group = file.get("model_weights", file)
        by_order = _has_attribute(group, "layer_names")
        try:
            if by_order:
                _assign(model, _stored_layers(group))
            else:
                _assign_by_keras(model, file, path)
        except WeightsError as error:
            parts = list(_nested_by_order(group) if by_order else nested_in_layout(file))
            if not parts:
                raise
            _assign_part(model, parts, path, otherwise=error)


def _nested_by_order(group: h5py.Group) -> Iterator[StoredModel]:
    """The models inside an `.h5` file in Keras 2's layout: entries with arrays of several layers."""
    for name in _attribute(group, "layer_names"):
        weights = _attribute(group[name], "weight_names")
        layers = by_prefix([(weight, group[name][weight][()]) for weight in weights])
        if len(layers) > 1:
            yield StoredModel(name, layers)


def _assign_part(
    model: keras.Model, parts: Sequence[StoredModel], path: Path, *, otherwise: WeightsError | None = None
) -> None:
    """Give the backbone the weights of the part that holds all its layers, and report layers that are ignored.

    otherwise: the error that came before parts were tried.
    """
    for part in parts:
        pairs = matching(model, part)
        if pairs is None:
            continue
        for layer, stored in pairs:
            layer.set_weights(stored.arrays)
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()
        used = {layer.name for layer, _ in pairs}
        left = [stored.name for stored in part.layers if stored.name not in used]
        behind = f"; left behind: {', '.join(left[:5])}{', ...' if len(left) > 5 else ''}" if left else ""
        inside = f"{part.name} in {shown(path)}" if otherwise else shown(path)
        say(f"weights: all {len(pairs)} layers of {model.name} are found in {inside}{behind}")
        return
    wanted = [layer for layer in model.layers if layer.weights]
    problems = "; ".join(f"{part.name} has {len(part.layers)}, {_lacking(wanted, part)}" for part in parts)
    before = f"{otherwise}; " if otherwise else ""
    raise WeightsError(
        f"{before}inside it, all {len(wanted)} layers of the backbone were expected by name and shape; {problems}"
    )


def _lacking(wanted: Sequence[Any], part: StoredModel) -> str:
    """Why a part does not match the backbone."""
    stored_shapes = {stored.name: [tuple(array.shape) for array in stored.arrays] for stored in part.layers}
    for layer in wanted:
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if layer.name not in stored_shapes:
            return f"but no {layer.name!r}"
        if stored_shapes[layer.name] != shapes:
            return f"and {layer.name!r} has shapes {stored_shapes[layer.name]} in place of {shapes}"
    return "and more layers than a top has"


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    if zipfile.is_zipfile(path):
        with (
            zipfile.ZipFile(path) as archive,
            archive.open("model.weights.h5") as member,
            h5py.File(member, "r") as file,
        ):
            yield file
    else:
        with h5py.File(path, "r") as file:
            yield file


def _refuse_links(file: h5py.File) -> None:
    """Raise WeightsError for links: HDF5 can point to other files of this machine, which a weights file needn't."""

    def problem(name: str, link: Any) -> str | None:
        if not isinstance(link, h5py.HardLink):
            return f"it holds a link at {name!r}, which kt does not follow"
        item = file[name]
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            return f"it keeps the data of {name!r} in another file, which kt does not open"
        return None

    first = file.visititems_links(problem)  # stops at the first result; an exception would get lost in h5py
    if first:
        raise WeightsError(first)


def _has_attribute(group: h5py.Group, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """A list of names. HDF5 limits an attribute's size, so Keras splits a long list into name0, name1, ..."""
    pieces = [name] if name in group.attrs else []
    while f"{name}{len(pieces)}" in group.attrs and name not in pieces:
        pieces.append(f"{name}{len(pieces)}")
    entries = [entry for piece in pieces for entry in group.attrs[piece]]
    return [entry.decode() if isinstance(entry, bytes) else str(entry) for entry in entries]


def _stored_layers(group: h5py.Group) -> list[tuple[str, list[Any]]]:
    """Name and arrays of each layer with arrays, in the order of Keras 2's and 3's `.h5` files."""
    layers = [(name, group[name]) for name in _attribute(group, "layer_names")]
    arrays = [(name, [layer[weight][()] for weight in _attribute(layer, "weight_names")]) for name, layer in layers]
    return [(name, values) for name, values in arrays if values]


def _assign(model: keras.Model, stored: list[tuple[str, list[Any]]]) -> None:
    """Assign layer by layer in order. Names are not compared, since Keras numbers unnamed layers within a session."""
    wanted = [layer for layer in model.layers if layer.weights]
    for layer, (name, values) in zip(wanted, stored, strict=False):
        expected, given = [tuple(weight.shape) for weight in layer.weights], [value.shape for value in values]
        if expected != given:
            raise WeightsError(f"layer {layer.name!r} wants shapes {expected}, and {name!r} in the file has {given}")
    _check_count(len(wanted), len(stored))
    for layer, (_, values) in zip(wanted, stored, strict=False):
        layer.set_weights(values)
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # Normalization computes with copies of its weights


def _assign_by_keras(model: keras.Model, file: h5py.File, path: Path) -> None:
    """Load Keras 3's own layout by Keras's reader. It ignores layers that only the file has, so count them first."""
    layers = file.get("layers", {})
    stored = [name for name in layers if _holds_numbers(layers[name])]
    if not stored:
        raise WeightsError("it holds no layers as Keras writes them")
    _check_count(len([layer for layer in model.layers if layer.weights]), len(stored))
    if not path.name.endswith((".weights.h5", ".keras")):
        raise WeightsError("its layout is Keras 3's, so its name has to end in .weights.h5")
    try:
        model.load_weights(path)
    except ValueError as error:
        raise WeightsError(_one_line(error)) from error


def _holds_numbers(group: h5py.Group) -> bool:
    return bool(group.visititems(lambda _, item: isinstance(item, h5py.Dataset) or None))


def _check_count(wanted: int, stored: int) -> None:
    if not wanted <= stored <= wanted + _LONGEST_TOP:
        raise WeightsError(f"the file has {stored} layers with weights, the backbone without its top {wanted}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
