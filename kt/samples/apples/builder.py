"""Renders the apples and stores them with tensorflow-datasets."""

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

from kt.base.cache import cache_home
from kt.base.console import progress_bar, say, warn
from kt.base.environment import cores
from kt.base.scratch import TFDS_UNFINISHED, clear_old
from kt.errors import DataError, EnvironmentProblem
from kt.kinds.pictures import Pixels
from kt.samples.apples.collection import CLASSES, COUNTS, Apple, apples
from kt.samples.apples.render import SIDE


class KtApples(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """The tensorflow-datasets builder of the rendered apples; its configuration `seed_N` names the seed."""

    name = "kt_apples"
    code_path = None  # no checksum files here; tfds 4.9.10 looks for them, and fails on a namespace package
    # To be raised whenever `render`, the varieties or the counts change: then the cached pictures are no longer valid.
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

        # Threads are as fast as processes here, because numpy and Pillow release the GIL. One thread for each core:
        # more of them wait for the GIL, and six on two cores take 1.4 times as long.
        with progress_bar(f"rendering {split}", len(plan)) as bar, ThreadPoolExecutor(cores()) as pool:
            for apple, image in zip(plan, pool.map(encoded, plan), strict=True):
                text = {"variety": apple.variety.name, "defect": apple.defect or ""}
                yield apple.index, {"image": image, "label": apple.label, **text}
                bar.advance()


def stored(seed: int) -> dict[str, list[Pixels]]:
    """The pictures of each split at full size, from the cache; if they can't be read, they are rendered again."""
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
    """The builder for this seed, after rendering the pictures if needed.

    Another process may do the same at the same time; it does not matter which one is first.
    """
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
    """The pictures of each split in the order of `apples`. Raises DataError if they are not the rendered ones."""
    pictures = {}
    for split in COUNTS:
        examples = list(tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)))
        plan = [(apple.label, apple.variety.name, apple.defect or "") for apple in apples(split)]
        read = [(CLASSES[e["label"]], e["variety"].decode(), e["defect"].decode()) for e in examples]
        if read != plan:
            raise DataError(f"{split} holds {len(read)} pictures, and not the {len(plan)} that were rendered")
        pictures[split] = [example["image"] for example in examples]
    return pictures


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
    """Suppress the progress bars, prints and log lines of tfds: kt says what happens in one line."""
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
