"""What is wrong with single files: those that can't be read, that are damaged, or with which kt does something unusual.

What can't be read is what `kt run` would skip, with the same reason. What is far from all others of the set is in
`kt.data.checks.unusual`.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from kt.data.checks.scan import Scan
from kt.data.checks.unusual import unusual
from kt.findings import Finding, Fix

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "HEIC": (".heic", ".heif", ".hif"),
    "AVIF": (".avif", ".heif"),
    "DICOM": (".dcm", ".dicom", ""),  # scanners write it without a suffix
}
_AGAIN = "Get the file from where it came from again, or leave it out"


def check_files(scan: Scan, *, labels: Sequence[str] | None = None) -> list[Finding]:
    """The findings on single files of a data set, also those of `unusual`.

    labels: the class of each file of `scan`, so that a picture is also compared with its class; without them it is
    compared with all pictures alone.
    """
    return [
        *_unreadable(scan),
        *_damaged(scan),
        *_wrong_suffixes(scan),
        *_animated(scan),
        *_rotated(scan),
        *_unusual_modes(scan),
        *unusual(scan, labels=labels),
    ]


# ----------------------------------------------------------------------------------------------- broken or no picture


def _unreadable(scan: Scan) -> list[Finding]:
    return unreadable(
        scan.names, scan.reasons, [bool(sha and not kind) for sha, kind in zip(scan.sha256, scan.kinds, strict=True)]
    )


def unreadable(names: Sequence[str], reasons: Sequence[str], other: Sequence[bool]) -> list[Finding]:
    """A finding for each file that can't be read. reasons: why not; empty if it can be.

    other: whether the file holds something else than a picture. Files that only lack a package are one finding.
    """
    findings = []
    lacking: dict[str, list[str]] = defaultdict(list)
    for name, reason, no_picture in zip(names, reasons, other, strict=True):
        if not reason:
            continue
        if "pip install" in reason:  # the same for all files of this format
            lacking[reason].append(name)
            continue
        why, verb = ("no picture", "is") if no_picture else (_short(reason), "can't be read:")
        findings.append(
            Finding(
                "not_a_picture" if no_picture else "unreadable",
                "error",
                (name,),
                f"{name} {verb} {reason.rstrip('.')}.",
                f"{_AGAIN}; kt skips it.",
                (Fix(name, "leave_out", why=why),),
            )
        )
    for reason, files in lacking.items():
        findings.append(
            Finding(
                "unreadable",
                "error",
                tuple(files),
                f"{_counted(files)} can't be read: {'it' if len(files) == 1 else 'each'} {reason.partition(':')[0]}.",
                f"Install what is missing: {reason.partition(':')[2].strip()}.",
            )
        )
    return findings


def _damaged(scan: Scan) -> list[Finding]:
    findings = []
    for name, damage in zip(scan.names, scan.damages, strict=True):
        if damage:
            cut = damage.startswith("is cut off")
            then = "the little that is missing is filled in" if cut else "part of what it shows is wrong"
            findings.append(
                Finding(
                    "unreadable",
                    "warning",
                    (name,),
                    f"{name} {damage}; it can be read, but {then}.",
                    f"{_AGAIN}.",
                    (Fix(name, "leave_out", why=_short(damage)),),
                )
            )
    return findings


def _wrong_suffixes(scan: Scan) -> list[Finding]:
    named: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, kind, readable in zip(scan.names, scan.kinds, scan.readable.tolist(), strict=True):
        suffix = PurePath(name).suffix.lower()
        if readable and suffix not in _SUFFIXES[kind]:
            named[suffix, kind].append(name)
    return [
        Finding(
            "wrong_suffix",
            "note",
            tuple(names),
            f"{_counted(names)} {_verb(names, 'has', 'have')} {f'the suffix {suffix}' if suffix else 'no suffix'} and "
            f"{_verb(names, 'is', 'are')} {kind}{_such_as(names)}.",
            f"Let {_verb(names, 'its name', 'their names')} end with {_SUFFIXES[kind][0]}: kt goes by the content, "
            "other tools go by the suffix.",
        )
        for (suffix, kind), names in named.items()
    ]


# ------------------------------------------------------------------------------------------- what is done with a file


def _animated(scan: Scan) -> list[Finding]:
    rows = np.flatnonzero(scan.frames > 1)
    names = [scan.names[row] for row in rows]
    if not names:
        return []
    return [
        Finding(
            "animated",
            "note",
            tuple(names),
            f"{_counted(names)} {_verb(names, 'has', 'have')} several frames or pages, and kt takes only the first"
            f"{_such_as(names)}.",
            "Save the frames that matter as pictures of their own, and keep those of one film in one group.",
            figures={"most_frames": float(scan.frames[rows].max())},
        )
    ]


def _rotated(scan: Scan) -> list[Finding]:
    names = [scan.names[row] for row in np.flatnonzero(scan.readable & (scan.orientations > 1))]
    if not names:
        return []
    return [
        Finding(
            "rotated",
            "note",
            tuple(names),
            f"{_counted(names)} {_verb(names, 'is', 'are')} turned or mirrored by EXIF alone{_such_as(names)}.",
            "Nothing, for kt turns such pictures upright; a tool or an app that ignores EXIF shows them to the model "
            "as they are stored.",
        )
    ]


def _unusual_modes(scan: Scan) -> list[Finding]:
    readable = scan.readable
    modes = np.array(scan.modes, dtype=np.str_) if len(scan) else np.zeros(0, np.str_)
    sorts = (
        (
            "warning",
            readable & np.isin(modes, ["CMYK", "LAB", "HSV", "YCbCr"]),
            "in colours for print (CMYK and the like), which kt converts without their colour profile",
            "Save as RGB, with the profile applied, if colours matter.",
        ),
        (
            "note",
            readable & (scan.bits > 8),
            "stored with more than 8 bits a value, which kt scales to 8 by the range that the training pictures have",
            "Look at a few as kt reads them (kt explain shows pictures); the range is kept with the model.",
        ),
        (
            "note",
            readable & scan.transparent,
            "partly transparent, which kt lays on white",
            "See whether only some classes have such pictures: then a white ground would give the class away.",
        ),
    )
    return [
        Finding(
            "unusual_mode",
            severity,
            tuple(names),
            f"{_counted(names)} {_verb(names, 'is', 'are')} {what}{_such_as(names)}.",
            advice,
        )
        for severity, chosen, what, advice in sorts
        if (names := [scan.names[row] for row in np.flatnonzero(chosen)])
    ]


# -------------------------------------------------------------------------------------------------------------- words


def _short(reason: str) -> str:
    return reason.partition(":")[0].partition(",")[0][:60]


def _counted(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names):,} pictures"


def _verb(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several


def _such_as(names: Sequence[str]) -> str:
    return f", such as {names[0]}" if len(names) > 1 else ""
