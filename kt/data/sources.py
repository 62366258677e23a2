"""Sources of one's own pictures: a folder, a table, or a tensorflow-datasets name."""

import csv
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.console import say, shown
from kt.data.assemble import Item, Shares, assemble, check_geometry
from kt.data.cache import cache_home
from kt.data.images import SUFFIXES, find_pictures, read_rgb
from kt.data.splits import Pixels, Splits
from kt.errors import DataError, did_you_mean
from kt.recipe import check_types

_SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}

_TFDS_HOST = ("storage.googleapis.com", 443)


def before_double_underscore(path: Path) -> str:
    """The group of a file by its name: what stands before `__`, else the whole name (`apple_7__angle_30.jpg`)."""
    return path.stem.partition("__")[0]


@dataclass(frozen=True)
class Folder:
    """A folder with one sub-folder a class; or `train/`, `validation/`, `test/` with those below.

    root: the folder. image_size: height and width in pixels. validation, test: the shares that are drawn from train,
    class by class, where the folder does not give these splits itself. seed: of that draw. group: a function of a file
    that names the thing in it; pictures of one thing stay in one split.
    """

    root: str | Path
    image_size: tuple[int, int] = (224, 224)
    batch_size: int = 32
    validation: float = 0.2
    test: float = 0.2
    seed: int = 0
    group: Callable[[Path], str] = before_double_underscore

    def __post_init__(self) -> None:
        check_types(self)
        check_geometry(self.image_size, self.batch_size)
        Shares(self.validation, self.test, self.seed)

    def __call__(self) -> Splits:
        """Read the pictures. Raises DataError for a folder without classes."""
        root = Path(self.root).expanduser()
        items = list(self._items(root))
        return assemble(
            items,
            image_size=self.image_size,
            batch_size=self.batch_size,
            shares=Shares(self.validation, self.test, self.seed),
            origin=f"folder {shown(root)}",
        )

    def _items(self, root: Path) -> Iterator[Item]:
        for split, folder in split_folders(root).items():
            for label, files in class_files(folder).items():
                for file in files:
                    name = file.relative_to(root).as_posix()
                    yield Item(file, label, name, group=self.group(file), split=split or None)


def split_folders(root: Path) -> dict[str, Path]:
    """`{split: folder}` where `root` has `train/` and another split below it, else `{"": root}`."""
    if not root.is_dir():
        there = "it is a file" if root.exists() else "no such folder"
        raise DataError(f"Cannot read pictures from {root}: {there}; expected a folder with one sub-folder a class.")
    found = {_SPLIT_FOLDERS[path.name]: path for path in sorted(root.iterdir()) if path.name in _SPLIT_FOLDERS}
    return found if "train" in found and len(found) > 1 else {"": root}


def class_files(folder: Path) -> dict[str, list[Path]]:
    """`{class: sorted picture files}` of a folder with one sub-folder a class; raises DataError where there is none."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            files = list(find_pictures(path))
            if files:
                found[path.name] = files
    if not found:
        here = sum(1 for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        loose = f"{here} pictures lie in it directly; " if here else ""
        raise DataError(f"No class in {folder}: {loose}expected one sub-folder a class, with pictures in each.")
    return found


@dataclass(frozen=True)
class Table:
    """A CSV file with the columns `path` and `label`, and optionally `split` (train, validation, test) and `group`.

    Paths are relative to the file's folder, or absolute. The other fields are those of `Folder`.
    """

    file: str | Path
    image_size: tuple[int, int] = (224, 224)
    batch_size: int = 32
    validation: float = 0.2
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_geometry(self.image_size, self.batch_size)
        Shares(self.validation, self.test, self.seed)

    def __call__(self) -> Splits:
        """Read the pictures. Raises DataError that names the line of a mistake."""
        file = Path(self.file).expanduser()
        return assemble(
            list(self._items(file)),
            image_size=self.image_size,
            batch_size=self.batch_size,
            shares=Shares(self.validation, self.test, self.seed),
            origin=f"table {shown(file)}",
        )

    def _items(self, file: Path) -> Iterator[Item]:
        try:
            with file.open(newline="", encoding="utf-8-sig") as lines:
                rows = csv.DictReader(lines)
                columns = rows.fieldnames or []
                if missing := {"path", "label"} - set(columns):
                    found = ", ".join(columns) or "nothing"
                    raise DataError(f"{file} has no column {min(missing)!r}; its first line has: {found}.")
                for row in rows:
                    yield self._item(row, where=f"{file}:{rows.line_num}", folder=file.parent)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"Cannot read the table {file}: {error}") from None

    def _item(self, row: dict[str, Any], *, where: str, folder: Path) -> Item:
        if not row["path"] or not row["label"]:
            raise DataError(f"{where}: path and label must both be given.")
        split = row.get("split") or None
        if split and split not in _SPLIT_FOLDERS:
            raise DataError(f"{where}: unknown split {split!r}. {did_you_mean(split, _SPLIT_FOLDERS)}")
        path = folder / row["path"]
        group = row.get("group") or before_double_underscore(path)
        return Item(path, row["label"], row["path"], group=group, split=_SPLIT_FOLDERS[split] if split else None)


@dataclass(frozen=True)
class Tfds:
    """A data set of tensorflow-datasets by its name in its catalogue, such as `tf_flowers`.

    Needs the network once, to prepare the set; where there is none, that ends in one line within seconds. Splits that
    the set lacks are drawn from train. limit: use only so many pictures of each of its splits.
    """

    name: str
    image_size: tuple[int, int] = (224, 224)
    batch_size: int = 32
    validation: float = 0.2
    test: float = 0.2
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_geometry(self.image_size, self.batch_size)
        Shares(self.validation, self.test, self.seed)

    def __call__(self) -> Splits:
        """Prepare the set where that is needed, and read it. Raises DataError where it can't be had."""
        builder = prepared(self.name)
        label_names = self._label_names(builder)
        items = [item for split in builder.info.splits for item in self._items(builder, split, label_names)]
        return assemble(
            items,
            image_size=self.image_size,
            batch_size=self.batch_size,
            shares=Shares(self.validation, self.test, self.seed),
            origin=f"tensorflow-datasets {builder.info.full_name}",
        )

    def _label_names(self, builder: Any) -> Sequence[str]:
        features = builder.info.features
        if "image" not in features or not hasattr(features.get("label"), "names"):
            raise DataError(f"{self.name} is not a set for image classification: it has {', '.join(features)}.")
        return list(features["label"].names)

    def _items(self, builder: Any, split: str, label_names: Sequence[str]) -> Iterator[Item]:
        import tensorflow_datasets as tfds

        name = _SPLIT_FOLDERS.get(split)
        if name is None:
            return
        examples = builder.as_dataset(split=split, shuffle_files=False, decoders={"image": tfds.decode.SkipDecoding()})
        for index, example in enumerate(examples.take(-1 if self.limit is None else self.limit)):
            key = f"{split}/{index:06d}"
            source = _Encoded(bytes(example["image"].numpy()))
            yield Item(source, label_names[int(example["label"])], key, group=key, split=name)


@dataclass(frozen=True)
class _Encoded:
    data: bytes

    def __call__(self) -> Pixels:
        return read_rgb(self.data)


def prepared(name: str) -> Any:
    """The tensorflow-datasets builder of `name`, prepared.

    tensorflow-datasets 4.9.10 retries for minutes where there is no network, so this looks first.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR") or cache_home() / "tfds")
    except tfds.core.registered.DatasetNotFoundError:
        close = did_you_mean(name.partition("/")[0], tfds.list_builders(with_community_datasets=False))
        raise DataError(
            f"tensorflow-datasets has no set {name!r}. {close if 'mean' in close else ''}".strip()
        ) from None
    except (ValueError, OSError) as error:
        raise DataError(f"tensorflow-datasets can't open {name!r}: {' '.join(str(error).split())}") from None
    if not _is_prepared(builder):
        _require_network(name)
        say(f"preparing {name} from tensorflow-datasets, once")
        try:
            builder.download_and_prepare()
        except Exception as error:  # noqa: BLE001 - downloads fail in as many ways as there are sources
            raise DataError(f"{name} could not be prepared: {' '.join(str(error).split())[:300]}") from None
    return builder


def _is_prepared(builder: Any) -> bool:
    return bool(builder.info.splits) and Path(builder.data_dir).is_dir()


def _require_network(name: str) -> None:
    why = "KT_OFFLINE is set" if os.environ.get("KT_OFFLINE", "0") not in ("", "0") else _unreachable()
    if why:
        raise DataError(
            f"The data set {name!r} is not prepared on this machine and can't be downloaded ({why}). Connect once, or "
            "point TFDS_DATA_DIR at a prepared copy, or use your own pictures: --data FOLDER."
        )


def _unreachable() -> str:
    if any(os.environ.get(key) for key in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")):
        return ""  # the proxy resolves names; whether it lets us through shows when the download starts
    try:
        socket.create_connection(_TFDS_HOST, timeout=4).close()
    except OSError as error:
        return f"no network: {error}"
    return ""
