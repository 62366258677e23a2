"""Whether the test pictures look like the training pictures, and those that do least."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.entry import Interval
from kt.report.reported import ReportedRun
from kt.report.shown import Thumbnail
from kt.report.templates import filled

DIFFER, ALIKE = "differ", "alike"


@dataclass(frozen=True)
class Alike:
    """The comparison of test with train.

    differ: whether a difference was seen. auc, interval: how well a classifier tells them apart. train, test: the
    independent examples that were compared. furthest: the test examples that are furthest from all training examples;
    the address is "" where there is no picture.
    """

    differ: bool
    auc: float
    interval: Interval
    train: int
    test: int
    furthest: tuple[Thumbnail, ...]
    nouns: Nouns


def gather(run: ReportedRun) -> Alike | None:
    """The comparison; None if there was none, or if there were too few examples."""
    entry = run.report["likeness"]
    if entry["verdict"].text() not in (DIFFER, ALIKE):
        return None
    names = entry["most_unlike"].texts()
    addresses = run.shown.unlike or ("",) * len(names)
    if len(addresses) != len(names):
        raise entry["most_unlike"].damaged(f"a list of {len(addresses)}, as many as shown.json has {run.nouns.many} of")
    return Alike(
        differ=entry["verdict"].text() == DIFFER,
        auc=entry["auc"].share(),
        interval=entry["interval"].interval(),
        train=entry["train"].count(),
        test=entry["test"].count(),
        furthest=tuple(Thumbnail(name, address) for name, address in zip(names, addresses, strict=True)),
        nouns=run.nouns,
    )


def html(data: Alike) -> Markup:
    """A sentence, and the pictures if they differ."""
    return filled("sections/alike", data)
