"""Finds and opens an exported artefact of any format; a phone file is opened without TensorFlow."""

from pathlib import Path

from kt.base.files import check_openable
from kt.errors import KtError, ReleaseError
from kt.export.formats import FORMATS, Artifact, format_of
from kt.export.formats.format import THREADS
from kt.kinds.kind import Kind
from kt.releases.released import read_card
from kt.releases.versions import versions


def open_artifact(path: Path, *, threads: int = THREADS) -> Artifact:
    """Open an artefact: a file or folder of one of `kt.export.formats.FORMATS`, or a folder that holds some of them.

    Such a folder is a version's, or a recipe's, of which the highest version is taken. Of several formats in it, the
    first in FORMATS is opened. threads: how many a TFLite file may use. Raises ReleaseError, which lists what is near
    the path, if there is no artefact, and EnvironmentProblem if a library is missing.
    """
    file = find_artifact(path)
    kind = format_of(file)
    assert kind is not None  # since find_artifact gives only paths that a format opens
    try:
        return kind.open(file, threads=threads)
    except KtError:
        raise
    except Exception as error:  # noqa: BLE001 - TensorFlow raises nearly anything on a damaged file
        raise ReleaseError(f"{file} cannot be opened; it may be damaged, export again. ({_one_line(error)})") from None


def find_artifact(path: Path) -> Path:
    """The file or folder that `open_artifact` opens; ReleaseError if there is none, with a list of what is near."""
    check_openable(path)
    if format_of(path) is not None:
        return path
    if not path.is_dir():
        known = ", ".join(dict.fromkeys(kind.seen_as for kind in FORMATS))
        raise ReleaseError(_of_a_recipe(path) or f"{path} is no exported model ({known}). {_what_is_near(path)}")
    for kind in FORMATS:
        if files := kind.found_in(path):
            return files[0]
    if numbers := versions(path):
        return find_artifact(path / str(numbers[-1]))
    raise ReleaseError(
        _of_a_recipe(path) or f"{path} holds no exported model and no version of one. {_what_is_near(path)}"
    )


def _of_a_recipe(path: Path) -> str:
    """The error for a file in a recipe's own format, or for a version that holds nothing else; "" for anything else."""
    folder = path if path.is_dir() else path.parent
    own = {kind.name for kind in FORMATS} | {"custom"}
    for artifact in read_card(folder).get("artifacts", []):
        file = folder / artifact["name"]
        if artifact["released"] and artifact.get("format", "custom") not in own and path in (folder, file):
            return (
                f"{file} is of the format {artifact['format']!r}, which its recipe brought along, and kt can't open it "
                "without. Ask it by the format's own runtime, or export the run in a format of kt's as well."
            )
    return ""


def keep_kind(path: Path, kind: Kind) -> None:
    """Write the artefact's kind of examples into it; do nothing if kt can't add to its format."""
    texts = kind.aside()
    if texts and (form := format_of(path)) is not None:
        for name, text in texts.items():
            form.annotate(path, name, text)


def _what_is_near(path: Path) -> str:
    folder = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
    names = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
    listed = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"In {folder} there is: {listed or 'nothing'}."


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
