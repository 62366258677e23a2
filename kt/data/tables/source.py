"""`Table`: pictures whose labels stand in a CSV file."""

from dataclasses import dataclass
from pathlib import Path

from kt.console import shown
from kt.data.assemble import Item, Shares, assemble, check_geometry
from kt.data.splits import Splits
from kt.data.tables.listing import check_table_group_by, read_table
from kt.errors import DataError
from kt.recipe import check_types


@dataclass(frozen=True)
class Table:
    """A CSV file with the columns `path` and `label`, and optionally `split` (train, validation, test) and `group`.

    Other usual names, delimiters and encodings are found and told; path_column and label_column name what is not.
    Paths are relative to the file's folder or to the working directory, or absolute; a picture that is not there is
    sought by its name below the file's folder. Rows of one group stay in one split. group_by: another column, or
    "folder", "prefix", "none" or a regular expression of the path, as for `Folder`, whose fields the others are.
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

    def __post_init__(self) -> None:
        check_types(self)
        check_geometry(self.image_size, self.batch_size)
        Shares(self.validation, self.test, self.seed)
        check_table_group_by(self.group_by)

    def __call__(self) -> Splits:
        """Read the pictures. Raises DataError that names the line of a mistake."""
        file = Path(self.file).expanduser()
        try:
            layout = read_table(
                file, path_column=self.path_column, label_column=self.label_column, group_by=self.group_by
            )
        except OSError as error:
            raise DataError(f"Cannot read the table {file}: {error}.") from None
        return assemble(
            [
                Item(picture.file, picture.label, picture.written, group=picture.group, split=picture.split)
                for picture in layout.pictures
            ],
            image_size=self.image_size,
            batch_size=self.batch_size,
            shares=Shares(self.validation, self.test, self.seed),
            near_duplicates=self.near_duplicates,
            origin=f"table {shown(file)}",
            facts=layout.facts,
            notes=layout.notes,
        )
