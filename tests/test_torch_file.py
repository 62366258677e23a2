"""A `.pth` is a pickle, and a pickle is a program: only tensors come out of it, and nothing in it runs."""

import os
import pickle
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kt.backbones import torch_file
from kt.backbones.torch_file import efficientnet_layers, read_tensors
from kt.errors import WeightsError

# ---------------------------------------------------------------------------- torch's older format, written by hand


def word(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def whole(number):
    return b"J" + struct.pack("<i", number) if abs(number) < 2**31 else b"\x8a\x08" + struct.pack("<q", number)


def tuple_of(*parts):
    return b"(" + b"".join(parts) + b"t"


def calls(name, *arguments):
    return b"c" + name.replace(" ", "\n").encode() + b"\n" + tuple_of(*arguments) + b"R"


EMPTY = b"ccollections\nOrderedDict\n)R"


def tensor(key, array, *, count=None, shape=None, strides=None, offset=0):
    """The instructions for one tensor; what is given by name is a lie about the array."""
    kind = {"f": "FloatStorage", "i": "LongStorage"}[array.dtype.kind]
    count = array.size if count is None else count
    strides = [step // array.itemsize for step in array.strides] if strides is None else strides
    storage = tuple_of(
        word("storage"), f"ctorch\n{kind}\n".encode(), word(key), word("cpu"), whole(count), b"N"
    )  # fmt: skip
    sizes = (tuple_of(*map(whole, numbers)) for numbers in (array.shape if shape is None else shape, strides))
    return calls("torch._utils _rebuild_tensor_v2", storage + b"Q", whole(offset), *sizes, b"\x89", EMPTY)


def head(*, little_endian=True):
    told = word("little_endian") + (b"\x88" if little_endian else b"\x89")
    return pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + b"\x80\x02}(" + told + b"u."


def stored(array):
    """The numbers as they lie in memory, where a transposed array keeps the order that it had."""
    inner_last = np.argsort(array.strides, kind="stable")[::-1]
    return struct.pack("<q", array.size) + array.transpose(inner_last).tobytes()


def saved(arrays, **lies):
    """A file as `torch.save` wrote it before torch 1.6; `lies` is told of the last tensor."""
    last = len(arrays) - 1
    named = b"".join(
        word(name) + tensor(str(i), array, **(lies if i == last else {}))
        for i, (name, array) in enumerate(arrays.items())
    )
    keys = pickle.dumps([str(i) for i in range(len(arrays))], 2)
    return head() + b"\x80\x02" + EMPTY + b"(" + named + b"u." + keys + b"".join(map(stored, arrays.values()))


SMALL = {
    "_conv_stem.weight": np.arange(24, dtype="float32").reshape(2, 3, 2, 2),
    "_bn0.num_batches_tracked": np.array(7, "int64"),
    "_fc.bias": np.array([0.5, -1.5], "float32"),
}


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        return read_tensors(path)

    return read


def refused(read, content, match):
    with pytest.raises(WeightsError, match=match) as caught:
        read(content)
    assert str(caught.value).startswith(("weights.pth", "/")) and "weights.pth is not used: " in str(caught.value)
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------- what is read


def test_tensors_come_out_by_name_in_order_with_their_numbers(read):
    found = read(saved(SMALL))
    assert list(found) == list(SMALL)
    for name, array in SMALL.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_tensor_that_torch_kept_transposed_comes_out_in_its_own_order(read):
    kept = np.arange(24, dtype="float32").reshape(4, 3, 2).transpose(1, 2, 0)
    np.testing.assert_array_equal(read(saved({"x": kept}))["x"], kept)


def test_a_file_that_torch_itself_saved_is_read_to_the_bit(tmp_path):
    torch = pytest.importorskip("torch")
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(4, 2))
    state = layers.state_dict()
    state["turned"] = torch.arange(6.0).reshape(2, 3).T
    torch.save(state, tmp_path / "weights.pth", _use_new_zipfile_serialization=False)
    found = read_tensors(tmp_path / "weights.pth")
    assert list(found) == list(state)
    assert all(np.array_equal(found[name], value.numpy()) for name, value in state.items())


def test_reading_loads_neither_torch_nor_keras(tmp_path):
    (tmp_path / "weights.pth").write_bytes(saved(SMALL))
    code = (
        "import sys; from pathlib import Path; from kt.backbones.torch_file import read_tensors;"
        "assert len(read_tensors(Path('weights.pth'))) == 3;"
        "assert not {'torch', 'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


# --------------------------------------------------------------------------------------------------- what is refused


class Attack:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_a_command_is_refused_and_does_not_run_it(read, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attack = pickle.dumps({"_fc.bias": Attack()}, protocol)
    refused(read, head() + attack, r"'posix\.system', which is no part of a tensor|pickle instruction")
    refused(read, attack, "is not used")
    assert not Path("ran").exists()
    pickle.loads(attack)
    assert Path("ran").exists(), "else the test would show nothing"


def test_what_is_asked_for_is_named(read):
    refused(read, head() + b"\x80\x02" + calls("builtins eval", word("1")) + b".", r"asks for 'builtins\.eval'")


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"count": 2**40}, r"cut short or damaged: 1099511627776 numbers are announced, and 2 are there"),
        ({"count": 1}, "cut short or damaged"),
        ({"count": -1}, "something other than a storage"),
        ({"shape": (2**40,), "strides": (0,)}, r"the shape \(1099511627776,\), and its storage 2 numbers"),
        ({"shape": (2**40, 0), "strides": (1, 1)}, "the shape"),
        ({"shape": (3,)}, r"the shape \(3,\), and its storage 2 numbers"),
        ({"offset": 1}, "the shape"),
        ({"offset": -1}, "no whole number"),
        ({"strides": (-1,)}, "no whole number"),
        ({"strides": (2**40,)}, "the shape"),
        ({"strides": ()}, "damaged"),
    ],
)
def test_sizes_that_the_file_does_not_have_are_refused_before_anything_is_allocated(read, lie, match):
    refused(read, saved(SMALL, **lie), match)


def test_a_file_that_ends_early_is_refused_wherever_it_ends(read):
    content = saved(SMALL)
    for length in range(0, len(content), 7):
        refused(read, content[:length], "is not used")
    refused(read, content[:-1], "cut short or damaged")


def test_any_damaged_byte_ends_in_numbers_or_in_one_line(read):
    content, draw, ends = saved(SMALL), random.Random(0), set()
    for _ in range(500):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            ends.add(type(read(bytes(damaged))))
        except WeightsError as error:
            assert "\n" not in str(error)
            ends.add(WeightsError)
    assert ends == {dict, WeightsError}


def test_a_place_in_the_memory_that_no_file_needs_costs_nothing(read):
    refused(read, head() + b"\x80\x02}r\xff\xff\xff\xff.", "damaged")


def test_a_key_that_would_take_for_ever_to_look_up_is_refused(read):
    bomb = b")" + b"q\x00h\x00\x86" * 60  # a pair of pairs of pairs ...
    refused(read, head() + b"\x80\x02}(" + bomb + b"Nu.", "something other than names")


def test_other_things_than_tensors_are_refused(read):
    refused(read, pickle.dumps({"a": 1}, 2), "does not begin as torch's files do")
    refused(read, head() + pickle.dumps({"a": 1}, 2) + pickle.dumps([], 2), "something other than tensors by name")
    refused(read, head() + pickle.dumps({1: 2}, 2), "a dictionary of something other than names")
    refused(read, head(little_endian=False), "big-endian")
    refused(read, b"PK\x03\x04", "torch's zip format; save it with _use_new_zipfile_serialization=False")
    refused(read, b"", "is not used")
    refused(read, b"not a pickle", "is not used")


def test_a_file_that_is_too_large_is_not_even_opened(read, monkeypatch):
    monkeypatch.setattr(torch_file, "LARGEST", 10)
    refused(read, saved(SMALL), "it is larger than")


# --------------------------------------------------------------------------------------------- to Keras's own layout


def test_convolutions_and_dense_layers_are_turned_and_batch_norm_is_put_in_order():
    random = np.random.default_rng(0)
    arrays = {
        "_conv_stem.weight": random.normal(size=(8, 3, 5, 4)),
        "_bn0.weight": random.normal(size=8),
        "_bn0.bias": random.normal(size=8),
        "_bn0.running_mean": random.normal(size=8),
        "_bn0.running_var": random.normal(size=8),
        "_bn0.num_batches_tracked": np.array(3),
        "_blocks.0._depthwise_conv.weight": random.normal(size=(8, 1, 5, 4)),
        "_fc.weight": random.normal(size=(10, 8)),
        "_fc.bias": random.normal(size=10),
    }
    found = dict(efficientnet_layers(arrays))
    assert list(found) == ["_conv_stem", "_bn0", "_blocks.0._depthwise_conv", "_fc"]
    assert [array.shape for array in found["_conv_stem"]] == [(5, 4, 3, 8)]
    assert found["_conv_stem"][0][1, 2, 0, 7] == arrays["_conv_stem.weight"][7, 0, 1, 2]
    assert [array.shape for array in found["_blocks.0._depthwise_conv"]] == [(5, 4, 8, 1)]
    assert found["_blocks.0._depthwise_conv"][0][1, 2, 7, 0] == arrays["_blocks.0._depthwise_conv.weight"][7, 0, 1, 2]
    assert [array.shape for array in found["_fc"]] == [(8, 10), (10,)]
    for array, part in zip(found["_bn0"], ("weight", "bias", "running_mean", "running_var"), strict=True):
        np.testing.assert_array_equal(array, arrays[f"_bn0.{part}"])


@pytest.mark.parametrize(
    "name",
    ["features.0.0.weight", "_blocks.0._se_reduce.weight", "_conv_stem.bias", "_bn0.weight", "weight", "_fc.weight"],
)
def test_layers_of_another_network_are_refused(name):
    with pytest.raises(WeightsError, match="is no layer of an EfficientNet-Lite"):
        efficientnet_layers({name: np.zeros((2, 2, 1, 1))})
