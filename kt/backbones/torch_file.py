"""Reading tensors from a `.pth` file, which is a pickle, without torch and without running anything in it.

Python's own unpickler calls functions that the file names. This one knows only the few instructions by which torch
describes a tensor, and refuses a file with any other name.
"""

import io
import math
import pickletools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.console import shown
from kt.errors import WeightsError, one_line

SUFFIXES = (".pth", ".pt")

LARGEST = 2**30
"""The most bytes of a file: larger ones are refused, since a file is read at once. EfficientNetLite2 has 25 MB."""

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # how torch.save began a file before torch 1.6
_DICTIONARY, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_NUMBERS: dict[str, np.dtype[Any]] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Name:
    """A function that the pickle would call. Here it is only a name."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """An array of numbers that follows the pickles in the file: its key, its type, and its length."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view into a storage; offset and strides count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: Path) -> dict[str, Array]:
    """Every tensor of a state dict that `torch.save` wrote in its older format, by name, in the file's order.

    Raises WeightsError for anything else in it, for a damaged file, and for sizes that exceed the file's.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise WeightsError(f"it is larger than {LARGEST / 2**30:.0f} GiB")
        return _read(io.BytesIO(path.read_bytes()))
    except WeightsError as error:
        raise WeightsError(f"{shown(path)} is not used: {error}.") from error
    except Exception as error:
        # Any error of pickletools or NumPy means that the file is damaged.
        raise WeightsError(
            f"{shown(path)} is not used: it is damaged, or no file of torch: {one_line(error)}"
        ) from error


def _read(content: io.BytesIO) -> dict[str, Array]:
    if content.getvalue()[:2] == b"PK":
        raise WeightsError("it is in torch's zip format; save it with _use_new_zipfile_serialization=False")
    if _unpickle(content) != _MAGIC or _unpickle(content) != _PROTOCOL:
        raise WeightsError("it does not begin as torch's files do")
    if _unpickle(content).get("little_endian") is not True:
        raise WeightsError("its numbers are big-endian")
    named, keys = _unpickle(content), _unpickle(content)
    if not isinstance(named, dict) or not all(isinstance(tensor, _Tensor) for tensor in named.values()):
        raise WeightsError("it holds something other than tensors by name")
    storages = {tensor.storage.key: tensor.storage for tensor in named.values()}
    numbers = {key: _numbers(content, storages[key]) for key in keys}
    return {name: _array(tensor, numbers[tensor.storage.key]) for name, tensor in named.items()}


def _numbers(content: io.BytesIO, storage: _Storage) -> Array:
    count = int.from_bytes(content.read(8), "little")
    data = content.read(storage.count * storage.dtype.itemsize)
    read = len(data) // storage.dtype.itemsize
    if not count == storage.count == read:
        raise WeightsError(f"it is cut short or damaged: {storage.count} numbers are announced, and {read} are there")
    return np.frombuffer(data, storage.dtype)


def _array(tensor: _Tensor, numbers: Array) -> Array:
    shape, strides = tensor.shape, tensor.strides
    if not all(type(number) is int and number >= 0 for number in (tensor.offset, *shape, *strides)):
        raise WeightsError("a tensor in it has a size that is no whole number")
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if not 0 < math.prod(shape) <= numbers.size or last >= numbers.size:
        raise WeightsError(f"a tensor in it has the shape {shape}, and its storage {numbers.size} numbers")
    bytewise = [stride * numbers.itemsize for stride in strides]
    return np.array(np.lib.stride_tricks.as_strided(numbers[tensor.offset :], shape, bytewise, writeable=False))


# --------------------------------------------------------------------------------------------------------- the pickle


def _unpickle(content: io.BytesIO) -> Any:
    """The object that the next pickle describes, made of plain Python types, names, storages and tensors."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def above_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    instructions: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(content)
    for opcode, argument, _ in instructions:
        match opcode.name:
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[opcode.name]())
            case "TUPLE":
                stack.append(tuple(above_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(opcode.name[-1]))]
                stack.append(tuple(reversed(items)))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            case "APPENDS":
                items = above_mark()
                stack[-1].extend(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _put(stack[-1], [key, value])
            case "SETITEMS":
                items = above_mark()
                _put(stack[-1], items)
            case "GLOBAL":
                stack.append(_name(argument))
            case "BINPERSID":
                stack.append(_storage(*stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_made(function, arguments))
            case "BUILD":
                stack.pop()  # the versions of torch's layers, kept as an attribute of the dictionary
            case other:
                raise WeightsError(f"it holds the pickle instruction {other}, which no tensor needs")
    raise WeightsError("it ends within a pickle")


def _put(target: Any, items: list[Any]) -> None:
    # Only strings are keys: hashing a deeply nested tuple could take Python for ever.
    if type(target) is not dict or not all(isinstance(key, str) for key in items[::2]):
        raise WeightsError("it holds a dictionary of something other than names")
    target.update(zip(items[::2], items[1::2], strict=True))


def _name(name: str) -> _Name:
    if name not in {_DICTIONARY, _TENSOR, *_NUMBERS}:
        raise WeightsError(
            f"it asks for {name.replace(' ', '.')!r}, which is no part of a tensor; nothing of it was run"
        )
    return _Name(name)


def _storage(kind: str, number: _Name, key: str, place: str, count: int, view: object) -> _Storage:
    del place  # the device of the numbers when they were saved
    if kind != "storage" or view is not None or type(key) is not str or type(count) is not int or count < 0:
        raise WeightsError("it refers to something other than a storage of numbers")
    return _Storage(key, _NUMBERS[number.name], count)


def _made(function: _Name, arguments: tuple[Any, ...]) -> Any:
    if function.name == _DICTIONARY and not arguments:
        return {}
    if function.name != _TENSOR:
        raise WeightsError(f"it calls {function.name.replace(' ', '.')} with something that makes no tensor")
    storage, offset, shape, strides, *_ = arguments
    if not isinstance(storage, _Storage):
        raise WeightsError("it makes a tensor out of something other than a storage")
    return _Tensor(storage, offset, shape, strides)


# --------------------------------------------------------------------------------------------------- EfficientNet-Lite

_CONVOLUTIONS = {"_conv_stem", "_expand_conv", "_depthwise_conv", "_project_conv", "_conv_head"}
_NORMALIZATIONS = {"_bn0", "_bn1", "_bn2"}


def efficientnet_layers(tensors: Mapping[str, Array]) -> list[tuple[str, list[Array]]]:
    """Name and arrays of each layer of an EfficientNet-Lite, in order, transposed to Keras's layout.

    tensors: of a file of `efficientnet-lite-pytorch`. Raises WeightsError for those of another network.
    """
    layers: dict[str, dict[str, Array]] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        layers.setdefault(layer, {})[part] = tensor
    return [(name, _as_keras(name, parts)) for name, parts in layers.items()]


def _as_keras(name: str, parts: Mapping[str, Array]) -> list[Array]:
    kind = name.rpartition(".")[2]
    if kind in _NORMALIZATIONS and {"weight", "bias", "running_mean", "running_var"} <= set(parts):
        return [parts[part] for part in ("weight", "bias", "running_mean", "running_var")]
    if kind in _CONVOLUTIONS and set(parts) == {"weight"} and parts["weight"].ndim == 4:
        # torch's order is out, in, height, width. A depthwise kernel has its channels first, and one channel in.
        return [parts["weight"].transpose((2, 3, 0, 1) if kind == "_depthwise_conv" else (2, 3, 1, 0))]
    if kind == "_fc" and set(parts) == {"weight", "bias"}:
        return [parts["weight"].T, parts["bias"]]
    raise WeightsError(
        f"{name!r} with {', '.join(parts)} is no layer of an EfficientNet-Lite, the one kind kt reads .pth of"
    )
