"""Checking a protobuf message before it is parsed: two bytes on the wire can become fifty in memory.

Parsing a body of 32 MB that consists of empty parts (examples, sides of a shape, names of outputs) takes more than a
gigabyte. So the parts are counted first, and a message with too many is refused.
"""

from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from kt.serve.refusal import invalid

_DEEPEST = 12  # a classify request goes down eight
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_GROWING = {  # types that take one byte on the wire and four or eight in memory
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_ENUM,
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_SINT32,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
}
_PIXELS = "tensorflow.TensorProto.int_val"  # many of these are expected


def check_parts(data: bytes, descriptor: Any, *, most: int) -> None:
    """Raise Refusal for a message with more than `most` parts on all levels together, or for a malformed one."""
    _Counter(data, most).into(0, len(data), descriptor, depth=0)


class _Counter:
    def __init__(self, data: bytes, most: int) -> None:
        self._data, self._most, self._seen = data, most, 0

    def into(self, at: int, end: int, descriptor: Any, *, depth: int) -> None:
        if depth > _DEEPEST:
            raise invalid(f"The message has more than {_DEEPEST} levels")
        known = _parts(descriptor)
        while at < end:
            tag, at = self._number(at, end)
            self._count(1)
            kind = tag & 7
            if kind == _VARINT:
                _, at = self._number(at, end)
            elif kind == _BYTES:
                length, at = self._number(at, end)
                if length > end - at:
                    raise _broken()
                message, grows = known.get(tag >> 3, (None, False))
                if message is not None:
                    self.into(at, at + length, message, depth=depth + 1)
                elif grows:
                    self._count(length)
                at += length
            elif kind in (_FIXED64, _FIXED32):
                at += 8 if kind == _FIXED64 else 4
            else:
                raise _broken()
        if at != end:
            raise _broken()

    def _count(self, parts: int) -> None:
        self._seen += parts
        if self._seen > self._most:
            raise invalid(f"The message has more than {self._most:,} parts")

    def _number(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 64:
            byte = self._data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7
        raise _broken()


@cache
def _parts(descriptor: Any) -> dict[int, tuple[Any, bool]]:
    """For each field that is a message or may grow: its descriptor, and whether each of its bytes counts as a part."""
    return {
        field.number: (field.message_type, field.type in _GROWING and field.full_name != _PIXELS)
        for field in descriptor.fields
        if field.message_type is not None or field.type in _GROWING
    }


def _broken() -> Exception:
    return invalid("The message cannot be parsed")
