"""Decodes DICOM with pydicom: the first frame, with the window that the file states as its value range."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.errors import DataError, one_line
from kt.kinds.pictures.decode import Decoded, StoredForm, check_size
from kt.kinds.pictures.values import ValueRange

_DEFAULT_VALUES = 12  # the bits to assume if a file does not state them


def decode_dicom(data: bytes, *, max_pixels: int, on_size: Callable[[int], None]) -> Decoded:
    """The picture with rescale slope and intercept applied, and with the file's window as its own value range.

    Raises DataError if the file holds no picture, or if its pixels can't be read, for example because their compression
    needs a further package.
    """
    import pydicom
    from pydicom.pixels import apply_color_lut, apply_voi_lut, pixel_array

    file = pydicom.dcmread(io.BytesIO(data))
    width, height = int(file.get("Columns", 0)), int(file.get("Rows", 0))
    if not width or not height or ("PixelData" not in file and "FloatPixelData" not in file):
        raise DataError("is DICOM without a picture in it")
    check_size(width, height, kind="DICOM", max_pixels=max_pixels)
    on_size(width * height)
    try:
        stored = pixel_array(file, index=0)
    except (RuntimeError, NotImplementedError, AttributeError, ValueError) as error:
        how = file.file_meta.get("TransferSyntaxUID") if "file_meta" in dir(file) else None
        named = how.name if how else "of unknown kind"
        raise DataError(f"is DICOM whose pixels ({named}) can't be read: {one_line(error)}") from None
    colours = str(file.get("PhotometricInterpretation", ""))
    if colours == "PALETTE COLOR":
        coloured = apply_color_lut(stored, file)
        return Decoded((coloured >> 8 if coloured.dtype.itemsize > 1 else coloured).astype(np.uint8)[..., :3])
    if stored.ndim == 3:
        return Decoded(stored[..., :3] if stored.dtype == np.uint8 else stored[..., :3].astype(np.uint16))
    values = _as_meant(stored, file)
    own = _window(file)
    if own is None and "VOILUTSequence" in file:
        values = apply_voi_lut(values.astype(np.int32), file)
        bits = int(file.VOILUTSequence[0].LUTDescriptor[2])
        own = ValueRange(0, 2**bits - 1)
    elif own is None and values is stored and stored.dtype.kind == "u":
        own = ValueRange(0, 2 ** int(file.get("BitsStored", _DEFAULT_VALUES)) - 1)
    if values.dtype == np.uint8:  # 16 bits make it count as deep, so that the window is applied
        values = values.astype(np.uint16)
    stored_as = StoredForm(bits=int(file.get("BitsStored", 8 * stored.itemsize)))
    return Decoded(np.ascontiguousarray(values), own=own, inverted=colours == "MONOCHROME1", stored=stored_as)


def _as_meant(stored: npt.NDArray[Any], file: Any) -> npt.NDArray[Any]:
    slope, intercept = float(file.get("RescaleSlope") or 1), float(file.get("RescaleIntercept") or 0)
    if slope == 1 and intercept == 0:
        return stored
    if slope == 1 and intercept.is_integer():
        return stored.astype(np.int32) + int(intercept)
    return (stored * slope + intercept).astype(np.float32)


def _window(file: Any) -> ValueRange | None:
    """The value range of the file's first window, from black to white; None if there is none."""
    centre, width = (_first(file.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width < 1:
        return None
    half = (width - 1) / 2 if str(file.get("VOILUTFunction", "LINEAR")) == "LINEAR" else width / 2
    middle = centre - 0.5 if half != width / 2 else centre
    return ValueRange(middle - half, middle + half + (half == 0), whole=False)


def _first(value: Any) -> float | None:
    try:
        return float(value if isinstance(value, str | int | float) else value[0])
    except (TypeError, ValueError, IndexError):
        return None
