"""Usual pictures, files beside them, and what `check_files` finds: for the tests of the checks on single files."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from kt.data.checks.files import check_files
from kt.data.checks.scan import scan
from kt.findings import Finding

COUNT = 30


def write_usual(folder: Path) -> Path:
    """Pictures on which nothing is found."""
    for seed in range(COUNT):
        photo(seed, light=110 + seed).save(folder / f"{seed:02d}.jpg", quality=90)
    return folder


def photo(seed: int, size: tuple[int, int] = (120, 120), light: float = 120) -> Image.Image:
    """A picture with detail at all scales, as photos have, whose mean level is `light`."""
    random = np.random.default_rng(seed)
    levels = np.zeros((size[1], size[0], 3))
    for side in (4, 12, 36, 108):
        coarse = random.normal(0, 1, (side, side, 3)).astype(np.float32)
        parts = [Image.fromarray(coarse[..., channel]).resize(size, Image.BICUBIC) for channel in range(3)]
        levels += 14 * np.stack([np.asarray(part) for part in parts], axis=-1)
    return Image.fromarray(np.clip(levels - levels.mean() + light, 0, 255).astype(np.uint8))


def found(usual: Path, extra: dict[str, bytes | Image.Image], folder: Path) -> list[Finding]:
    """The findings on the usual pictures and these."""
    folder = folder / "extra"
    folder.mkdir()
    for name, content in extra.items():
        if isinstance(content, Image.Image):
            content.save(folder / name)
        else:
            (folder / name).write_bytes(content)
    files = [*sorted(usual.iterdir()), *(folder / name for name in extra)]
    return check_files(scan(files, names=[file.name for file in files]))


def saved(image: Image.Image, form: str = "JPEG", **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [finding.words for finding in findings]
    return findings[0]
