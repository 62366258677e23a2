"""Checking that a resumed run has the pictures that it began with."""

import csv
from collections import Counter
from pathlib import Path, PurePosixPath

from kt.base.console import shown, warn
from kt.base.files import read_json
from kt.base.names import text_of
from kt.base.run_folder import DATA, SPLITS
from kt.data.splits import Splits
from kt.errors import DataError
from kt.runs.record import read


def check_same_data(out: Path, splits: Splits) -> None:
    """Raise DataError that says what differs, if a run began with other pictures; only warn if the run is forced."""
    try:
        recorded = read_json(out / DATA)
    except (OSError, ValueError):
        return
    if recorded.get("digest") == splits.digest:
        return
    what = f"the {splits.kind.many} of {shown(out)} have changed since it began: {_difference(out, splits)}"
    record = read(out)
    if record is None or not record.forced:
        raise DataError(f"{what}. Begin a new run, or give --force: then it does everything again that they change.")
    warn(f"{what}; what was done on the others is done again")


def _difference(out: Path, splits: Splits) -> str:
    """What differs, in words."""
    try:
        with (out / SPLITS).open(newline="", encoding="utf-8") as file:
            before = Counter((row["split"], row["label"], row["name"]) for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError, csv.Error):
        return "which ones is not known, for its splits.csv can't be read"
    now = Counter(
        (name, splits.classes[label], text_of(PurePosixPath(picture)))
        for name, part in splits.parts().items()
        for label, picture in zip(part.labels, part.names, strict=True)
    )
    added, gone = list((now - before).elements()), list((before - now).elements())
    moved = len({name for _, _, name in added} & {name for _, _, name in gone})
    if not added and not gone:
        return f"the same names hold other {splits.kind.many}"
    counts = {"added": len(added) - moved, "gone": len(gone) - moved, "in another split or class": moved}
    return ", ".join(f"{count:,} {how}" for how, count in counts.items() if count)
