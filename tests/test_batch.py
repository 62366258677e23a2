"""`kt predict --out`: the same answers as without, in order, in bounded memory; an interruption loses nothing."""

import csv
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import PHOTOS
from conftest import kt as run_kt
from PIL import Image

from kt.base.extras import install
from kt.errors import KtError, ReleaseError
from kt.export.artifact import open_artifact
from kt.export.formats.format import Details
from kt.export.formats.saved_model import SavedModel
from kt.export.formats.tflite import TFLite
from kt.kinds.kind import Source
from kt.kinds.pictures import images
from kt.kinds.pictures.find import find_pictures
from kt.predict import predict_files, scorer
from kt.predict import resumable as batch
from kt.predict.resumable import predict_to
from kt.predict.scorer import BLOCK, Computing, Scored, choose, in_threads
from kt.predict.table import columns, path_of, table_for, text_of

CLASSES = ("=dark", "score", "brûlé, rare")
SIZE = (24, 32)
MEGABYTES = 2**20

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra kt-transfer[ray]")


def tiny_model(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((*SIZE, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(len(CLASSES), activation="softmax")(x))


def released(folder: Path, seed: int) -> Path:
    """A version as `kt run` releases it: the SavedModel at its root, the float32 file and kt.json beside it."""
    model = tiny_model(seed)
    details = Details("tiny", CLASSES)
    SavedModel().make(model, folder, details=details).rename(folder / "1")
    TFLite("float32").make(model, folder / "1", details=details)
    name = "tiny_float32.tflite"
    told = {"name": name, "path": name, "released": True, "largest_score_difference": 1e-6}
    (folder / "1" / "kt.json").write_text(json.dumps({"artifacts": [told]}))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("tiny"), seed=7)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released(tmp_path_factory.mktemp("other"), seed=8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three blocks and a bit of pictures, of which two are broken."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for index in range(3 * BLOCK + 5):
        noise = random.integers(0, 256, (20, 20, 3)) // random.integers(1, 9, 3)
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{index:03d}.png")
    (folder / "007.png").write_bytes(b"no picture")
    (folder / "100.png").write_bytes(b"")
    return folder


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


class Interruption:
    """Stands before the decoder: counts the files that are read, and presses Ctrl-C in front of one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._read = images.read_rgb
        self.seen: list[str] = []
        self.before = ""
        monkeypatch.setattr(images, "read_rgb", self)

    def __call__(self, file: Path, **how: object) -> np.ndarray:
        if file.name == self.before:
            raise KeyboardInterrupt
        self.seen.append(file.name)
        return self._read(file, **how)


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Interruption:
    return Interruption(monkeypatch)


def interrupted(decoder: Interruption, before: str, out: Path, model: Path, pictures: Path) -> None:
    """A run that was stopped in front of a file; what came before that file's block is kept."""
    decoder.before = before
    with pytest.raises(KeyboardInterrupt):
        predict_to(out, model=model, pictures=[pictures])
    decoder.before = ""
    decoder.seen.clear()


# ------------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize("engine", ["auto", "tensorflow"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_table_says_what_predict_says_without_out(engine, suffix, model, photos, tmp_path):
    out = tmp_path / f"scores{suffix}"
    done = predict_to(out, model=model, pictures=[photos], engine=engine)
    assert (done.pictures, done.errors, done.before) == (101, 2, 0)
    assert done.engine == ("litert" if engine == "auto" else "tensorflow")
    rows = rows_of(out) if suffix == ".csv" else pq.read_table(out).to_pylist()
    answers = list(predict_files(open_artifact(model), [photos]))
    assert [path_of(row["path"]) for row in rows] == [answer.path for answer in answers]
    names = list(rows[0])[3:-2]
    assert len(names) == len(CLASSES)
    for row, answer in zip(rows, answers, strict=True):
        assert row["error"] == answer.error
        if answer.error:
            assert {row[name] for name in ("label", "score", *names)} <= {"", None}
        else:
            assert row["label"].removeprefix("'") == answer.label
            scores = [float(row[name]) for name in names]
            assert scores == pytest.approx(list(answer.scores.values()), abs=2e-6 if engine == "tensorflow" else 1e-4)
            assert float(row["score"]) == max(scores)
    assert not out.with_name(f"{out.name}.part").exists()


def test_a_tflite_file_gives_exactly_the_scores_that_predict_gives(model, photos, tmp_path):
    file = model / "1" / "tiny_float32.tflite"
    predict_to(tmp_path / "scores.csv", model=file, pictures=[photos])
    answers = [answer for answer in predict_files(open_artifact(file), [photos]) if not answer.error]
    good = [row for row in rows_of(tmp_path / "scores.csv") if not row["error"]]
    assert {row["unfamiliar"] for row in good} == {""}, "a phone file does not say"
    assert [[*map(float, list(row.values())[3:-2])] for row in good] == [
        [*answer.scores.values()] for answer in answers
    ]


def test_the_order_is_that_of_the_arguments_and_what_is_named_twice_has_two_rows(model, photos, tmp_path):
    named = [photos / "050.png", photos / "007.png", photos, photos / "050.png"]
    predict_to(tmp_path / "scores.csv", model=model, pictures=named)
    rows = rows_of(tmp_path / "scores.csv")
    found = [Path(row["path"]).name for row in rows]
    assert found == ["050.png", "007.png", *(f"{index:03d}.png" for index in range(101)), "050.png"]
    assert rows[0] == rows[-1] == rows[2 + 50]


def test_the_command_ends_with_figures_and_names_broken_files(kt_ends, model, photos, tmp_path):
    code, out, err = kt_ends("predict", model, photos, "--out", tmp_path / "scores.csv")
    assert code == 0, err
    assert f"{tmp_path / 'scores.csv'}: 101 pictures, 2 of them can't be read; " in out
    assert "images/s (litert)" in out
    assert f"warning: {photos / '007.png'}: not a JPEG, PNG" in err
    code, out, _ = kt_ends("predict", model, photos, "--out", tmp_path / "scores.csv", "--json")
    told = json.loads(out)
    assert (code, told["pictures"], told["errors"], told["engine"]) == (0, 101, 2, "litert")
    assert told["images_per_second"] > 0


def test_many_broken_files_are_all_counted_and_not_all_named(kt_ends, model, tmp_path):
    (tmp_path / "broken").mkdir()
    for index in range(40):
        (tmp_path / "broken" / f"{index}.jpg").touch()
    code, out, err = kt_ends("predict", model, tmp_path / "broken", "--out", tmp_path / "scores.csv")
    assert code == 3
    assert "40 of them can't be read" in out
    assert "None of 40 pictures could be read" in err
    assert err.count(".jpg: ") == 20
    assert "the column error names them all" in err
    assert sum(bool(row["error"]) for row in rows_of(tmp_path / "scores.csv")) == 40


@pytest.mark.skipif(not (PHOTOS / "bean_leaves").is_dir(), reason="needs the project's photos")
@pytest.mark.slow
def test_both_engines_agree_on_real_photos(model, tmp_path):
    for engine in ("litert", "tensorflow"):
        out = tmp_path / f"{engine}.parquet"
        predict_to(out, model=model, pictures=[PHOTOS / "bean_leaves" / "test"], engine=engine)
    one, other = (pq.read_table(tmp_path / f"{engine}.parquet").to_pylist() for engine in ("litert", "tensorflow"))
    assert len(one) == 261
    for row, same in zip(one, other, strict=True):
        assert row["label"] == same["label"]
        assert row["score"] == pytest.approx(same["score"], abs=1e-4)


# ---------------------------------------------------------------------------------------------------------------- text


def odd_names() -> list[bytes]:
    return [b"line\nbreak.png", b'quo"te, comma.png', b"caf\xe9.png", b"tab\there.png", b"=1+1.png", b"-x.png",
            b"@sum.png", b"file:x.png", "日本 🍎\u202f.png".encode(), b"50%25.png", b"'.png", b"+.png"]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any name")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_odd_file_names_come_back_as_they_were(suffix, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9)).save("plain.png")
    names = sorted(os.fsdecode(name) for name in odd_names())
    for name in names:
        shutil.copy("plain.png", name)
    out = Path(f"scores{suffix}")
    done = predict_to(out, model=model, pictures=[Path(name) for name in names])
    assert done.errors == 0
    rows = rows_of(out) if suffix == ".csv" else pq.read_table(out).to_pylist()
    assert [path_of(row["path"]).resolve() for row in rows] == [tmp_path / name for name in names]
    assert all(path_of(row["path"]).is_file() for row in rows)
    if suffix == ".csv":
        assert len(out.read_text(encoding="utf-8").splitlines()) == 1 + len(names)


def test_a_plain_path_stays_as_it_is():
    for text in ("photos/a b.png", "/photos/brûlé (1).JPG", "C:\\a.png"):
        assert text_of(Path(text)) == text


def test_no_cell_of_a_csv_is_a_formula(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9)).save("=cmd.png")
    predict_to(Path("scores.csv"), model=model, pictures=[Path("=cmd.png")])
    table = table_for(Path("x.csv"), CLASSES)
    with Path("wrong.csv").open("wb") as file:
        table.write([Scored((Path("a.png"),), np.full((1, 3), np.nan, np.float32), ("=HYPERLINK(1)",))], file)
    with Path("scores.csv").open(newline="") as one, Path("wrong.csv").open(newline="") as other:
        cells = [cell for row in [*csv.reader(one), *csv.reader(other)] for cell in row]
    assert "'=dark" in cells
    assert "'=HYPERLINK(1)" in cells
    assert "./=cmd.png" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_each_column_has_a_name_of_its_own():
    assert columns(["good", "bad"]) == ["path", "label", "score", "good", "bad", "unfamiliar", "error"]
    assert columns(["score", "score_", "error", "x", "x", "unfamiliar"]) == [
        "path", "label", "score", "score_", "score__", "error_", "x", "x_", "unfamiliar_", "unfamiliar", "error",
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------------------- interruption


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_file(suffix, model, photos, tmp_path, decoder, capsys):
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"scores{suffix}"
    predict_to(whole, model=model, pictures=[photos])
    out.write_text("what an earlier run left")
    interrupted(decoder, "070.png", out, model, photos)
    assert out.read_text() == "what an earlier run left"
    assert "64 of 101 pictures are kept in" in capsys.readouterr().err
    done = predict_to(out, model=model, pictures=[photos])
    assert sorted(decoder.seen) == [f"{index:03d}.png" for index in range(64, 101)]
    assert (done.before, done.pictures, done.errors) == (64, 101, 2)
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, whole.name]


def test_pieces_are_written_while_it_works(model, photos, tmp_path, decoder, monkeypatch):
    monkeypatch.setattr(batch, "_ROWS", BLOCK)
    interrupted(decoder, "099.png", tmp_path / "scores.csv", model, photos)
    pieces = sorted(path.name for path in (tmp_path / "scores.csv.part").glob("*.piece"))
    assert pieces == ["000000000000.piece", "000000000032.piece", "000000000064.piece"]


def test_a_damaged_piece_and_all_behind_it_are_done_again(model, photos, tmp_path, decoder, monkeypatch):
    monkeypatch.setattr(batch, "_ROWS", BLOCK)
    for suffix in (".csv", ".parquet"):
        out, whole = tmp_path / f"scores{suffix}", tmp_path / f"whole{suffix}"
        predict_to(whole, model=model, pictures=[photos])
        interrupted(decoder, "099.png", out, model, photos)
        piece = tmp_path / f"scores{suffix}.part" / "000000000032.piece"
        piece.write_bytes(piece.read_bytes()[:-40])
        assert predict_to(out, model=model, pictures=[photos]).before == 32
        assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_score_that_was_changed_in_a_piece_is_told_and_done_again(
    suffix, model, photos, tmp_path, decoder, monkeypatch, capfd
):
    monkeypatch.setattr(batch, "_ROWS", BLOCK)
    out, whole = tmp_path / f"scores{suffix}", tmp_path / f"whole{suffix}"
    predict_to(whole, model=model, pictures=[photos])
    interrupted(decoder, "099.png", out, model, photos)
    piece = sorted((tmp_path / f"scores{suffix}.part").glob("*.piece"))[1]
    if suffix == ".csv":
        lines = piece.read_text().splitlines(keepends=True)
        piece.write_text(
            "".join(line.replace(",0.", ",0.9", 1) if place == 5 else line for place, line in enumerate(lines))
        )
    else:
        table = pq.read_table(piece)
        scores = pa.array([1.0, *table["score"].to_pylist()[1:]], pa.float32())
        pq.write_table(table.set_column(2, "score", scores), piece)
    capfd.readouterr()
    assert predict_to(out, model=model, pictures=[photos]).before == 32
    assert f"{piece.name} is not what was written there: its pictures and those behind them are done again" in (
        capfd.readouterr().err.replace("\n", "")
    )
    assert out.read_bytes() == whole.read_bytes()


def test_a_piece_that_changes_while_it_works_is_done_again_before_the_pieces_are_joined(
    model, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(batch, "_ROWS", BLOCK)
    predict_to(tmp_path / "whole.csv", model=model, pictures=[photos])
    read, first, times = images.read_rgb, tmp_path / "scores.csv.part" / "000000000000.piece", []

    def meanwhile(file: Path, **how: object) -> np.ndarray:
        if file.name == "099.png":
            times.append(file)
            while len(times) == 1 and not first.exists():
                time.sleep(0.01)  # until the thread that writes has come to it
            if len(times) == 1:
                first.unlink()
        return read(file, **how)

    monkeypatch.setattr(images, "read_rgb", meanwhile)
    predict_to(tmp_path / "scores.csv", model=model, pictures=[photos])
    assert len(times) == 2
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_pictures_that_came_meanwhile_are_in_the_table(model, photos, tmp_path, decoder, monkeypatch):
    monkeypatch.setattr(batch, "_ROWS", BLOCK)
    mine = Path(shutil.copytree(photos, tmp_path / "mine"))
    interrupted(decoder, "099.png", tmp_path / "scores.csv", model, mine)
    shutil.copy(mine / "000.png", mine / "040_new.png")
    assert predict_to(tmp_path / "scores.csv", model=model, pictures=[mine]).before == 32
    predict_to(tmp_path / "whole.csv", model=model, pictures=[mine])
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [("model", "another model"), ("engine", "another engine or model"), ("pictures", "other pictures")],
)
def test_what_was_begun_otherwise_is_not_gone_on_with(
    changed, message, model, other_model, photos, tmp_path, decoder, kt_ends
):
    out = tmp_path / "scores.csv"
    interrupted(decoder, "070.png", out, model, photos)
    asked = {
        "model": [other_model, photos],
        "engine": [model, photos, "--engine", "tensorflow"],
        "pictures": [model, photos, photos / "000.png"],
    }[changed]
    code, _, err = kt_ends("predict", *asked, "--out", out)
    assert code == 2
    assert f"scores.csv.part was begun with {message}, and is not finished; name another --out" in err
    code, _, err = kt_ends("predict", *asked, "--out", out, "--restart")
    assert code == 0, err
    assert len(rows_of(out)) == 101 + (changed == "pictures")


def test_the_same_model_in_another_place_is_the_same(model, photos, tmp_path, decoder):
    interrupted(decoder, "070.png", tmp_path / "scores.csv", model, photos)
    copied = Path(shutil.copytree(model, tmp_path / "copied"))
    assert predict_to(tmp_path / "scores.csv", model=copied, pictures=[photos]).before == 64


def test_two_at_once_do_not_write_the_same_table(model, photos, tmp_path):
    out = tmp_path / "scores.csv"
    with batch._alone(tmp_path / "scores.csv.part"), pytest.raises(KtError, match="Another kt predict is at work in"):
        predict_to(out, model=model, pictures=[photos])
    assert predict_to(out, model=model, pictures=[photos]).pictures == 101


def test_a_folder_of_someone_elses_is_left_alone(model, photos, tmp_path):
    (tmp_path / "scores.csv.part").mkdir()
    (tmp_path / "scores.csv.part" / "thesis.txt").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(KtError, match=r"scores\.csv\.part holds thesis\.txt, which is not kt's"):
            predict_to(tmp_path / "scores.csv", model=model, pictures=[photos], restart=restart)
    assert (tmp_path / "scores.csv.part" / "thesis.txt").read_text() == "years of work"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "link"), reason="needs hard links")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_killed_run_goes_on_and_ends_with_the_same_file(suffix, model, photos, tmp_path):
    many = linked(photos, tmp_path / "many", 10_000)
    arguments = ["predict", str(model), str(many), "--out", f"scores{suffix}"]
    command = [sys.executable, "-c", "from kt.cli import main; main()", *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        wait_for(lambda: len(list(tmp_path.glob(f"scores{suffix}.part/*.piece"))) >= 2, child)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / f"scores{suffix}").exists()
    again = run_kt(*arguments, "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert told["pictures"] == 10_000
    assert 2048 <= told["before"] < 10_000
    predict_to(tmp_path / f"whole{suffix}", model=model, pictures=[many])
    assert (tmp_path / f"scores{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def linked(photos: Path, folder: Path, count: int) -> Path:
    """So many names in a few folders, hard links of a few pictures."""
    files = sorted(photos.iterdir())
    for index in range(count):
        place = folder / f"{index // 5000:02d}"
        place.mkdir(parents=True, exist_ok=True)
        os.link(files[index % len(files)], place / f"{index:06d}.png")
    return folder


def wait_for(happened, child: subprocess.Popen, *, seconds: float = 900) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if happened():
            return
        assert child.poll() is None, "it ended before"
        time.sleep(0.02)
    raise AssertionError("it never happened")


# -------------------------------------------------------------------------------------------------------------- memory


def test_no_more_blocks_are_taken_than_are_worked_on(photos):
    taken = []

    def blocks() -> Iterator[Sequence[Source]]:
        for index in range(100):
            taken.append(index)
            yield [Source(photos / "000.png")]

    class Still:
        def score(self, sources: Sequence[Source]) -> Scored:
            return Scored(tuple(source.name for source in sources), np.zeros((1, 3), np.float32), ("",))

    for place, _ in enumerate(in_threads(Still(), blocks(), workers=3)):
        assert len(taken) <= place + 1 + 2 * 3
    assert len(taken) == 100


def test_folders_are_walked_in_the_order_of_sorted_paths(tmp_path):
    for name in (
        "a/b/c.png",
        "a.png",
        "a/z.png",
        "a-b/x.png",
        "B/x.png",
        "a/b.png",
        "é/x.png",
        ".no/x.png",
        "a/.x.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    shown = [path for path in tmp_path.rglob("*") if path.is_file() or path.name == "gone.png"]
    shown = [path for path in shown if not any(part.startswith(".") for part in path.relative_to(tmp_path).parts)]
    assert list(find_pictures(tmp_path)) == sorted(shown)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's measure of memory, and hard links")
def test_60_000_pictures_take_no_more_memory_than_a_thousand(model, photos, tmp_path):
    """At most 60 MB more, 1 kB a picture, and less than 1.5 GB in all, TensorFlow included."""
    script = (
        "import re, sys; from pathlib import Path; from kt.base import backend; backend.start('tensorflow');"
        "from kt.predict.resumable import predict_to;"
        "done = predict_to(Path(sys.argv[3]), model=Path(sys.argv[1]), pictures=[Path(sys.argv[2])]);"
        # Not getrusage's figure, which begins with what the process that started this one held.
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1];"
        "print(done.pictures, int(peak) * 1024)"
    )
    peaks = []
    for count in (1_000, 60_000):
        many = linked(photos, tmp_path / str(count), count)
        command = [sys.executable, "-c", script, str(model), str(many), str(tmp_path / f"{count}.parquet")]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        pictures, peak = map(int, ended.stdout.split())
        assert pictures == count
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 60 * MEGABYTES
    assert peaks[1] < 1500 * MEGABYTES


# -------------------------------------------------------------------------------------------------------------- engine


def test_auto_takes_the_equal_tflite_file_of_a_release(model, other_model, tmp_path):
    file = model / "1" / "tiny_float32.tflite"
    for engine in ("auto", "litert", "ray"):
        assert choose(model, engine=engine) == Computing(file, "litert")
        assert choose(file, engine=engine) == Computing(file, "litert")
    assert choose(model, engine="tensorflow") == Computing(model / "1", "tensorflow")


@pytest.mark.parametrize(
    "told",
    [
        None,
        "[]",
        '{"artifacts": [{"path": "tiny_float32.tflite", "released": false, "largest_score_difference": 0.0}]}',
        '{"artifacts": [{"path": "tiny_float32.tflite", "released": true, "largest_score_difference": 0.1}]}',
        '{"artifacts": [{"path": "tiny_float32.tflite", "released": true, "largest_score_difference": null}]}',
        '{"artifacts": [{"path": "gone_float32.tflite", "released": true, "largest_score_difference": 0.0}]}',
    ],
)
def test_a_tflite_file_that_the_gate_did_not_find_equal_is_not_taken(told, model, tmp_path):
    folder = Path(shutil.copytree(model / "1", tmp_path / "1"))
    (folder / "kt.json").unlink()
    if told is not None:
        (folder / "kt.json").write_text(told)
    assert choose(folder, engine="auto") == Computing(folder, "tensorflow")
    with pytest.raises(ReleaseError, match=r"has no float32 \.tflite file that passed the release gate"):
        choose(folder, engine="litert")


def test_the_digest_is_that_of_the_model_wherever_it_lies(model, other_model, tmp_path):
    copied = Path(shutil.copytree(model / "1", tmp_path / "1"))
    for by, name in (("tensorflow", ""), ("litert", "tiny_float32.tflite")):
        assert Computing(copied / name, by).digest() == Computing(model / "1" / name, by).digest()
        assert Computing(copied / name, by).digest() != Computing(other_model / "1" / name, by).digest()


def test_scores_do_not_hang_on_what_is_scored_beside(model, photos):
    for plan in (choose(model, engine="litert"), choose(model, engine="tensorflow")):
        opened = scorer.Scorer(plan, workers=1)
        files = sorted(photos.iterdir())[:BLOCK]
        block = opened.score([Source(file, file) for file in files])
        alone = opened.score([Source(files[5], files[5])])
        assert np.array_equal(alone.scores[0], block.scores[5])
        assert [bool(error) for error in block.errors] == [file.name == "007.png" for file in files]
        assert np.isnan(block.scores[7]).all()


# --------------------------------------------------------------------------------------------------------------- wrong


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--out", "scores.xlsx"], 2, "Unknown suffix '.xlsx' of scores.xlsx; kt writes .csv and .parquet."),
        (["--out", "scores"], 2, "Unknown suffix '' of scores"),
        (["--out", "folder.csv"], 2, "folder.csv is a folder; --out names the file to write."),
        (["--out", "file.txt/scores.csv"], 7, "file.txt"),
        (["--engine", "litert"], 2, "--engine, --restart and --label-shift go with --out FILE."),
        (["--restart"], 2, "--engine, --restart and --label-shift go with --out FILE."),
        (["--engine", "onnx", "--out", "scores.csv"], 2, "'onnx' is not one of"),
        (["nowhere", "--out", "scores.csv"], 3, "There is no file or folder nowhere."),
    ],
)
def test_what_is_wrong_is_told_in_one_line(arguments, code, message, kt_ends, model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder.csv").mkdir()
    Path("file.txt").touch()
    found, out, err = kt_ends("predict", model, photos, *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert err.strip().splitlines()[-1].lower().startswith("error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "folder.csv"]


def test_an_empty_folder_is_told_and_nothing_is_written(kt_ends, model, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = kt_ends("predict", model, tmp_path / "empty", "--out", tmp_path / "scores.csv")
    assert (code, err) == (3, "error: No pictures found there.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("name", ["tiny.onnx", "tiny.keras", "tiny_openvino"])
def test_a_format_that_only_the_plain_command_opens_is_told(tmp_path, name):
    path = tmp_path / name
    if path.suffix:
        path.write_bytes(b"")
    else:
        path.mkdir()
        (path / "model.xml").write_text("")
    with pytest.raises(KtError, match=f"{name} is no .tflite file or SavedModel; kt predict opens it without --out"):
        choose(path, engine="auto")


def test_tensorflow_is_refused_for_a_tflite_file(model):
    with pytest.raises(KtError, match="runs on LiteRT only; leave --engine tensorflow out"):
        choose(model / "1" / "tiny_float32.tflite", engine="tensorflow")


def test_a_damaged_model_is_told(photos, tmp_path):
    (tmp_path / "cut.tflite").write_bytes(b"TFL3 no more")
    with pytest.raises(ReleaseError, match=r"cut\.tflite cannot be opened; it may be damaged, export again"):
        predict_to(tmp_path / "scores.csv", model=tmp_path / "cut.tflite", pictures=[photos])


def test_a_model_without_its_labels_is_told(model, photos, tmp_path):
    content = (model / "1" / "tiny_float32.tflite").read_bytes()
    (tmp_path / "bare.tflite").write_bytes(content[: content.rindex(b"PK\x03\x04")])
    with pytest.raises(ReleaseError, match=r"gives 3 scores and has 0 labels; export it with kt"):
        predict_to(tmp_path / "scores.csv", model=tmp_path / "bare.tflite", pictures=[photos])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_full_disk_is_told_and_what_is_done_is_kept(suffix, model, photos, tmp_path, decoder, kt_ends):
    out = tmp_path / f"scores{suffix}"
    interrupted(decoder, "070.png", out, model, photos)
    next_piece = tmp_path / f"scores{suffix}.part" / "partial"
    next_piece.symlink_to("/dev/full")
    code, _, err = kt_ends("predict", model, photos, "--out", out)
    assert code == 7
    assert "64 of 101 pictures are kept in" in err
    assert err.strip().splitlines()[-1].startswith("error: The disk is full")
    next_piece.unlink()
    assert predict_to(out, model=model, pictures=[photos]).before == 64


# ----------------------------------------------------------------------------------------------------------------- Ray


def test_without_ray_one_line_says_what_to_install(kt_ends, model, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = kt_ends("predict", model, photos, "--engine", "ray", "--out", tmp_path / "scores.csv")
    assert code == 7
    assert f"error: --engine ray needs Ray: {install('ray')}" in err
    assert err.count("\n") == 1


@needs_ray
@pytest.mark.slow
def test_a_worker_of_ray_that_is_killed_loses_nothing(model, photos, tmp_path):
    many = linked(photos, tmp_path / "many", 6_000)
    arguments = ["predict", str(model), str(many), "--engine", "ray", "--out", "scores.csv"]
    command = [sys.executable, "-c", "from kt.cli import main; main()", *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        wait_for(lambda: list(tmp_path.glob("scores.csv.part/*.piece")), child)
        killed = next(process for process in workers_of(child))
        killed.kill()
        out, err = child.communicate(timeout=900)
    assert child.returncode == 0, err
    assert "6,000 pictures" in out
    predict_to(tmp_path / "whole.csv", model=model, pictures=[many])
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def workers_of(child: subprocess.Popen) -> list[psutil.Process]:
    """The processes of Ray's actors, which it names after the class."""
    found = []
    for process in psutil.Process(child.pid).children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if "".join(process.cmdline()[:1]).startswith("ray::MapWorker"):
                found.append(process)
    return found


@needs_ray
@pytest.mark.slow
def test_ray_goes_on_where_another_engine_was_interrupted(model, photos, tmp_path, decoder):
    interrupted(decoder, "070.png", tmp_path / "scores.csv", model, photos)
    ended = run_kt("predict", str(model), str(photos), "--engine", "ray", "--out", "scores.csv", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "64 of 101 pictures were done before" in ended.stderr
    assert "101 pictures, 2 of them can't be read" in ended.stdout
    predict_to(tmp_path / "whole.csv", model=model, pictures=[photos])
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
