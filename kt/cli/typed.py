"""Paths as they are typed in a shell, so that suggested commands can be copied."""

import os
import shlex
from pathlib import Path

from kt.base.names import printable


def typed(path: Path | str) -> str:
    """The path as one word of a shell command, whatever its characters, and never taken for an option.

    A path that a terminal can't show is quoted for bash, zsh and ksh: `$'line\\nbreak'`.
    """
    text = str(path)
    if text.startswith("-"):
        text = f"./{text}"
    if printable(text) == text:
        return shlex.quote(text)
    plain = "".join(
        character if character.isascii() and character.isprintable() and character not in "'\\" else _escaped(character)
        for character in text
    )
    return f"$'{plain}'"


def _escaped(character: str) -> str:
    if character in "'\\" or printable(character) != character:
        return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
    return character
