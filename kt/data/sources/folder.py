"""`Folder`: pictures in your own folder, with one sub-folder a class."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kt.base.console import shown
from kt.data.assemble import assemble, check_geometry
from kt.data.groups import Groups, check_group_by, find_groups
from kt.data.items import Item, Listed, Shares
from kt.data.layout import Layout, read_layout
from kt.data.splits import Splits
from kt.errors import DataError, RecipeError
from kt.recipe import check_types


@dataclass(frozen=True)
class Folder:
    """A folder with one sub-folder a class; or folders for train, validation and test, each with class folders.

    root: the folder, or a zip of one. image_size: height and width in pixels. validation, test: the shares to draw from
    train, class by class, if the folder does not give these splits itself. seed: the seed of that draw.
    near_duplicates: whether near-duplicates count as copies, which never lie in two splits. group: a function that
    takes a file and names its group; pictures of one group stay in one split. group_by: the same without a function. It
    is "folder" (within a class), "prefix" (the part of a file's name before `__`), "none", or a regular expression for
    the path below root, whose part in parentheses names the group; "auto" takes folders or prefixes if each class has
    several of them. fixes: a CSV of decisions on single pictures, as `kt check --fix` writes it: which to leave out,
    which to give another label, which show the same thing.
    """

    root: str | Path
    image_size: tuple[int, int] = (224, 224)
    batch_size: int = 32
    validation: float = 0.15
    test: float = 0.2
    seed: int = 0
    near_duplicates: bool = True
    group: Callable[[Path], str] | None = None
    group_by: str = "auto"
    fixes: str | Path | None = None

    reads_from = ("root", "fixes")

    def __post_init__(self) -> None:
        check_types(self)
        check_geometry(self.image_size, self.batch_size)
        Shares(self.validation, self.test, self.seed)
        check_group_by(self.group_by)
        if self.group is not None and self.group_by != "auto":
            raise RecipeError("Folder: group= and group_by= both name the things in the pictures; give one of them.")

    def __call__(self) -> Splits:
        """Read the pictures. Raises DataError if the folder can't be read or has no classes."""
        listed = self.listed()
        return assemble(
            listed.items,
            image_size=self.image_size,
            batch_size=self.batch_size,
            shares=Shares(self.validation, self.test, self.seed),
            near_duplicates=self.near_duplicates,
            fixes=self.fixes,
            origin=f"folder {shown(Path(self.root).expanduser())}",
            facts=listed.facts,
            notes=listed.notes,
        )

    def listed(self) -> Listed:
        """The pictures by name, unread and without `fixes`. Raises DataError as a call does."""
        root = Path(self.root).expanduser()
        try:
            layout = read_layout(root, decided=self.group is not None or self.group_by != "auto")
        except OSError as error:
            raise DataError(f"Cannot read pictures from {root}: {error}.") from None
        groups = self._groups(layout)
        items = tuple(
            Item(
                placed.file,
                placed.label,
                placed.file.relative_to(layout.root).as_posix(),
                group=group,
                split=placed.split,
                thing=thing,
            )
            for placed, group, thing in zip(layout.pictures, groups.names, groups.things, strict=True)
        )
        facts = (*layout.facts, *layout.told_splits(), *((groups.fact,) if groups.fact else ()))
        return Listed(items, layout.root, facts, layout.notes)

    def _groups(self, layout: Layout) -> Groups:
        if self.group is not None:
            names = tuple(str(self.group(placed.file)) for placed in layout.pictures)
            return Groups(names, names)
        missing = sum(name not in layout.splits for name in ("validation", "test"))
        return find_groups(layout.places(), self.group_by, missing=missing)
