"""The interface of all kinds of examples, which the rest of kt uses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kt.errors import ReleaseError

if TYPE_CHECKING:  # a recipe's data source knows its kind before anything heavy is imported
    import numpy.typing as npt

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Source:
    """One example to be predicted. name: what a person calls it. error: why it can't be read; empty if it can.

    given: the argument for the kind's `read`: a file, or what has already been read from one.
    """

    name: Path
    given: Any = None
    error: str = ""


class Nouns(Protocol):
    """What a person calls examples of a kind; the kind itself and its class say it.

    one, many: of one and of several. unit: of one where they are only counted, as in "images/s". file: what a file of
    them may be called, for an example of a command.
    """

    @property
    def one(self) -> str: ...  # noqa: D102 - said above

    @property
    def many(self) -> str: ...  # noqa: D102 - said above

    @property
    def unit(self) -> str: ...  # noqa: D102 - said above

    @property
    def file(self) -> str: ...  # noqa: D102 - said above


@dataclass(frozen=True, eq=False)
class Property:
    """Something in which examples differ, and by which a model may answer them well or badly, for each of N examples.

    name: what it is called, such as "brightness". values: float `[N]`, NaN where unknown; None for a property with
    `names` instead. below, above, of: which examples those are with a value below or above one, or with a
    name, as an addition to the noun and with a place for it: "darker than {}". places: how many decimal places a value
    is written with.
    """

    name: str
    values: "Array | None" = None
    names: tuple[str, ...] = ()
    below: str = "of less"
    above: str = "of more"
    of: str = "of {}"
    places: int = 0

    def written(self, value: float) -> str:
        """A value for a person."""
        return f"{value:,.{self.places}f}"


class Unnamed:
    """What examples are called where nobody has said of which kind they are."""

    one = "example"
    many = "examples"
    unit = "example"
    file = "FILE"


class Kind(Nouns, Protocol):
    """What an example is. The data source determines the kind, and every artefact carries it with the model.

    name: its name in files. takes: the name of the model's input. dtype: that of an example as the model takes it. A
    kind is plain data, and imports heavy libraries only inside its functions.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - said above

    @property
    def takes(self) -> str: ...  # noqa: D102 - said above

    @property
    def dtype(self) -> str: ...  # noqa: D102 - said above

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an example as the model takes it, such as `(224, 224, 3)`."""
        ...

    @property
    def fed(self) -> tuple[int, ...]:
        """The shape of an example after `prepared`, which the backbone is built for."""
        ...

    def in_words(self) -> str:
        """An example's size in a few words, such as "224x224 px"."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The whole kind as plain data, which `kt.kinds.from_json` reads."""
        ...

    def aside(self) -> Mapping[str, str]:
        """Small texts by name, which an artefact carries so that `kt.kinds.of_model` can restore the kind."""
        ...

    def prepared(self, inputs: Any) -> Any:
        """Convert the model's symbolic input `[N, *shape]` to float32 `[N, *fed]`, by standard Keras operations."""
        ...

    def found(self, paths: Sequence[Path], left: Any = None) -> Iterator[Source]:
        """The examples in files and folders, in order. left: records what else these hold."""
        ...

    def read(self, given: Any) -> "Array":
        """Read one example `[*shape]`, the same way for training, prediction and serving. Raises DataError."""
        ...

    @property
    def encoded(self) -> "Encoded | None":
        """How a SavedModel decodes examples; None if it takes them as they are."""
        ...

    def pack(self, examples: "Array") -> "dict[str, Array]":
        """Examples `[N, *shape]` as arrays by name that take little disk space."""
        ...

    def unpack(self, arrays: "Mapping[str, Array]") -> "Array":
        """The reverse of `pack`."""
        ...

    def shown(self, example: "Array") -> str:
        """A small image of the example as a `data:` URL, for an HTML page; empty if there is nothing to show."""
        ...


class Encoded(Protocol):
    """How examples are encoded for servers, and decoded inside a SavedModel.

    takes: the name of the input of the signature `serving_default`.
    """

    @property
    def takes(self) -> str: ...  # noqa: D102 - said above

    def bytes_of(self, given: Any) -> bytes:
        """Bytes that the SavedModel decodes to exactly the example that `read` returns. Raises DataError."""
        ...

    def of_example(self, example: "Array") -> bytes:
        """Encode an example that has been read, without loss."""
        ...

    def in_graph(self, encoded: Any) -> Any:
        """Decode one example from a scalar string tensor, by TensorFlow operations."""
        ...

    def warm_up(self) -> Sequence[bytes]:
        """A few encoded dummy examples, for a server's first requests."""
        ...


def properties_of(kind: Kind, examples: "Array", sizes: "Array | None" = None) -> tuple[Property, ...]:
    """The properties of examples `[N, *shape]`, by the kind's method `properties`; none if it has no such method.

    sizes: int `[N, 2]`, the height and width that each had before it was resized, where these are known.
    """
    own = getattr(kind, "properties", None)
    return tuple(own(examples, sizes)) if own is not None else ()


def check_examples(kind: Kind, examples: "Array") -> None:
    """Raise ReleaseError unless these are examples of the kind, `[N, *shape]`."""
    if examples.dtype != kind.dtype or examples.shape[1:] != kind.shape:
        wanted = ", ".join(map(str, ("N", *kind.shape)))
        raise ReleaseError(
            f"This model takes {kind.takes} {kind.dtype} [{wanted}], not {examples.dtype} {list(examples.shape)}."
        )
