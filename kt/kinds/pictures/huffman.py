"""Walks through the Huffman codes of a sequential JPEG and looks whether a picture can have these numbers.

libjpeg decodes wrong bytes without a word: after a few blocks it is back in step. But what it read in between breaks
rules that every encoder keeps: a block has 64 coefficients, the last bits of a scan belong to its last block, and no
block of pixels from 0 to 255 has more energy than one that is white or black all over (Parseval). A mean (DC) is
written as the difference to the one before, so one wrong difference moves all that follow, and often out of the range.

The codes are looked up at every bit at once; then only steps from one code to the next are left to do one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kt.kinds.pictures.exif import jpeg_segments

Integers = npt.NDArray[np.int64]

_SEQUENTIAL, _CODES, _STEPS, _RESTARTS, _SCAN = (0xC0, 0xC1), 0xC4, 0xDB, 0xDD, 0xDA

_END_OF_BLOCK, _WRONG = 100, 200
"""Steps in a block of 64 that tell its end, and a code that there is none of."""

_MOST = 1024.0 * 1.25
"""The root of the energy of a block that is black or white all over, and a quarter: some encoders (mozjpeg) let pixels
be whiter than white, against ringing at the edges of letters."""

_LARGEST_SIZE = 11
"""A difference of two means has at most this many bits."""

_SLACK = 64
"""Bits behind the end that can be looked at: a code and what follows it have at most 32."""


@dataclass(frozen=True)
class _Component:
    """One of the colours of a scan: how many blocks it has in each unit, its codes, and its steps of quantisation."""

    blocks: int
    means: npt.NDArray[np.int32]
    details: npt.NDArray[np.int32]
    steps: npt.NDArray[np.float64]


@dataclass
class _Frame:
    """What the segments ahead of the pixels say. size: height and width. colours: of each identifier, its sampling
    across and down and its quantisation."""

    size: tuple[int, int] = (0, 0)
    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    codes: dict[int, npt.NDArray[np.int32]] = field(default_factory=dict)
    steps: dict[int, npt.NDArray[np.float64]] = field(default_factory=dict)
    restarts: int = 0


def wrong_codes(data: bytes, start: int, end: int) -> bool | None:
    """Whether the pixels of a JPEG of one scan hold numbers that no picture has; None if that can't be told.

    data: the file. start, end: where the bytes of its pixels begin and end. It can't be told of other codes than
    Huffman's, of several scans, or of more than 8 bits.
    """
    try:
        frame, scan = _read(data)
        units, components = _scan(frame, scan)
    except (LookupError, ValueError, ArithmeticError):
        return None
    if not frame.colours or not units:
        return None
    left = units
    for number, bits in enumerate(_intervals(data[start:end])):
        if frame.restarts:
            if bits.number not in (-1, number % 8):
                return True
            here = min(left, frame.restarts)
        elif number:
            return True  # a mark that says to start anew, where nobody is to
        else:
            here = left
        left -= here
        if not here and not bits.body:
            continue  # a mark behind the last interval
        if not here or _wrong(bits.body, here, components):
            return True
    return left > 0


# -------------------------------------------------------------------------------------------------- what is said ahead


def _read(data: bytes) -> tuple[_Frame, bytes]:
    """What the segments say, and the segment of the scan."""
    frame, at = _Frame(), 2
    for marker, start, length in jpeg_segments(data):
        body, at = data[start : start + length], start + length
        if marker in _SEQUENTIAL:
            if body[0] != 8:
                raise ValueError
            frame.size = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            for place in range(6, 6 + 3 * body[5], 3):
                frame.colours[body[place]] = body[place + 1] >> 4, body[place + 1] & 15, body[place + 2]
        elif marker == _CODES:
            frame.codes.update(_codes(body))
        elif marker == _STEPS:
            frame.steps.update(_steps(body))
        elif marker == _RESTARTS:
            frame.restarts = int.from_bytes(body[:2], "big")
    if data[at + 1] != _SCAN:
        raise ValueError
    return frame, data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]


def _codes(body: bytes) -> Iterator[tuple[int, npt.NDArray[np.int32]]]:
    """Tables of codes: for each 16 bits the length of the code that they begin with, times 256, and its symbol."""
    at = 0
    while at + 17 <= len(body):
        lengths = body[at + 1 : at + 17]
        symbols = body[at + 17 : at + 17 + sum(lengths)]
        table = np.zeros(1 << 16, np.int32)
        code, place = 0, 0
        for length, count in enumerate(lengths, 1):
            for _ in range(count):
                table[code << (16 - length) : (code + 1) << (16 - length)] = length << 8 | symbols[place]
                code, place = code + 1, place + 1
            code <<= 1
        yield body[at], table
        at += 17 + sum(lengths)


def _steps(body: bytes) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    at = 0
    while at < len(body):
        size = 2 if body[at] >> 4 else 1
        steps = np.frombuffer(body[at + 1 : at + 1 + 64 * size], ">u2" if size == 2 else np.uint8)
        if len(steps) < 64:
            raise ValueError
        yield body[at] & 15, steps.astype(np.float64)
        at += 1 + 64 * size


def _scan(frame: _Frame, scan: bytes) -> tuple[int, list[_Component]]:
    """How many units the picture has, and the components of each."""
    count = scan[0]
    if count != len(frame.colours):
        raise ValueError
    across = max(each[0] for each in frame.colours.values())
    down = max(each[1] for each in frame.colours.values())
    components = []
    for place in range(1, 1 + 2 * count, 2):
        right, below, steps = frame.colours[scan[place]]
        codes = scan[place + 1]
        alone = count == 1  # then a unit is one block, however it is sampled
        components.append(
            _Component(
                1 if alone else right * below,
                frame.codes[codes >> 4],
                frame.codes[16 | codes & 15],
                frame.steps[steps],
            )
        )
    if count == 1:
        across = down = 1
    height, width = frame.size
    return -(-height // (8 * down)) * -(-width // (8 * across)), components


# --------------------------------------------------------------------------------------------------------- the pixels


@dataclass(frozen=True)
class _Interval:
    """The bytes between two marks, without stuffing. number: of the mark behind them, -1 for none."""

    body: bytes
    number: int


def _intervals(body: bytes) -> Iterator[_Interval]:
    at = 0
    while True:
        mark = body.find(b"\xff", at)
        while mark >= 0 and not (mark + 1 < len(body) and 0xD0 <= body[mark + 1] <= 0xD7):
            mark = body.find(b"\xff", mark + 1)
        part = body[at : mark if mark >= 0 else len(body)]
        yield _Interval(part.rstrip(b"\xff").replace(b"\xff\0", b"\xff"), body[mark + 1] & 7 if mark >= 0 else -1)
        if mark < 0:
            return
        at = mark + 2


def _wrong(body: bytes, units: int, components: list[_Component]) -> bool:
    """Whether these bytes are not so many units of a picture."""
    words = _words(body)
    means = {id(each.means): each.means for each in components}
    details = {id(each.details): each.details for each in components}
    lengths = {name: _lengths(table, words) for name, table in means.items()}
    steps = {name: _detail_steps(table, words) for name, table in details.items()}
    order = [each for each in components for _ in range(each.blocks)]
    tables = [(lengths[id(each.means)], *steps[id(each.details)]) for each in order]
    at = 0
    blocks, places, ends = [], [], []
    try:
        for _ in range(units):
            for mean, length, forward in tables:
                blocks.append(at)
                if not mean[at]:
                    return True
                at += mean[at]
                place = 1
                while place < 64:
                    places.append(at)
                    place += forward[at]
                    at += length[at]
                ends.append(place)
    except IndexError:
        return True  # there are not as many bytes
    last = np.array(ends)
    if ((last > 64) & (last < _END_OF_BLOCK)).any() or (last >= _WRONG).any():
        return True
    if not _ends(body, at):
        return True
    return _too_strong(words, np.array(blocks), np.array(places), units, order)


def _ends(body: bytes, at: int) -> bool:
    """Whether codes that end at this bit are all there is; some programs fill up the last block of bytes."""
    if at > 8 * len(body):
        return False
    rest = body[-(-at // 8) :]
    return not rest.strip(b"\0") or not rest.strip(b"\xff")


def _words(body: bytes) -> npt.NDArray[np.uint32]:
    """The 32 bits from each byte on."""
    filled = np.frombuffer(body + bytes([255]) * (_SLACK // 8 + 4), np.uint8).astype(np.uint32)
    return np.asarray(filled[:-3] << 24 | filled[1:-2] << 16 | filled[2:-1] << 8 | filled[3:], np.uint32)


def _windows(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The 16 bits from each bit on, of the words of each byte."""
    return np.asarray((words[:, None] >> (16 - np.arange(8, dtype=np.uint32))) & 0xFFFF, np.uint32).ravel()


def _lengths(table: npt.NDArray[np.int32], words: npt.NDArray[np.uint32]) -> bytes:
    """The length of a mean's code and value from each bit on; 0 where there is no such code."""
    sizes = table & 255
    lengths = np.where((table > 0) & (sizes <= _LARGEST_SIZE), (table >> 8) + sizes, 0)
    return lengths.astype(np.uint8)[_windows(words)].tobytes()


def _detail_steps(table: npt.NDArray[np.int32], words: npt.NDArray[np.uint32]) -> tuple[bytes, bytes]:
    """From each bit on, the length of a code and its value, and how many coefficients it leads forward."""
    runs, sizes = table >> 4 & 15, table & 15
    forward = np.where(sizes > 0, runs + 1, np.where(runs == 15, 16, _END_OF_BLOCK))
    forward = np.where(table > 0, forward, _WRONG)
    windows = _windows(words)
    return ((table >> 8) + sizes).astype(np.uint8)[windows].tobytes(), forward.astype(np.uint8)[windows].tobytes()


def _too_strong(
    words: npt.NDArray[np.uint32], blocks: Integers, places: Integers, units: int, order: list[_Component]
) -> bool:
    """Whether any block has more energy than pixels can have. blocks: the bit of each mean. places: of each detail."""
    which = np.tile(np.arange(len(order)), units)
    numbers = {id(each): number for number, each in enumerate(order)}
    component = np.array([numbers[id(each)] for each in order])[which]
    # Of each detail its block: a block's details lie between its mean and the next one.
    owner = np.searchsorted(blocks, places, side="right") - 1
    energy = np.zeros(len(blocks))
    for number in np.unique(component):
        one = order[number]
        mine = np.flatnonzero(component == number)
        values = _values(words, blocks[mine], one.means, all_of_it=True)
        size = np.maximum(np.abs(np.cumsum(values)) * one.steps[0] - one.steps[0] / 2, 0)
        energy[mine] += size**2
        details = np.flatnonzero(component[owner] == number)
        symbols = one.details[_at(words, places[details], 16)] & 255
        values = _values(words, places[details], one.details, all_of_it=False)
        forward = np.where(symbols & 15, (symbols >> 4) + 1, np.where(symbols == 0xF0, 16, 0))
        total = np.cumsum(forward)
        first = np.flatnonzero(np.diff(owner[details], prepend=-1))
        before = np.repeat(np.r_[0, total[first[1:] - 1]], np.diff(np.r_[first, len(details)])) if len(first) else total
        kept = (symbols & 15) > 0
        coefficient = np.minimum((total - before)[kept], 63)
        step = one.steps[coefficient]
        size = np.maximum(np.abs(values[kept]) * step - step / 2, 0)
        np.add.at(energy, owner[details][kept], size**2)
    return bool((energy > _MOST**2).any())


def _at(words: npt.NDArray[np.uint32], places: Integers, count: int) -> npt.NDArray[np.uint32]:
    """The first `count` bits, at most 16, from each place on."""
    shifted = words[places >> 3] >> (32 - (places & 7) - count).astype(np.uint32)
    return np.asarray(shifted & np.uint32((1 << count) - 1), np.uint32)


def _values(
    words: npt.NDArray[np.uint32], places: Integers, table: npt.NDArray[np.int32], *, all_of_it: bool
) -> Integers:
    """The numbers behind the codes at these places. all_of_it: whether a whole symbol is their size, or its half."""
    found = table[_at(words, places, 16)]
    lengths = (found >> 8).astype(np.int64)
    sizes = (found & (255 if all_of_it else 15)).astype(np.int64)
    behind = places + lengths
    bits = _at(words, behind, 16).astype(np.int64) >> (16 - np.minimum(sizes, 16))
    return np.asarray(
        np.where((sizes > 0) & (bits < 1 << np.maximum(sizes - 1, 0)), bits - (1 << sizes) + 1, bits), np.int64
    )
