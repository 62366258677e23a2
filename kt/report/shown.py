"""What the page shows of the pictures themselves, kept in `shown.json` so that the page can be made again."""

import base64
from dataclasses import dataclass

from kt.report.entry import Entry

JPEG = "data:image/jpeg;base64,"
"""The beginning of each picture's address. A page has no other addresses, which a browser would fetch or run."""


@dataclass(frozen=True)
class SplitSize:
    """A split's name, its number of pictures, and its number of groups (`things`)."""

    name: str
    pictures: int
    things: int


@dataclass(frozen=True)
class Thumbnail:
    """A picture's name and its `data:` address."""

    name: str
    address: str


@dataclass(frozen=True)
class Sprite:
    """Many small pictures in one. address: its `data:` address. tile: their side in pixels. across: tiles a row."""

    address: str
    tile: int
    across: int


@dataclass(frozen=True)
class Shown:
    """The content of `shown.json`.

    sizes: of each split. counts: each class with its number of pictures in each split. caution: a warning if the test
    pictures have few groups, or "". examples: a few training pictures of some classes. wrongest: the `data:` addresses
    of the worst mistakes on test, in the order of `report.json`; none if they were not kept. unlike: the same of the
    test pictures that are most unlike the training pictures. nearest: for each of the worst mistakes, the addresses of
    the training pictures nearest to it. confused: for each of the commonest mistakes, those of a few pictures. map: the
    pictures on the map, in the order of `report.json`. looks: the `data:` addresses of each picture of
    `explained.pictures` in `report.json`, as it is and with its map. found: the pictures of its `findings`.
    """

    classes: tuple[str, ...] = ()
    sizes: tuple[SplitSize, ...] = ()
    counts: tuple[tuple[str, tuple[int, ...]], ...] = ()
    caution: str = ""
    examples: tuple[tuple[str, tuple[Thumbnail, ...]], ...] = ()
    wrongest: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    nearest: tuple[tuple[str, ...], ...] = ()
    confused: tuple[tuple[str, ...], ...] = ()
    map: Sprite | None = None
    looks: tuple[tuple[str, str], ...] = ()
    found: tuple[Thumbnail, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The content of `shown.json`: rows are lists, with values by position."""
        return {
            "classes": self.classes,
            "sizes": [(size.name, size.pictures, size.things) for size in self.sizes],
            "counts": self.counts,
            "caution": self.caution,
            "examples": [
                (label, [(picture.name, picture.address) for picture in pictures]) for label, pictures in self.examples
            ],
            "wrongest": self.wrongest,
            "unlike": self.unlike,
            "nearest": self.nearest,
            "confused": self.confused,
            "map": (self.map.address, self.map.tile, self.map.across) if self.map else None,
            "looks": self.looks,
            "found": [(picture.name, picture.address) for picture in self.found],
        }

    @classmethod
    def from_json(cls, content: Entry) -> "Shown":
        """The reverse of `to_json`. Raises ReleaseError for content that a run can't have written."""
        sizes = tuple(_size(row) for row in content["sizes"])
        counts = tuple(_counted(row, splits=len(sizes)) for row in content["counts"])
        for key in ("classes", "sizes", "counts"):
            if not content[key]:
                raise content[key].damaged("a list that is not empty")
        return cls(
            classes=content["classes"].texts(),
            sizes=sizes,
            counts=counts,
            caution=content["caution"].text(),
            examples=tuple(_examples(row) for row in content["examples"]),
            wrongest=tuple(_address(picture) for picture in content["wrongest"]),
            unlike=tuple(_address(picture) for picture in content["unlike"]),
            nearest=tuple(tuple(map(_address, row)) for row in content["nearest"]),
            confused=tuple(tuple(map(_address, row)) for row in content["confused"]),
            map=_sprite(content["map"]) if content["map"] else None,
            looks=tuple(_pair(pictures) for pictures in content["looks"]),
            found=tuple(map(_thumbnail, content["found"])),
        )


def _size(row: Entry) -> SplitSize:
    name, pictures, things = row.row(3)
    return SplitSize(name.name(), pictures.count(), things.count())


def _counted(row: Entry, *, splits: int) -> tuple[str, tuple[int, ...]]:
    label, counts = row.row(2)
    return label.name(), tuple(count.count() for count in counts.row(splits))


def _examples(row: Entry) -> tuple[str, tuple[Thumbnail, ...]]:
    label, pictures = row.row(2)
    return label.name(), tuple(_thumbnail(picture) for picture in pictures)


def _thumbnail(row: Entry) -> Thumbnail:
    name, address = row.row(2)
    return Thumbnail(name.name(), _address(address))


def _sprite(row: Entry) -> Sprite:
    address, tile, across = row.row(3)
    for side in (tile, across):
        if not side.count():
            raise side.damaged("a whole number from 1")
    return Sprite(_address(address), tile.count(), across.count())


def _pair(entry: Entry) -> tuple[str, str]:
    picture, with_map = entry.row(2)
    return _address(picture), _address(with_map)


def _address(entry: Entry) -> str:
    """The `data:` address of a JPEG; empty where an example has no looks."""
    text = entry.name()
    if not text:
        return ""
    try:
        content = base64.b64decode(text.removeprefix(JPEG), validate=True)
    except ValueError:
        content = b""
    if not text.startswith(JPEG) or not content.startswith(b"\xff\xd8\xff"):  # the first bytes of each JPEG
        raise entry.damaged("the data: address of a JPEG")
    return text
