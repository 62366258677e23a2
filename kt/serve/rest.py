"""TensorFlow Serving's REST interface: its addresses, its JSON in row and column format, and its error messages."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import json_format

from kt.serve.answering import Answer
from kt.serve.batching import Pixels
from kt.serve.refusal import invalid
from kt.serve.servable import FROM_BYTES, FROM_PIXELS, IN_SET, SIGNATURES, Servable
from kt.serve.store import VersionStatus

_WHICH = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_ASK = re.compile(_WHICH + r":(?P<verb>classify|regress|predict|explain)", re.IGNORECASE)
_LOOK = re.compile(_WHICH + r"(?:/(?P<verb>metadata|drift))?", re.IGNORECASE)
_NO_NAME = re.compile(r"/v1/models/?", re.IGNORECASE)

_MOST_LISTS = 4_000_000
"""The most lists of a request, more than any number of pictures needs: each takes some hundred bytes of memory."""

_MOST_TEXTS = 100_000
"""The most objects and texts of a request: each takes a few hundred bytes of memory."""

_SHOWN = 80
_WHITESPACE = b"\t\n\v\f\r "


@dataclass(frozen=True)
class Address:
    """The parts of a path. verb: predict, classify, regress, explain, metadata, drift or status."""

    name: str
    version: int | None
    label: str | None
    verb: str


def address(method: str, path: str) -> Address:
    """Parse a path as TensorFlow Serving does. Raises Refusal for an unknown one."""
    match = _ASK.fullmatch(path) if method == "POST" else _LOOK.fullmatch(path) if method == "GET" else None
    if match is None:
        if method == "GET" and _NO_NAME.fullmatch(path):
            raise invalid("Missing model name in request.")
        raise invalid(f"Malformed request: {method} {path}")
    version = match["version"]
    if version is not None and len(version) > 18:  # more than the 64 bits of a version hold
        raise invalid(f"Failed to convert version: {version[:_SHOWN]} to numeric.")
    return Address(
        match["name"],
        int(version) if version is not None else None,
        match["label"],
        (match["verb"] or "status").lower(),
    )


@dataclass(frozen=True)
class Request:
    """The content of a body: a signature, and its input, encoded pictures or pixels. rows: row or column format."""

    signature: str
    given: "Sequence[bytes] | Pixels"
    rows: bool


def predict_request(body: bytes) -> Request:
    """Read the body of a predict request. Raises Refusal with the reason if it is not valid."""
    return _predict_request(_document(body))


@dataclass(frozen=True)
class ExplainRequest:
    """The content of a body of an explain request. pictures: one. label: the class to explain; None for the best."""

    pictures: Request
    label: str | None


def explain_request(body: bytes) -> ExplainRequest:
    """Read the body of an explain request: that of a predict request for one picture, and `class`."""
    document = _document(body)
    request, label = _predict_request(document), document.get("class")
    if len(request.given) != 1:
        raise invalid(f"The request holds {len(request.given)} pictures; one at a time is explained")
    if label is not None and not isinstance(label, str):
        raise invalid(_value(label, "'class' must be the name of a class"))
    return ExplainRequest(request, label)


def _predict_request(document: Mapping[str, Any]) -> Request:
    signature = _signature(document)
    name = SIGNATURES[signature]
    if "instances" in document and "inputs" in document:
        raise invalid(_value(document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys"))
    if "instances" in document:
        return Request(signature, _tensor(_instances(document, name), signature), rows=True)
    if "inputs" in document:
        return Request(signature, _tensor(_inputs(document["inputs"], name), signature), rows=False)
    raise invalid("Missing 'inputs' or 'instances' key")


def classify_request(body: bytes) -> Request:
    """Read the body of a classify request: examples with the feature `image_bytes`."""
    document = _document(body)
    signature, examples = _signature(document), document.get("examples")
    if signature != FROM_BYTES:
        raise invalid(f"Classify takes encoded pictures: signature {FROM_BYTES!r}, not {signature!r}")
    if "examples" not in document:
        raise invalid(_value(document, "When method is classify, key 'examples' is expected and was not found"))
    if not isinstance(examples, list):
        raise invalid(_value(document, "Expecting 'examples' value to be an list/array"))
    if not examples:
        raise invalid(_value(document, "'examples' value is an empty array"))
    context = document.get("context", {})
    return Request(signature, [_feature(example, context) for example in examples], rows=True)


def predictions(answer: Answer, request: Request) -> dict[str, Any]:
    """The answer to a predict request, in the request's format."""
    columns: dict[str, list[Any]] = {
        "label": answer.labels,
        "scores": [_numbers(row) for row in answer.scores],
        "classes": [list(answer.classes)] * len(answer.scores),
    }
    if (inside := answer.in_set) is not None:
        columns[IN_SET] = inside.tolist()
    if answer.unfamiliarity is not None:
        columns["unfamiliarity"] = _numbers(np.array(answer.unfamiliarity, np.float32))
    if answer.unfamiliar is not None:
        columns["unfamiliar"] = list(answer.unfamiliar)
    if not request.rows:
        return {"outputs": columns}
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def classifications(answer: Answer) -> dict[str, Any]:
    """The answer to a classify request: for each example, each label with its score."""
    return {
        "results": [[list(pair) for pair in zip(answer.classes, _numbers(row), strict=True)] for row in answer.scores]
    }


def status(states: Sequence[VersionStatus]) -> dict[str, Any]:
    """The states of versions, as JSON."""
    return {
        "model_version_status": [
            {
                "version": str(each.version),
                "state": each.state,
                "status": {"error_code": "UNKNOWN" if each.error else "OK", "error_message": each.error},
            }
            for each in states
        ]
    }


def metadata(servable: Servable) -> dict[str, Any]:
    """The signatures of a version, as JSON."""
    signatures = {
        name: json_format.MessageToDict(
            signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, signature in sorted(servable.signature_defs.items())
    }
    return {
        "model_spec": {"name": servable.name, "signature_name": "", "version": str(servable.version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _document(body: bytes) -> Mapping[str, Any]:
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    if body.count(b"[") > _MOST_LISTS:  # each would take some hundred bytes of memory
        raise invalid(f"JSON Parse error: more than {_MOST_LISTS:,} lists")
    if body.count(b"{") > _MOST_TEXTS or body.count(b'"') > 4 * _MOST_TEXTS:
        raise invalid(f"JSON Parse error: more than {_MOST_TEXTS:,} objects or texts")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of thousands of digits, nested too deeply
        raise invalid(f"JSON Parse error: {str(error)[:_SHOWN]}") from None
    if not isinstance(document, dict):
        raise invalid(_value(document, "Is not object"))
    return document


def _signature(document: Mapping[str, Any]) -> str:
    name = document.get("signature_name") or FROM_BYTES
    if not isinstance(name, str):
        raise invalid(_value(document, "not formatted correctly. 'signature_name' key must be a string value."))
    if name not in SIGNATURES:
        raise invalid(f'Serving signature name: "{name[:_SHOWN]}" not found in signature def')
    return name


def _instances(document: Mapping[str, Any], name: str) -> list[Any]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid(_value(document, "Excepting 'instances' to be an list/array"))
    if not instances:
        raise invalid(_value(document, "No values in 'instances' array"))
    named = _is_named(instances[0])
    return [_instance(item, name, index=index, named=named) for index, item in enumerate(instances)]


def _instance(item: Any, name: str, *, index: int, named: bool) -> Any:
    if named and not _is_named(item):
        raise invalid(f"Expecting object but got list at item {index} of input list")
    if not named and _is_named(item):
        raise invalid(f"Expecting value/list but got object at item {index} of input list")
    if not named:
        return item
    if item.keys() != {name}:
        raise invalid(
            f"Failed to process element: {index} of 'instances' list. "
            + _value(item, f"keys must be equal to: {name}", what="JSON object")
        )
    return item[name]


def _inputs(inputs: Any, name: str) -> Any:
    if not _is_named(inputs):
        return inputs
    if name not in inputs:
        raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return inputs[name]


def _is_named(item: Any) -> bool:
    """Whether an object names inputs; an object `{"b64": ...}` is a binary value instead."""
    return isinstance(item, dict) and not _is_base64(item)


def _is_base64(item: Any) -> bool:
    return isinstance(item, dict) and item.keys() == {"b64"} and isinstance(item["b64"], str)


def _tensor(values: Any, signature: str) -> "Sequence[bytes] | Pixels":
    if not isinstance(values, list):
        raise invalid(_value(values, f"is no list; input {SIGNATURES[signature]} has a batch dimension"))
    return _pixels(values) if signature == FROM_PIXELS else [_bytes(value) for value in values]


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", errors="surrogatepass")
    if not isinstance(value, dict):
        raise invalid(_value(value, "is not of expected type: string"))
    if not _is_base64(value):
        raise invalid(_value(value, "not formatted correctly for base64 data"))
    return _from_base64(value["b64"])


def _from_base64(text: str) -> bytes:
    """Decode as TensorFlow Serving does: white space is skipped; padding is complete or absent, and may be dots."""
    try:
        letters = text.encode("ascii").translate(None, _WHITESPACE)
        bare = letters.rstrip(b"=.")
        if len(letters) - len(bare) in (0, -len(bare) % 4):
            return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except ValueError:
        pass
    raise invalid("Unable to base64 decode")


def _pixels(values: list[Any]) -> Pixels:
    # As objects first: otherwise NumPy would allocate the longest text for every element, or truncate 1.5 to 1.
    try:
        objects = np.array(values, dtype=object)
    except ValueError as error:
        raise invalid(f"Input pixels is no tensor: {str(error)[:_SHOWN]}") from None
    flat = objects.reshape(-1)
    kinds = set(map(type, flat))
    if kinds - {int}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise invalid(f"Input pixels must be whole numbers in lists of one shape; there is: {names}")
    if kinds and not 0 <= min(flat) <= max(flat) <= 255:
        raise invalid(f"Input pixels must be 0 to 255; there is {str(min(flat) if min(flat) < 0 else max(flat))[:20]}")
    return objects.astype(np.uint8)


def _feature(example: Any, context: Any) -> bytes:
    name = SIGNATURES[FROM_BYTES]
    if not isinstance(example, dict) or not isinstance(context, dict):
        raise invalid(_value(example, "Example must be JSON object"))
    if (value := example.get(name, context.get(name))) is None:
        raise invalid(f"Feature: {name} is missing in an example")
    values = value if isinstance(value, list) else [value]
    if len(values) != 1:
        raise invalid(f"Feature: {name} has {len(values)} values; expected one picture an example")
    return _bytes(values[0])


def _numbers(row: Any) -> list[float]:
    """Float32 numbers as the shortest decimals that give them back: 0.2, not 0.20000000298."""
    return [float(str(value)) for value in row]


def _value(value: Any, problem: str, *, what: str = "JSON Value") -> str:
    """An error that quotes the beginning of a value."""
    text = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else _outline(value)
    return f"{what}: {text[:_SHOWN]} {problem}"


def _outline(value: Any) -> str:
    return "{" + ", ".join(map(repr, list(value)[:8])) + "}" if isinstance(value, dict) else f"[{len(value)} values]"
