"""Class names as text, one a line: the form in which every artefact carries them."""

from collections.abc import Sequence

from kt.errors import ReleaseError

LABELS = "labels.txt"
"""The name under which an artefact carries its class names."""


def to_text(classes: Sequence[str]) -> bytes:
    """UTF-8, one name a line, in the order of the scores. Raises ReleaseError for a name with a line break."""
    for name in classes:
        if "\n" in name or "\r" in name:
            raise ReleaseError(f"Class {name!r} has a line break; rename it, since labels are written one a line.")
    return "".join(f"{name}\n" for name in classes).encode()


def from_text(text: bytes) -> tuple[str, ...]:
    """The reverse of `to_text`; it also reads a file without a final line break, or with Windows line breaks."""
    lines = [line.removesuffix("\r") for line in text.decode().split("\n")]
    return tuple(lines[:-1] if lines[-1] == "" else lines)
