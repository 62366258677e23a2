"""Reads the pictures of a data set: decodes and resizes them in parallel, and skips and names those it can't read."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kt.base.console import progress_bar, warn
from kt.data.items import Item
from kt.data.splits import Skipped, allocate
from kt.errors import DataError
from kt.kinds.pictures import Pixels
from kt.kinds.pictures.rgb import contents, read_rgb
from kt.kinds.pictures.room import Room
from kt.kinds.pictures.values import Span, ValueRange, range_of


@dataclass(frozen=True)
class Read:
    """The pictures that were read: pixels uint8 `[N, H, W, 3]` in the order of `items`, hashes their SHA-256.

    sizes: int32 `[N, 2]`, height and width before the resize, upright; of a photo of more than 32 megapixels, those of
    the reduced size at which it is decoded.
    skipped: the files that could not be read. spans: the values of each picture with more than 8 bits whose file states
    no range, by its index; `value_range` is the range that these pictures were scaled by.
    """

    pixels: Pixels
    items: tuple[Item, ...]
    hashes: tuple[str, ...]
    sizes: npt.NDArray[np.int32]
    skipped: tuple[Skipped, ...]
    spans: dict[int, Span] = field(default_factory=dict)
    value_range: ValueRange | None = None


def read_pictures(
    items: Sequence[Item],
    image_size: tuple[int, int],
    *,
    value_range: ValueRange | None = None,
    progress: bool = True,
) -> Read:
    """Decode and resize every picture, in parallel; one that can't be read is skipped, with a warning.

    value_range: the range for pictures with more than 8 bits. By default it is that of these pictures, which are then
    read last, when the values of all of them are known. progress: whether to show a bar. Raises DataError if no picture
    can be read.
    """
    from kt.kinds.pictures.images import resize, values_span  # TensorFlow takes seconds to load

    pixels = allocate(len(items), (*image_size, 3))
    sizes = np.zeros((len(items), 2), np.int32)
    kept: list[Item] = []
    hashes: list[str] = []
    skipped: list[Skipped] = []
    spans: dict[int, Span] = {}

    def read_one(item: Item) -> tuple[Pixels | Span, tuple[int, int], str] | Skipped:
        try:
            with room.asking() as ask:
                data = _encoded(item)
                if data is None:
                    assert callable(item.source)
                    image = item.source()
                    data = image.tobytes()
                elif value_range is None and (span := values_span(data, on_size=ask)):
                    return span, (0, 0), hashlib.sha256(data).hexdigest()
                else:
                    image = read_rgb(data, value_range=value_range, on_size=ask)
                return resize(image, image_size), (image.shape[0], image.shape[1]), hashlib.sha256(data).hexdigest()
        except DataError as error:
            return Skipped(item.name, str(error))

    room = Room()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=4))
        bar = stack.enter_context(progress_bar("reading pictures", len(items))) if progress else None
        for item, result in zip(items, pool.map(read_one, items), strict=True):
            if bar is not None:
                bar.advance()
            if isinstance(result, Skipped):
                skipped.append(result)
                continue
            if isinstance(result[0], Span):
                spans[len(kept)] = result[0]
            else:
                pixels[len(kept)] = result[0]
            sizes[len(kept)] = result[1]
            kept.append(item)
            hashes.append(result[2])
    value_range = value_range or range_of([*spans.values()])
    bad = _read_deep(pixels, kept, spans, image_size=image_size, value_range=value_range, sizes=sizes)
    skipped += bad.values()
    _tell_skipped(skipped)
    good = [place for place in range(len(kept)) if place not in bad]
    if not good:
        raise DataError(
            f"None of {len(items)} pictures can be read; the first, {skipped[0].name}: {skipped[0].reason}."
        )
    if bad:
        for row, place in enumerate(good):
            pixels[row] = pixels[place]
    return Read(
        pixels[: len(good)],
        tuple(kept[place] for place in good),
        tuple(hashes[place] for place in good),
        sizes[good],
        tuple(skipped),
        {row: spans[place] for row, place in enumerate(good) if place in spans},
        value_range,
    )


def value_range_among(items: Sequence[Item]) -> ValueRange | None:
    """The range of the values of all pictures with more than 8 bits; None if there are none. Each of them is decoded.

    Pictures that can't be read don't count.
    """
    from kt.kinds.pictures.images import values_span

    room = Room()

    def span_of(item: Item) -> Span | None:
        try:
            with room.asking() as ask:
                return values_span(_encoded(item) or b"", on_size=ask)
        except DataError:
            return None

    with progress_bar("reading values", len(items)) as bar, ThreadPoolExecutor(max_workers=4) as pool:
        spans = []
        for span in pool.map(span_of, items):
            bar.advance()
            spans += [span] if span else []
    return range_of(spans)


def _encoded(item: Item) -> bytes | None:
    """The encoded bytes of a picture, from its file or its source; None if a function draws the picture."""
    if isinstance(item.source, Path):
        return contents(item.source)
    data = getattr(item.source, "data", None)
    return data if isinstance(data, bytes) else None


def _read_deep(
    pixels: Pixels,
    items: Sequence[Item],
    places: Iterable[int],
    *,
    image_size: tuple[int, int],
    value_range: ValueRange | None,
    sizes: npt.NDArray[np.int32] | None = None,
) -> dict[int, Skipped]:
    """Read the pictures at these indices, scaled by `value_range`, into their rows of `pixels`.

    sizes: for their heights and widths, if these are wanted.
    Returns those that can't be read, by index, with the reason.
    """

    from kt.kinds.pictures.images import resize

    def read_one(place: int) -> Pixels | Skipped:
        try:
            with room.asking() as ask:
                image = read_rgb(_encoded(items[place]) or b"", value_range=value_range, on_size=ask)
                if sizes is not None:
                    sizes[place] = image.shape[:2]
                return resize(image, image_size)
        except DataError as error:
            return Skipped(items[place].name, str(error))

    bad, room = {}, Room()
    with ThreadPoolExecutor(max_workers=4) as pool:
        for place, result in zip(places, pool.map(read_one, places), strict=True):
            if isinstance(result, Skipped):
                bad[place] = result
            else:
                pixels[place] = result
    return bad


def read_by_train(pictures: Read, train: npt.NDArray[np.int64], image_size: tuple[int, int]) -> ValueRange | None:
    """The value range of train's pictures alone; if none of them has a span, the range of all pictures is kept.

    train: the indices of train's pictures. If the range differs from that of all pictures, every picture with a span is
    read again, scaled by this range.
    """
    learned = [pictures.spans[place] for place in train.tolist() if place in pictures.spans]
    value_range = range_of(learned) if learned else pictures.value_range
    if value_range != pictures.value_range:
        bad = _read_deep(
            pictures.pixels, pictures.items, pictures.spans, image_size=image_size, value_range=value_range
        )
        for skipped in bad.values():
            raise DataError(f"{skipped.name} {skipped.reason}.")
    return value_range


def range_line(pictures: Read, value_range: ValueRange | None) -> list[str]:
    """A line for a person on the value range; an empty list if there is no range."""
    if value_range is None:
        return []
    whole = value_range.whole
    what = "16-bit pictures" if whole and value_range.high <= 65535 else "32-bit pictures" if whole else "pictures"
    kind = "values" if whole else "floating-point values"
    return [f"{len(pictures.spans):,} {what} hold {kind} {value_range}: scaled by this range, kept with the model"]


def _tell_skipped(skipped: Sequence[Skipped]) -> None:
    for item in skipped[:5]:
        warn(f"skipped {item.name}: {item.reason}")
    if len(skipped) > 5:
        warn(f"and {len(skipped) - 5} more; the report names each")
