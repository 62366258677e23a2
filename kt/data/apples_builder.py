"""How tensorflow-datasets keeps the rendered apples; a module of its own, since tensorflow-datasets loads slowly."""

import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image

from kt.cache import cache_home
from kt.console import progress_bar, say, warn
from kt.data.apples import CLASSES, COUNTS, Apple, apples
from kt.data.render import SIDE
from kt.data.splits import Pixels
from kt.environment import cores
from kt.errors import DataError, EnvironmentProblem
from kt.scratch import TFDS_UNFINISHED, clear_old


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

        # Threads, not processes, which are no faster: numpy and Pillow let go of the lock. One for each core, since
        # more wait for it longer: six on two cores take 1.4 times as long.
        with progress_bar(f"rendering {split}", len(plan)) as bar, ThreadPoolExecutor(cores()) as pool:
            for apple, image in zip(plan, pool.map(encoded, plan), strict=True):
                text = {"variety": apple.variety.name, "defect": apple.defect or ""}
                yield apple.index, {"image": image, "label": apple.label, **text}
                bar.advance()


def stored(seed: int) -> dict[str, list[Pixels]]:
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
    clear_old(place.parent, TFDS_UNFINISHED)
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
