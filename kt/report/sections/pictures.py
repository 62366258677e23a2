"""The data: how many pictures each class has in each split, some examples, and notes from reading."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.layout import is_many
from kt.report.reported import ReportedRun
from kt.report.shown import SplitSize, Thumbnail
from kt.report.templates import filled


@dataclass(frozen=True)
class PicturesSection:
    """The pictures of a run.

    many: whether there are so many classes that their table scrolls. counts: each class with its number of pictures in
    each split. image_size: height and width. skipped: files that could not be read, each with the reason. examples: a
    few training pictures of some classes.
    """

    origin: str
    many: bool
    splits: tuple[SplitSize, ...]
    counts: tuple[tuple[str, tuple[int, ...]], ...]
    image_size: tuple[int, int] | None
    notes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    examples: tuple[tuple[str, tuple[Thumbnail, ...]], ...]
    nouns: Nouns

    @property
    def grouped(self) -> bool:
        """Whether a group has several pictures."""
        return any(split.things < split.pictures for split in self.splits)


def gather(run: ReportedRun) -> PicturesSection | None:
    """The run's pictures; None if the run keeps none."""
    shown, data = run.shown, run.report["data"]
    if not shown.counts:
        return None
    size = data["image_size"]
    return PicturesSection(
        origin=data["origin"].text(),
        many=is_many(shown.classes),
        splits=shown.sizes,
        counts=shown.counts,
        image_size=(size.row(2)[0].count(), size.row(2)[1].count()) if size else None,
        notes=data["notes"].texts(),
        skipped=tuple((entry["name"].name(), entry["reason"].text()) for entry in data["skipped"]),
        examples=shown.examples,
        nouns=run.nouns,
    )


def html(data: PicturesSection) -> Markup:
    """Counts on the left, pictures on the right."""
    return filled("sections/pictures", data)
