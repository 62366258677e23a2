"""Pictures of more than 8 bits: what becomes of 12 bits in files of 16, of fractions, and of DICOM."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_RECIPE
from PIL import Image

from kt.data import Folder
from kt.errors import DataError
from kt.kinds.pictures.images import ValueRange, read_rgb, servable_bytes

HUES = {"dark": 0.3, "middle": 0.6, "bright": 0.9}


def drawn(share: float, seed: int, size: int = 40) -> np.ndarray:
    """A smooth picture with values from 0 to `share`."""
    small = Image.fromarray(np.random.default_rng(seed).random((6, 6), np.float32))
    return np.clip(np.asarray(small.resize((size, size), Image.Resampling.BICUBIC)), 0, 1) * share


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def encoded(values: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


def png_rgb(values: np.ndarray, extra: bytes = b"") -> bytes:
    """Colours of 16 bits, which Pillow doesn't write."""
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def folder_of(root: Path, make: object, *, suffix: str = "png", each: int = 12) -> Path:
    for label, share in HUES.items():
        (root / label).mkdir(parents=True)
        for index in range(each):
            (root / label / f"{index}.{suffix}").write_bytes(make(drawn(share, seed=100 * len(label) + index)))
    return root


def read(root: Path):
    return Folder(str(root), image_size=(32, 32), batch_size=8)()


def test_12_bits_in_files_of_16_are_spread_over_all_levels_and_that_is_said(tmp_path, capfd):
    root = folder_of(tmp_path / "d", lambda picture: encoded((picture * 4095).astype(np.uint16)))
    splits = read(root)
    assert splits.kind.value_range == ValueRange(0, 4095)
    assert splits.train.examples.max() > 180
    assert any("16-bit pictures hold values 0 to 4095: scaled by this range, kept with the model" in fact
               for fact in splits.facts)  # fmt: skip
    assert "values 0 to 4095" in capfd.readouterr().err


def test_files_that_use_all_16_bits_are_read_by_their_high_byte_as_ever(tmp_path):
    splits = read(folder_of(tmp_path / "d", lambda picture: encoded((picture * 65535).astype(np.uint16))))
    assert splits.kind.value_range is None
    deep = np.random.default_rng(0).integers(0, 65536, (5, 4), np.uint16)
    assert (read_rgb(encoded(deep)) == (deep // 256)[..., None]).all()
    assert (read_rgb(encoded(deep), value_range=ValueRange(0, 65535)) == (deep // 256)[..., None]).all()


def test_pictures_of_8_bits_have_no_range_and_do_not_mind_one(tmp_path):
    splits = read(folder_of(tmp_path / "d", lambda picture: encoded((picture * 255).astype(np.uint8))))
    assert splits.kind.value_range is None
    plain = encoded((drawn(1, 0) * 255).astype(np.uint8))
    assert np.array_equal(read_rgb(plain, value_range=ValueRange(0, 4095)), read_rgb(plain))


def test_hot_pixels_do_not_set_the_range(tmp_path):
    def with_a_hot_pixel(picture):
        values = (picture * 4000).astype(np.uint16)
        values[3, 4] = 65535
        return encoded(values)

    assert read(folder_of(tmp_path / "d", with_a_hot_pixel)).kind.value_range == ValueRange(0, 4095)


def test_values_far_from_zero_are_spread_from_the_lowest_to_the_highest(tmp_path):
    found = read(folder_of(tmp_path / "d", lambda picture: encoded((30_000 + picture * 4000).astype(np.uint16))))
    assert found.kind.value_range is not None
    assert 29_900 <= found.kind.value_range.low <= 30_300 and 33_000 < found.kind.value_range.high < 34_000
    assert found.train.examples.max() > 200


def test_the_range_is_that_of_train_alone(tmp_path):
    for split, scale in (("train", 4095), ("validation", 4095), ("test", 16_000)):
        folder_of(tmp_path / "d" / split, lambda picture, scale=scale: encoded((picture * scale).astype(np.uint16)))
    splits = read(tmp_path / "d")
    assert splits.kind.value_range == ValueRange(0, 4095)
    assert (splits.test.examples == 255).mean() > 0.2


def test_fractions_are_read_by_the_range_of_the_set_and_what_is_no_number_is_black(tmp_path):
    def with_holes(picture):
        values = picture.astype(np.float32)
        values[:2] = np.nan
        return encoded(values, "TIFF")

    splits = read(folder_of(tmp_path / "d", with_holes, suffix="tif"))
    assert splits.kind.value_range == ValueRange(0.0, 1.0, whole=False)
    assert splits.train.examples.max() > 180
    given = np.array([[0.0, 0.5, 1.0, 2.0, np.nan, -1.0]], np.float32)
    levels = read_rgb(encoded(given, "TIFF"), value_range=splits.kind.value_range)[0, :, 0]
    assert levels.tolist() == [0, 128, 255, 255, 0, 0]


def test_whole_numbers_of_32_bits_are_read_by_the_range_of_the_set(tmp_path):
    splits = read(
        folder_of(tmp_path / "d", lambda picture: encoded((picture * 1_000_000).astype(np.int32), "TIFF"), suffix="tif")
    )
    assert splits.kind.value_range == ValueRange(0, 2**20 - 1)
    assert splits.train.examples.max() > 180


def test_colours_of_12_bits_in_png_and_tiff(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (6, 5, 3), np.uint16)
    tags = [(256, 3, 1, 5), (257, 3, 1, 6), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 300),
            (277, 3, 1, 3), (278, 3, 1, 6), (279, 4, 1, 180)]  # fmt: skip
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    tiff = head.ljust(200, b"\0") + struct.pack("<HHH", 16, 16, 16)
    tiff = tiff.ljust(300, b"\0") + values.astype("<u2").tobytes()
    for file in (png_rgb(values), tiff):
        assert np.array_equal(read_rgb(file, value_range=ValueRange(0, 4095)), values // 16)
        assert np.array_equal(read_rgb(file), values // 256)
    found = read(
        folder_of(tmp_path / "d", lambda one: png_rgb(np.repeat((one * 4095).astype(np.uint16)[..., None], 3, 2)))
    )
    assert found.kind.value_range == ValueRange(0, 4095)


def test_a_files_own_tags_come_before_the_range_of_the_set():
    values = np.array([[0, 1001, 2000, 4000]], np.uint16)
    told = encoded(values, "TIFF", tiffinfo={340: 0, 341: 4000})
    assert read_rgb(told, value_range=ValueRange(0, 65535))[0, :, 0].tolist() == [0, 64, 127, 255]
    plain = encoded(values)
    significant = plain[:33] + chunk(b"sBIT", b"\x0c") + plain[33:]
    assert read_rgb(significant)[0, :, 0].tolist() == [0, 62, 125, 250]


def test_significant_bits_that_are_shifted_up_as_the_standard_wants_are_read_by_the_high_byte():
    values = (np.array([[0, 100, 250]], np.uint16)) << 4
    plain = encoded(values)
    assert read_rgb(plain[:33] + chunk(b"sBIT", b"\x0c") + plain[33:])[0, :, 0].tolist() == [0, 6, 15]


def test_fractions_without_a_range_are_refused():
    with pytest.raises(DataError, match="floating-point values, whose range is unknown"):
        read_rgb(encoded(np.zeros((4, 4), np.float32), "TIFF"))


# ------------------------------------------------------------------------------------------------------------- DICOM


def dicom(values: np.ndarray, **fields: object) -> bytes:
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = pydicom.dataset.Dataset()
    file.file_meta = meta
    file.Rows, file.Columns = values.shape[:2]
    file.SamplesPerPixel = 3 if values.ndim == 3 else 1
    if values.ndim == 3:
        file.PlanarConfiguration = 0
    file.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    file.BitsAllocated = values.dtype.itemsize * 8
    file.BitsStored = file.BitsAllocated
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(values.dtype.kind == "i")
    file.PixelData = values.tobytes()
    for name, value in fields.items():
        setattr(file, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()


def test_dicom_is_read_by_its_window_after_slope_and_intercept():
    values = np.array([[0, 1000, 1024, 1064, 1104, 3000]], np.int16)
    file = dicom(values, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=80)
    levels = read_rgb(file)[0, :, 0].astype(int)
    assert levels[[0, 1]].tolist() == [0, 0] and levels[-1] == 255
    assert abs(levels[3] - 128) <= 3 and abs(levels[2]) <= 2 and abs(levels[4] - 255) <= 3


def test_dicom_whose_low_values_are_bright_is_turned():
    values = np.array([[0, 2048, 4095]], np.uint16)
    straight = read_rgb(dicom(values, BitsStored=12, HighBit=11))
    assert straight[0, :, 0].tolist() == [0, 128, 255]
    turned = read_rgb(dicom(values, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(turned, 255 - straight)


def test_dicom_in_colour_and_its_first_frame_and_served_as_png():
    values = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    assert np.array_equal(read_rgb(dicom(values)), values)
    frames = np.array([[[1, 2]], [[3, 4]]], np.uint8)
    film = dicom(frames[0], NumberOfFrames=2, PixelData=frames.tobytes())
    assert read_rgb(film).shape == (1, 2, 3)
    assert np.array_equal(read_rgb(servable_bytes(film)), read_rgb(film))


def test_dicom_without_a_picture_or_packed_in_a_strange_way_is_named_with_the_reason():
    pydicom = pytest.importorskip("pydicom")
    whole = dicom(np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="DICOM without a picture"):
        read_rgb(dicom(np.zeros((4, 4), np.uint8), Rows=0))
    file = pydicom.dcmread(io.BytesIO(whole))
    file.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2K
    file.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 20])
    file["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file)
    with pytest.raises(DataError, match="High-Throughput JPEG 2000"):
        read_rgb(buffer.getvalue())


# ------------------------------------------------------------------------------------------------- kept with a model


@pytest.mark.slow
def test_a_model_of_12_bits_answers_files_by_its_range_wherever_they_are_asked(tmp_path, kt_here):
    from kt.export.artifact import open_artifact

    folder_of(tmp_path / "pictures", lambda picture: encoded((picture * 4095).astype(np.uint16)), each=24)
    (tmp_path / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    done = kt_here("run", "tiny.py", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hold values 0 to 4095" in done.stderr
    version = tmp_path / "saved_models/tiny/1"
    assert json.loads((version / "kt.json").read_text())["value_range"] == [0, 4095]
    files = [*version.glob("*.tflite"), version]
    assert len(files) >= 2
    for file in files:
        assert open_artifact(file).kind.value_range == ValueRange(0, 4095)
    one = tmp_path / "pictures/bright/0.png"
    scores = []
    for model in (str(version), str(version / "tiny_float32.tflite")):
        told = kt_here("predict", model, str(one), "--json", cwd=tmp_path)
        scores.append(json.loads(told.stdout)["scores"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    same = encoded(read_rgb(one, value_range=ValueRange(0, 4095)))
    (tmp_path / "same.png").write_bytes(same)
    told = kt_here("predict", str(version), "same.png", "--json", cwd=tmp_path)
    assert json.loads(told.stdout)["scores"] == pytest.approx(scores[0], abs=1e-5)
