"""`Table`: pictures whose labels are in a CSV file."""

from dataclasses import dataclass
from pathlib import Path

from kt.base.console import shown
from kt.data.assemble import assemble, check_geometry
from kt.data.items import Item, Listed, Shares
from kt.data.splits import Splits
from kt.data.tables.listing import check_table_group_by, read_table
from kt.errors import DataError
from kt.recipe import check_types


@dataclass(frozen=True)
class Table:
    """A CSV file with the columns `path` and `label`, and optionally `split` (train, validation, test) and `group`.

    Other usual column names, delimiters and encodings are recognised, and a fact says so; path_column and label_column
    name columns that are not recognised. Paths are absolute, or relative to the file's folder or to the working
    directory; a picture that does not exist there is searched for by its name below the file's folder. Rows of one
    group stay in one split. group_by: another column, or "folder", "prefix", "none" or a regular expression of the
    path. The other fields are those of `Folder`.
    """

    file: str | Path
    image_size: tuple[int, int] = (224, 224)
    batch_size: int = 32
    validation: float = 0.15
    test: float = 0.2
    seed: int = 0
    near_duplicates: bool = True
    group_by: str = "auto"
    path_column: str | None = None
    label_column: str | None = None
    fixes: str | Path | None = None

    reads_from = ("file", "fixes")

    def __post_init__(self) -> None:
        check_types(self)
        check_geometry(self.image_size, self.batch_size)
        Shares(self.validation, self.test, self.seed)
        check_table_group_by(self.group_by)

    def __call__(self) -> Splits:
        """Read the pictures. Raises DataError for a mistake in the table, with its line."""
        listed = self.listed()
        return assemble(
            listed.items,
            image_size=self.image_size,
            batch_size=self.batch_size,
            shares=Shares(self.validation, self.test, self.seed),
            near_duplicates=self.near_duplicates,
            fixes=self.fixes,
            origin=f"table {shown(Path(self.file).expanduser())}",
            facts=listed.facts,
            notes=listed.notes,
        )

    def listed(self) -> Listed:
        """The pictures by name, unread and without `fixes`. Raises DataError as a call does."""
        file = Path(self.file).expanduser()
        try:
            layout = read_table(
                file, path_column=self.path_column, label_column=self.label_column, group_by=self.group_by
            )
        except OSError as error:
            raise DataError(f"Cannot read the table {file}: {error}.") from None
        items = tuple(
            Item(
                picture.file,
                picture.label,
                picture.written,
                group=picture.group,
                split=picture.split,
                thing=picture.thing,
            )
            for picture in layout.pictures
        )
        return Listed(items, file.parent, layout.facts, layout.notes)
