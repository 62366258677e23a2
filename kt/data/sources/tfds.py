"""`Tfds`: pictures of a data set of tensorflow-datasets."""

import os
import queue
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.base.cache import cache_home
from kt.base.console import say
from kt.base.environment import offline
from kt.base.scratch import TFDS_UNFINISHED, clear_old
from kt.data.assemble import assemble, check_geometry
from kt.data.items import Item, Shares
from kt.data.splits import Splits
from kt.errors import DataError, KtError, RecipeError, did_you_mean
from kt.kinds.pictures import Pixels
from kt.kinds.pictures.images import read_rgb
from kt.recipe import check_types

_TFDS_SPLITS = {"train": "train", "test": "test", **dict.fromkeys(("validation", "valid", "val"), "validation")}

_TFDS_HOST = "https://storage.googleapis.com"
_TFDS_NAME = re.compile(r"\w+(/[\w.+-]+)?(:[\d.*]+)?")


@dataclass(frozen=True)
class Tfds:
    """A data set of tensorflow-datasets by its name in its catalogue, such as `tf_flowers`.

    It needs the network once, to prepare the data set; without a network it fails within seconds with a one-line error.
    Splits that the data set lacks are drawn from train. limit: use at most this many pictures of each of its splits.
    """

    name: str
    image_size: tuple[int, int] = (224, 224)
    batch_size: int = 32
    validation: float = 0.15
    test: float = 0.2
    seed: int = 0
    near_duplicates: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_geometry(self.image_size, self.batch_size)
        Shares(self.validation, self.test, self.seed)
        if self.limit is not None and self.limit < 1:
            raise RecipeError(f"limit must be at least 1 picture of each split, not {self.limit}.")

    def __call__(self) -> Splits:
        """Prepare the data set if needed, and read it. Raises DataError if it can't be prepared or read."""
        builder = prepared(self.name)
        label_names = self._label_names(builder)
        if "train" not in builder.info.splits:
            raise DataError(f"{self.name} has no split 'train'; it has: {', '.join(builder.info.splits)}.")
        items = [item for split in builder.info.splits for item in self._items(builder, split, label_names)]
        return assemble(
            items,
            image_size=self.image_size,
            batch_size=self.batch_size,
            shares=Shares(self.validation, self.test, self.seed),
            near_duplicates=self.near_duplicates,
            origin=f"tensorflow-datasets {builder.info.full_name}",
        )

    def _label_names(self, builder: Any) -> Sequence[str]:
        import tensorflow_datasets as tfds

        features = builder.info.features
        by_name = dict(features.items()) if hasattr(features, "items") else {}
        image, label = by_name.get("image"), by_name.get("label")
        if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
            raise DataError(
                f"{self.name} is not a set for image classification, with an image and a label; it has: "
                f"{', '.join(by_name) or type(features).__name__}."
            )
        return list(label.names)

    def _items(self, builder: Any, split: str, label_names: Sequence[str]) -> Iterator[Item]:
        import tensorflow_datasets as tfds

        name = _TFDS_SPLITS.get(split)
        if name is None:
            return
        examples = builder.as_dataset(split=split, shuffle_files=False, decoders={"image": tfds.decode.SkipDecoding()})
        for index, example in enumerate(examples.take(-1 if self.limit is None else self.limit)):
            label = int(example["label"])
            if label < 0:  # how tensorflow-datasets marks a picture whose label is not public
                continue
            key = f"{split}/{index:06d}"
            source = _Encoded(bytes(example["image"].numpy()))
            yield Item(source, label_names[label], key, group=key, split=name)


@dataclass(frozen=True)
class _Encoded:
    data: bytes

    def __call__(self) -> Pixels:
        return read_rgb(self.data)


def prepared(name: str) -> Any:
    """The tensorflow-datasets builder of `name`, prepared.

    tensorflow-datasets 4.9.10 retries for minutes if there is no network, so this checks the network first.
    """
    import tensorflow_datasets as tfds

    if not _TFDS_NAME.fullmatch(name):
        raise DataError(f"{name!r} is no name of tensorflow-datasets, such as tf_flowers, name/config or name:1.0.0.")
    try:
        builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR") or cache_home() / "tfds")
    except tfds.core.registered.DatasetNotFoundError:
        close = did_you_mean(name.partition("/")[0], tfds.list_builders(with_community_datasets=False))
        raise DataError(
            f"tensorflow-datasets has no set {name!r}. {close if 'mean' in close else ''}".strip()
        ) from None
    except KtError:
        raise
    except Exception as error:  # noqa: BLE001 - a builder's own code: wrong versions, missing packages, damaged files
        raise DataError(f"tensorflow-datasets can't open {name!r}: {_one_line(error)}") from None
    if not _is_prepared(builder):
        _require_network(name)
        say(f"preparing {name} from tensorflow-datasets, once")
        clear_old(Path(builder.data_dir).parent, TFDS_UNFINISHED)
        try:
            builder.download_and_prepare()
        except Exception as error:  # noqa: BLE001 - downloads fail in as many ways as there are sources
            raise DataError(f"{name} could not be prepared: {_one_line(error)}") from None
    _check_files(builder)
    return builder


def _one_line(error: Exception) -> str:
    text = re.sub(r'^Failed to construct dataset .*?}": ', "", " ".join(str(error).split()))
    return text[:300] or type(error).__name__


def _is_prepared(builder: Any) -> bool:
    return bool(builder.info.splits) and Path(builder.data_dir).is_dir()


def _check_files(builder: Any) -> None:
    """Raise DataError if files of a prepared data set are missing, such as after an interrupted copy."""
    for split in builder.info.splits.values():
        for file in split.filepaths:
            if not Path(file).is_file():
                raise DataError(
                    f"The prepared copy of {builder.info.full_name} lacks {file}; delete {builder.data_dir}, and it "
                    "will be prepared again."
                )


def _require_network(name: str) -> None:
    why = "KT_OFFLINE is set" if offline() else _unreachable()
    if why:
        raise DataError(
            f"The data set {name!r} is not prepared on this machine and can't be downloaded ({why}). Connect once, or "
            "point TFDS_DATA_DIR at a prepared copy, or use your own pictures: --data FOLDER."
        )


def _unreachable() -> str:
    """Why the host of the data sets does not answer, through the proxy if one is set; empty if it answers."""
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_try_host()), daemon=True).start()
    try:
        return answers.get(timeout=5)  # in a thread: resolving the host name may take longer, and has no timeout
    except queue.Empty:
        return "no network: no answer in 5 s"


def _try_host() -> str:
    try:
        urllib.request.urlopen(_TFDS_HOST, timeout=4).close()
    except urllib.error.HTTPError:
        return ""  # an error page is an answer too
    except OSError as error:
        return f"no network: {getattr(error, 'reason', error)}"
    return ""
