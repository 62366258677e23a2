"""`Apples`, the data set that is always there: good and bad apples, drawn by kt and kept by tensorflow-datasets."""

import hashlib
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from kt.cache import cache_home
from kt.console import progress_bar, say, warn
from kt.data.assemble import check_geometry
from kt.data.images import resize
from kt.data.render import DEFECTS, SIDE, Variety, render
from kt.data.splits import Pixels, Split, Splits
from kt.errors import DataError, EnvironmentProblem, RecipeError
from kt.recipe import check_types

CLASSES = ("bad", "good")
COUNTS = {"train": 360, "validation": 80, "test": 160}

# ground, blush: skin colours; then coverage, stripes, lenticels, russet; height, taper, lobes, gloss.
KNOWN = (
    Variety("elstar", (222, 186, 82), (196, 54, 34), 0.5, 0.6, 0.25, 0.15, 0.98, 0.02, 0.3, 0.5),
    Variety("fuji", (206, 178, 96), (178, 62, 60), 0.65, 0.5, 0.5, 0.1, 1.0, 0.02, 0.4, 0.5),
    Variety("gala", (226, 190, 90), (196, 52, 36), 0.62, 0.8, 0.3, 0.08, 1.02, 0.04, 0.4, 0.6),
    Variety("golden_delicious", (214, 196, 84), (222, 172, 84), 0.25, 0.0, 0.7, 0.22, 1.06, 0.07, 0.5, 0.4),
    Variety("granny_smith", (138, 176, 58), (152, 168, 70), 0.15, 0.0, 0.7, 0.04, 1.0, 0.03, 0.3, 0.7),
    Variety("jonagold", (208, 190, 74), (194, 58, 34), 0.45, 0.45, 0.4, 0.14, 1.0, 0.03, 0.5, 0.6),
    Variety("mcintosh", (150, 170, 70), (148, 26, 40), 0.66, 0.2, 0.3, 0.03, 0.94, 0.0, 0.5, 0.5),
    Variety("red_delicious", (150, 44, 40), (122, 14, 28), 0.9, 0.4, 0.6, 0.0, 1.12, 0.13, 1.0, 0.8),
)
UNSEEN = (
    Variety("boskoop", (172, 158, 70), (166, 84, 48), 0.35, 0.2, 0.2, 0.42, 0.94, 0.02, 0.5, 0.2),
    Variety("braeburn", (186, 174, 76), (170, 44, 38), 0.55, 0.6, 0.35, 0.06, 1.04, 0.05, 0.4, 0.6),
    Variety("cox", (204, 170, 72), (190, 84, 40), 0.45, 0.55, 0.2, 0.25, 0.96, 0.02, 0.2, 0.35),
    Variety("cripps_pink", (206, 198, 112), (206, 76, 92), 0.55, 0.1, 0.45, 0.03, 1.06, 0.03, 0.3, 0.7),
    Variety("honeycrisp", (220, 198, 108), (200, 48, 50), 0.55, 0.7, 0.4, 0.08, 0.98, 0.03, 0.3, 0.6),
    Variety("mutsu", (178, 190, 78), (196, 174, 84), 0.25, 0.0, 0.55, 0.08, 1.02, 0.05, 0.6, 0.5),
)
VARIETIES = {
    "train": KNOWN,
    "validation": tuple(variety for variety in KNOWN if variety.name in {"fuji", "gala", "granny_smith", "jonagold"}),
    "test": UNSEEN,
}
"""Test holds varieties that train never sees; validation other pictures of some that it does."""


@dataclass(frozen=True)
class Apple:
    """One picture to draw: the `index`-th of its split, with a defect if it is a bad one."""

    split: str
    index: int
    variety: Variety
    defect: str | None

    @property
    def label(self) -> str:
        """Its class, `bad` or `good`."""
        return "bad" if self.defect else "good"

    def drawn(self, seed: int) -> Pixels:
        """The picture, uint8 `[256, 256, 3]`: the same on every call, another for another seed, split or index."""
        own = hashlib.sha256(f"{seed}/{self.split}/{self.index}".encode()).digest()
        return render(int.from_bytes(own[:8], "big"), self.variety, self.defect)


def apples(split: str) -> list[Apple]:
    """What the split holds, good and bad in turn; varieties and defects are spread evenly over both."""
    varieties = VARIETIES[split]
    return [
        Apple(
            split=split,
            index=index,
            variety=varieties[index // 2 % len(varieties)],
            defect=DEFECTS[index // 2 % len(DEFECTS)] if index % 2 else None,
        )
        for index in range(COUNTS[split])
    ]


class KtApples(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """The tensorflow-datasets builder of the rendered apples; its configuration `seed_N` says which drawing of them."""

    name = "kt_apples"
    code_path = None  # there are no checksums beside this file; tfds 4.9.10 looks, and fails on a namespace package
    # Goes up whenever `render`, the varieties or the counts change: what is in the cache then is another set.
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The first drawing."}

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Good and bad apples, rendered by kt: drawings, not photos.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=CLASSES),
                    "variety": tfds.features.Text(),
                    "defect": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # nothing is downloaded
        return {split: self._generate_examples(split) for split in COUNTS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        seed, plan = int(self.builder_config.name.removeprefix("seed_")), apples(split)

        def encoded(apple: Apple) -> BytesIO:
            stored = BytesIO()
            Image.fromarray(apple.drawn(seed)).save(stored, format="PNG", compress_level=1)
            stored.seek(0)
            return stored

        # Threads, not processes: numpy and Pillow let go of the lock, and a user's script needs no `__main__` guard.
        with progress_bar(f"rendering {split}", len(plan)) as bar, ThreadPoolExecutor() as pool:
            for apple, image in zip(plan, pool.map(encoded, plan), strict=True):
                text = {"variety": apple.variety.name, "defect": apple.defect or ""}
                yield apple.index, {"image": image, "label": apple.label, **text}
                bar.advance()


@dataclass(frozen=True)
class Apples:
    """Good and bad apples, rendered by kt: 360 to train on, 80 to validate, and 160 of varieties that train never sees.

    image_size: height and width in pixels. seed: of the drawing; another seed draws other apples, and a run's own seed
    does not touch it. The first use of a seed renders the pictures into the cache.
    """

    image_size: tuple[int, int] = (224, 224)
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_geometry(self.image_size, self.batch_size)
        if self.seed < 0:
            raise RecipeError(f"Apples: seed must be 0 or more, not {self.seed}.")

    def __call__(self) -> Splits:
        """Read the pictures back, after rendering them if need be.

        A damaged set is rendered again, once. Raises EnvironmentProblem where the cache can't be written.
        """
        stored = _stored(self.seed)
        digest = hashlib.sha256()
        parts = {split: _part(split, pictures, self.image_size) for split, pictures in stored.items()}
        for split, pictures in stored.items():
            for apple, pixels in zip(apples(split), pictures, strict=True):
                digest.update(f"{split}\0{apple.label}\0".encode() + pixels.tobytes())
        total, varieties = sum(COUNTS.values()), len(KNOWN) + len(UNSEEN)
        return Splits(
            train=parts["train"],
            validation=parts["validation"],
            test=parts["test"],
            classes=CLASSES,
            batch_size=self.batch_size,
            origin=f"rendered by kt: {total} pictures of {varieties} apple varieties (seed {self.seed}); "
            "these are drawings, not photos",
            digest=digest.hexdigest(),
            rendered=True,
        )


def _part(split: str, pictures: list[Pixels], image_size: tuple[int, int]) -> Split:
    plan = apples(split)
    names = tuple(
        f"{split}/{apple.label}/{apple.variety.name}_{apple.index:04d}" + (f" ({apple.defect})" if apple.defect else "")
        for apple in plan
    )
    with ThreadPoolExecutor() as pool:
        resized = list(pool.map(partial(resize, size=image_size), pictures))
    return Split(
        pixels=np.stack(resized),
        labels=np.array([CLASSES.index(apple.label) for apple in plan], np.int64),
        names=names,
        groups=names,
    )


def _stored(seed: int) -> dict[str, list[Pixels]]:
    """Each split's pictures at full size, from the cache; a set that can't be read is thrown away and made anew."""
    folder = cache_home() / "tfds"
    place = folder / KtApples.name / f"seed_{seed}" / str(KtApples.VERSION)
    with _quiet_tfds():
        try:
            return _read(_prepared(folder, seed))
        except EnvironmentProblem:
            raise
        except Exception as error:  # noqa: BLE001 - tfds, TensorFlow and protobuf each raise their own kind
            warn(f"the rendered apples in the cache are damaged ({_first_line(error)}); rendering them again")
        _remove(place)
        return _read(_prepared(folder, seed))


def _prepared(folder: Path, seed: int) -> Any:
    """The builder of this seed, its pictures rendered; another process may be doing the same, and either may win."""
    config = tfds.core.BuilderConfig(name=f"seed_{seed}", version=KtApples.VERSION)
    builder = KtApples(data_dir=folder, config=config)
    place = Path(builder.data_dir)
    if place.exists():
        return builder
    say(f"rendering {sum(COUNTS.values())} apples (seed {seed}), once; they are kept in {folder}")
    try:
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    except OSError as error:
        if not place.exists():
            raise EnvironmentProblem(
                f"The rendered apples can't be written to {folder}: {_first_line(error)}. Set KT_HOME to a directory "
                "with 100 MB free."
            ) from None
        builder = KtApples(data_dir=folder, config=config)
    return builder


def _read(builder: Any) -> dict[str, list[Pixels]]:
    """Every split's pictures in the order of `apples`; DataError if they aren't what was rendered."""
    found = {}
    for split in COUNTS:
        examples = list(tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)))
        plan = [(apple.label, apple.variety.name, apple.defect or "") for apple in apples(split)]
        read = [(CLASSES[e["label"]], e["variety"].decode(), e["defect"].decode()) for e in examples]
        if read != plan:
            raise DataError(f"{split} holds {len(read)} pictures, and not the {len(plan)} that were rendered")
        found[split] = [example["image"] for example in examples]
    return found


def _remove(place: Path) -> None:
    try:
        shutil.rmtree(place)
    except OSError as error:
        raise EnvironmentProblem(
            f"Damaged apples in {place} can't be removed ({_first_line(error)}); delete them."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Keep tfds' own bars, prints and log lines off the screen: kt says what happens in one line."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    tfds.display_progress_bar(False)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        tfds.display_progress_bar(True)
        log.setLevel(level)
