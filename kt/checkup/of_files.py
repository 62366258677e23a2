"""Features of pictures in files, as many as there are: some at a time, and none computed twice.

Which features belong to which file is kept by the SHA-256 of the file's content. So the next time nothing is decoded,
whatever the files are called. The features themselves lie where `kt run` keeps those of frozen layers, by the pixels,
unless they are of very many pictures.
"""

import errno
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.console import progress_bar, say, warn
from kt.base.numbers import size as size_of
from kt.base.stages import Stage, key_of
from kt.checkup.features import BLOCK, Features
from kt.data.items import Item
from kt.data.reading import read_pictures, value_range_among
from kt.errors import DataError, EnvironmentProblem
from kt.freeze import NOTHING
from kt.frozen.cut import Cut, Uncut, encoder, find_cut
from kt.frozen.encode import BATCH, encoder_for, prefetched
from kt.frozen.encoder import IN_MEMORY, WITHOUT_DISK, opened_store
from kt.frozen.fingerprint import fingerprint
from kt.frozen.store import Hash, Store, hashes
from kt.kinds.pictures import Pixels
from kt.kinds.pictures.values import FULL, ValueRange
from kt.learnability.features import pooled
from kt.network.model import Built

AT_ONCE = 128
"""The number of pictures that are decoded at once; those of the next part are read while the network sees one part."""

MANY = 20_000
"""Features of more pictures than this lie apart, since all that lies in a folder is read and verified at each use."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FeaturesOfFiles:
    """Features, and of which files. places: int64 `[N]`; a file that could not be read has none.

    key: of the network and the pictures; what is found by these features may be kept under it. Empty if the network has
    none.
    """

    features: Features
    places: Ints
    key: str


@dataclass(frozen=True, eq=False)
class _KnownPixels:
    """Which pixels, by their hash, a file has, by that of its content; kept in a folder between two checks."""

    stage: Stage | None
    of: dict[bytes, Hash]

    @classmethod
    def read(cls, place: Path | None, wanted: Sequence[bytes], *key: Any) -> "_KnownPixels":
        """Those of the files with these contents. key: what else the pixels depend on."""
        if place is None:
            return cls(None, {})
        stage = Stage(place / "pixels" / key_of(*key)[:16], key_of(*key))
        kept = stage.kept()
        if kept is None:
            return cls(stage, {})
        files, pixels = kept.arrays["known"]["files"], kept.arrays["known"]["pixels"]
        of = {file.tobytes(): row.tobytes() for file, row in zip(files, pixels, strict=True)}
        return cls(stage, {content: of[content] for content in wanted if content in of})

    def keep(self) -> None:
        """Write them; on a full disk the pictures are decoded again the next time."""
        if self.stage is None:
            return
        for other in self.stage.folder.parent.glob("*"):  # of another range of values
            if other != self.stage.folder:
                shutil.rmtree(other, ignore_errors=True)
        known = {"files": _rows(list(self.of)), "pixels": _rows(list(self.of.values()))}
        with suppress(OSError):
            self.stage.keep({}, known=known)


def _rows(keys: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32)


def features_of_files(
    built: Built,
    items: Sequence[Item],
    contents: Sequence[str],
    *,
    image_size: tuple[int, int],
    deep: Sequence[bool],
    place: Path | None = None,
) -> FeaturesOfFiles:
    """The features of pictures, with a progress bar and the time left. If it is interrupted, what was done is kept.

    built: from `kt.checkup.features.probe_network`. contents: the SHA-256 of each file, hexadecimal. deep: which of the
    pictures have more than 8 bits; these are scaled by the range of all of them. place: a folder that keeps which
    features belong to which file. Raises DataError if no picture can be read or the network has no end that can be cut
    off, EnvironmentProblem if there is no room for the features.
    """
    cut = find_cut(built, NOTHING)
    if isinstance(cut, Uncut):
        raise DataError(f"The features of {built.nouns.many} can't be had: {cut.reason}.")
    model = encoder(built, [cut])
    computed = fingerprint(model)
    own = "" if place is None or len(items) <= MANY else place.name[:8]
    store = opened_store(cut, computed, backbone=str(built.backbone.name), own=own)
    value_range = _range(items, contents, deep, place)
    scale = None if value_range is None else value_range.to_json()
    wanted = [bytes.fromhex(content) for content in contents]
    known = _KnownPixels.read(place, wanted, image_size, scale)
    keys: list[Hash | None] = [known.of.get(content) for content in wanted]
    absent = store.missing(known.of.values())
    missing = [number for number, pixels in enumerate(keys) if pixels is None or pixels in absent]
    if missing:
        work = _Work(built, cut, model, items, image_size, value_range)
        try:
            store = work.into(store, missing, keys, known)
        finally:  # also if it is interrupted
            known.keep()
    else:
        say(f"features: of {len(items):,} {built.nouns.many} at hand")
    places = np.array([number for number, pixels in enumerate(keys) if pixels is not None], np.int64)
    if not len(places):
        raise DataError(f"None of {len(items):,} {built.nouns.many} can be read any more.")
    found = [pixels for pixels in keys if pixels is not None]
    rows = store.rows(found)
    activations = rows.in_memory() if len(places) * cut.width * 4 <= IN_MEMORY else rows
    if not built.taps and cut.width != built.features.shape[-1]:  # maps
        activations = pooled(built, activations, len(places))
    depths = built.taps or (("top", int(activations.shape[1])),)
    key = "" if computed is None else key_of(computed, [pixels.hex() for pixels in found])
    return FeaturesOfFiles(Features(activations, depths), places, key)


def _range(
    items: Sequence[Item], contents: Sequence[str], deep: Sequence[bool], place: Path | None
) -> ValueRange | None:  # fmt: skip
    """The range of all pictures with more than 8 bits, from the cache if they are the same as before.

    None if there are none of them.
    """
    chosen = [number for number, each in enumerate(deep) if each]
    if not chosen:
        return None
    key = key_of([contents[number] for number in chosen])
    stage = None if place is None else Stage(place / "range" / key[:16], key)
    kept = None if stage is None else stage.kept()
    if kept is not None:
        return ValueRange.from_json(kept.told.get("range")) or FULL
    value_range = value_range_among([items[number] for number in chosen]) or FULL
    if stage is not None:
        with suppress(OSError):
            stage.keep({"range": value_range.to_json()})
    return value_range


@dataclass(frozen=True, eq=False)
class _Work:
    """Decodes pictures and computes what the store lacks."""

    built: Built
    cut: Cut
    model: Any
    items: Sequence[Item]
    image_size: tuple[int, int]
    value_range: ValueRange | None

    def into(self, store: Store, numbers: Sequence[int], keys: list[Hash | None], known: _KnownPixels) -> Store:
        """Compute the features of these pictures, and write their hashes into `keys` and `known`. Returns the store.

        Where the disk can't take them, that is another one, in memory.
        """
        size = len(self.items) * self.cut.width * 4
        try:
            if not store.on_disk and size > WITHOUT_DISK:
                raise OSError(errno.ENOMEM, "they would have to be held in memory")
            self._fill(store, numbers, keys, known)
        except OSError as error:
            if size > WITHOUT_DISK:
                raise EnvironmentProblem(
                    f"the features take {size_of(size)}, and there is no room for them in kt's cache: "
                    f"{error.strerror or error}; kt cache shows what is in it, and KT_HOME names another place"
                ) from None
            if not store.on_disk:
                raise
            warn(f"the features are not kept for the next time: {error.strerror or error}; kt cache shows what is")
            store = Store(None, store.about)
            self._fill(store, range(len(self.items)), keys, known)
        return store

    def _fill(self, store: Store, numbers: Sequence[int], keys: list[Hash | None], known: _KnownPixels) -> None:
        for number in numbers:
            keys[number] = None
        parts = [numbers[start : start + AT_ONCE] for start in range(0, len(numbers), AT_ONCE)]
        held: dict[Hash, npt.NDArray[np.float32]] = {}
        learned: list[tuple[int, bytes, Hash]] = []
        started, fresh = time.perf_counter(), 0
        compute, by = None, ""

        def flush() -> None:
            """Write what is held; only then is it known which file has it."""
            if held:
                with store.writer(len(held)) as writer:
                    writer.add(list(held), np.stack(list(held.values())))
                held.clear()
            for number, content, pixels in learned:
                keys[number] = known.of[content] = pixels
            learned.clear()

        with progress_bar("features", len(numbers), unit=f"{self.built.nouns.unit}s") as bar:
            try:
                for part, found in prefetched(self._read, parts):
                    for number, content, pixels in found.keys:
                        learned.append((number, content, pixels))
                    new = {pixels: row for row, (_, _, pixels) in enumerate(found.keys) if pixels not in held}
                    lacking = store.missing(new)
                    rows = [row for pixels, row in new.items() if pixels in lacking]
                    if rows and compute is None:
                        probe = found.pixels[rows[:BATCH]]
                        compute, by = encoder_for(self.model, pictures=len(numbers), probe=probe)
                    for start in range(0, len(rows), BATCH):
                        some = rows[start : start + BATCH]
                        assert compute is not None
                        outputs = np.concatenate(compute(found.pixels[some]), axis=1)
                        held |= {found.keys[row][2]: output for row, output in zip(some, outputs, strict=True)}
                    fresh += len(rows)
                    if len(held) >= BLOCK:
                        flush()
                    bar.advance(len(part))
            except OSError:
                held.clear()
                learned.clear()
                raise
            finally:
                flush()
        of_all = f"of {len(self.items):,} {self.built.nouns.many}"
        if not fresh:
            say(f"features: {of_all} at hand")
            return
        seconds, unit = time.perf_counter() - started, self.built.nouns.unit
        say(
            f"features: computed for {fresh:,} {of_all} by {by}, {seconds:.0f} s, {fresh / seconds:.0f} {unit}s/s, "
            f"{size_of(fresh * self.cut.width * 4)}"
        )

    def _read(self, part: Sequence[int]) -> "_Part":
        items = [self.items[number] for number in part]
        try:
            read = read_pictures(items, self.image_size, value_range=self.value_range, progress=False)
        except DataError:  # none of them is there any more
            return _Part(np.empty((0, *self.image_size, 3), np.uint8), [])
        numbers = {item.name: number for number, item in zip(part, items, strict=True)}
        return _Part(
            read.pixels,
            [
                (numbers[item.name], bytes.fromhex(content), pixels)
                for item, content, pixels in zip(read.items, read.hashes, hashes(read.pixels), strict=True)
            ],
        )


@dataclass(frozen=True, eq=False)
class _Part:
    """Pictures that were read: pixels uint8 `[B, H, W, 3]`. keys: of each its number, and both hashes."""

    pixels: Pixels
    keys: list[tuple[int, bytes, Hash]]
