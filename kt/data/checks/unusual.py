"""Pictures that are far from all others of their set: of one colour, dark, bright, blurred, or of odd size or shape.

They are judged by the set itself: photos of a night sky are dark, and that is right. A picture is reported if it is far
from the usual picture of the set and from that of its class. The limits are set so that hardly any picture of four sets
of photos exceeds one, and planted faults do (benchmarks/README.md, "Findings on files").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.data.checks.scan import Scan
from kt.findings import Finding, Fix

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

ENOUGH = 20
"""A set, or a class, with fewer pictures has no usual picture."""

DARK = 0.3
"""A dark picture has less than this share of the usual brightness; a bright one of the usual distance from white."""

DARKEST, BRIGHTEST = 64.0, 191.0
"""No picture is dark or bright within these levels of 255."""

SPREAD = 3.5
"""A dark or bright picture is also this many standard deviations from the usual, by logarithms and quantiles."""

BLURRED = 0.28
"""A blurred picture has less than this share of the sharpness that three quarters of the pictures exceed."""

UNIFORM, OF_USUAL, SPOT = 3.0, 0.3, 12
"""A picture of one colour: the standard deviation of its light is below this many levels of 255 and this share of the
usual one, and no colour of its thumbnail differs by this many levels."""

FEW_PIXELS = 32
"""A tiny picture has a shorter side below this, and below a quarter of the usual one; or below `NO_PICTURE`."""

NO_PICTURE = 8

ELONGATED = 3.0
"""A picture this many times as long as wide, and twice as many times as usual, is changed much by a resize to a square.
"""

FAR_SIZE = 4.0
"""A picture of odd size has sides this many times longer or shorter than usual, taken as the root of its pixels."""


def unusual(scan: Scan, *, labels: Sequence[str] | None = None) -> list[Finding]:
    """The findings on pictures that are far from the others of their set.

    labels: the class of each file of `scan`, so that a picture is also compared with its class; without them it is
    compared with all pictures alone.
    """
    readable = scan.readable
    usual = _Usual(readable, np.array(labels) if labels is not None else None)
    uniform = _uniform(scan, usual)
    clear = readable & ~uniform  # one colour is neither dark nor blurred: it shows nothing
    return [
        *_tiny(scan, usual),
        *_of_one_colour(scan, uniform),
        *_dark_or_bright(scan, usual, clear),
        *_blurred(scan, usual, clear),
        *_odd_aspects(scan, usual),
        *_odd_sizes(scan, usual),
    ]


@dataclass(frozen=True, eq=False)
class _Usual:
    """What is usual in the set, and in each class with enough pictures. labels: `[N]`, or None."""

    readable: Flags
    labels: npt.NDArray[np.str_] | None

    @property
    def enough(self) -> bool:
        """Whether there is anything usual in the set."""
        return int(self.readable.sum()) >= ENOUGH

    def everywhere(self, outside: Callable[[Flags], Flags]) -> Flags:
        """Which pictures are outside of what is usual in the set and in their class.

        outside: is given the pictures to compare with, as flags `[N]`, and says which of all pictures are outside.
        """
        if not self.enough:
            return np.zeros(len(self.readable), bool)
        found = outside(self.readable) & self.readable
        if self.labels is None:
            return found
        for label in np.unique(self.labels[found]):
            members = self.labels == label
            if (members & self.readable).sum() >= ENOUGH:
                found &= ~members | outside(members & self.readable)
        return found


def _low(values: Floats, among: Flags, *, share: float) -> Flags:
    """Which values lie far below the usual ones: under a share of their median, and by `SPREAD`."""
    logs = np.log(np.maximum(values, 0.5))
    middle = np.median(logs[among])
    spread = 1.4826 * np.median(np.abs(logs[among] - middle))
    return np.asarray((values < share * np.median(values[among])) & (logs < middle - SPREAD * spread))


# ------------------------------------------------------------------------------------------------------- what it shows


def _uniform(scan: Scan, usual: _Usual) -> Flags:
    most = UNIFORM
    if usual.enough:  # in a set of faint pictures these still show something
        most = min(most, OF_USUAL * float(np.median(scan.contrast[scan.readable])))
    found = scan.readable & (scan.contrast < most)
    for row in np.flatnonzero(found):  # a small bright spot hardly counts for the contrast, nor do colours
        levels = scan.thumbnails[row].reshape(-1, 3).astype(np.int64)
        found[row] = np.ptp(levels, axis=0).max() < SPOT
    return found


def _of_one_colour(scan: Scan, found: Flags) -> list[Finding]:
    return [
        _picture(
            scan,
            row,
            "uniform",
            f"shows one colour and nothing else (its levels differ by {scan.contrast[row]:.1f} of 255)",
            score=1 - float(scan.contrast[row]) / UNIFORM,
            figures={"contrast": float(scan.contrast[row])},
            why="one colour",
        )
        for row in np.flatnonzero(found).tolist()
    ]


def _dark_or_bright(scan: Scan, usual: _Usual, clear: Flags) -> list[Finding]:
    light, shade = scan.brightness, 255 - scan.brightness
    dark = usual.everywhere(lambda among: (light < DARKEST) & _low(light, among, share=DARK)) & clear
    bright = usual.everywhere(lambda among: (light > BRIGHTEST) & _low(shade, among, share=DARK)) & clear
    middle = float(np.median(light[scan.readable])) if scan.readable.any() else 0.0
    findings = []
    for kind, found, word, distance in (("dark", dark, "dark", light), ("bright", bright, "light", shade)):
        usually = float(np.median(distance[scan.readable])) if scan.readable.any() else 1.0
        findings += [
            _picture(
                scan,
                row,
                kind,
                f"is very {word}: its mean level is {light[row]:.0f} of 255, and {middle:.0f} is usual here",
                severity="note",
                score=1 - float(distance[row]) / (DARK * usually),
                figures={"brightness": float(light[row]), "usual": middle},
                why=f"very {word}",
            )
            for row in np.flatnonzero(found).tolist()
        ]
    return findings


def _blurred(scan: Scan, usual: _Usual, clear: Flags) -> list[Finding]:
    sharpness = scan.sharpness
    found = usual.everywhere(lambda among: sharpness < BLURRED * np.quantile(sharpness[among], 0.25)) & clear
    if not found.any():
        return []
    middle = float(np.median(sharpness[scan.readable]))
    return [
        _picture(
            scan,
            row,
            "blurred",
            f"is blurred: its sharpness is {sharpness[row]:.2f}, and {middle:.2f} is usual here",
            severity="note",
            score=1 - float(sharpness[row]) / middle,
            figures={"sharpness": float(sharpness[row]), "usual": middle},
            why="blurred",
        )
        for row in np.flatnonzero(found).tolist()
    ]


# ------------------------------------------------------------------------------------------------------- size and shape


def _tiny(scan: Scan, usual: _Usual) -> list[Finding]:
    return [
        _picture(
            scan,
            row,
            "tiny",
            f"has only {_size(scan, row)} pixels",
            score=1 - float(scan.sizes[row].min()) / FEW_PIXELS,
            figures={"shorter_side": float(scan.sizes[row].min())},
            why="very few pixels",
        )
        for row in np.flatnonzero(_has_few_pixels(scan, usual)).tolist()
    ]


def _has_few_pixels(scan: Scan, usual: _Usual) -> Flags:
    short = scan.sizes.min(axis=1)
    few = np.full(len(scan), NO_PICTURE)
    if usual.enough:
        few[:] = max(NO_PICTURE, min(FEW_PIXELS, float(np.median(short[scan.readable])) / 4))
    return np.asarray(scan.readable & (short < few))


def _odd_aspects(scan: Scan, usual: _Usual) -> list[Finding]:
    elongation = scan.sizes.max(axis=1) / np.maximum(scan.sizes.min(axis=1), 1)
    wide = scan.sizes[:, 1] / np.maximum(scan.sizes[:, 0], 1)

    def outside(among: Flags) -> Flags:
        ratio = wide / np.median(wide[among])
        return np.asarray((elongation >= ELONGATED) & (np.maximum(ratio, 1 / np.maximum(ratio, 1e-9)) >= 2))

    return [
        _picture(
            scan,
            row,
            "odd_aspect",
            f"is {elongation[row]:.1f} times as long as wide ({_size(scan, row)} pixels), and is squeezed to a square "
            "for the model",
            severity="note",
            score=1 - ELONGATED / float(elongation[row]) / 2,
            figures={"elongation": float(elongation[row])},
            advice="Cut out what matters, or leave it out if it shows no whole thing.",
            why="unusual proportions",
        )
        for row in np.flatnonzero(usual.everywhere(outside)).tolist()
    ]


def _odd_sizes(scan: Scan, usual: _Usual) -> list[Finding]:
    sides = np.sqrt(np.maximum(scan.sizes.prod(axis=1), 1))
    logs = np.log(sides)

    def outside(among: Flags) -> Flags:
        off = np.abs(logs - np.median(logs[among]))
        return np.asarray(off > np.maximum(np.log(FAR_SIZE), 5 * 1.4826 * np.median(off[among])))

    found = usual.everywhere(outside) & ~_has_few_pixels(scan, usual)
    if not found.any():
        return []
    middle = float(np.median(sides[scan.readable]))
    return [
        _picture(
            scan,
            row,
            "odd_size",
            f"has {_size(scan, row)} pixels, {_times(float(sides[row]), middle)} the usual",
            severity="note",
            score=1 - FAR_SIZE / max(sides[row] / middle, middle / sides[row]) / 2,
            figures={"side": float(sides[row]), "usual": middle},
            advice="See where it comes from: a picture from another source may not show what the others show.",
            why="unusual size",
        )
        for row in np.flatnonzero(found).tolist()
    ]


def _times(side: float, usual: float) -> str:
    return f"{side / usual:.0f} times as long a side as" if side > usual else f"a {usual / side:.0f}th of the side of"


# -------------------------------------------------------------------------------------------------------------- words


def _picture(
    scan: Scan,
    row: int,
    kind: str,
    what: str,
    *,
    score: float,
    figures: dict[str, float],
    why: str,
    severity: str = "warning",
    advice: str = "Look at it, and leave it out unless a model will have to answer such pictures.",
) -> Finding:
    name = scan.names[row]
    fix = Fix(name, "leave_out", why=why)
    kept = round(float(np.clip(score, 0.0, 1.0)), 3)
    return Finding(kind, severity, (name,), f"{name} {what}.", advice, (fix,), kept, figures)


def _size(scan: Scan, row: int) -> str:
    return f"{scan.sizes[row, 1]} x {scan.sizes[row, 0]}"
