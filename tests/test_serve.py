"""`kt predict`'s answers: in order, in bounded batches, and a broken file costs only its own answer."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kt.errors import DataError, ReleaseError
from kt.export.formats.format import Replies
from kt.kinds.kind import Source
from kt.kinds.pictures.images import read_rgb, resize, servable_bytes
from kt.kinds.pictures.kind import Pictures
from kt.predict import predict_files, scores_of
from kt.predict.files import BATCH

CLASSES = ("dark", "bright")


def scores_by_brightness(pixels: Sequence[np.ndarray]) -> np.ndarray:
    bright = np.array([image.mean() / 255 for image in pixels], np.float32)
    return np.stack([1 - bright, bright], axis=1)


class Phone:
    """Takes pixels, as a TFLite file does, and counts what it is asked."""

    path = Path("phone.tflite")
    kind = Pictures((16, 24))
    classes: tuple[str, ...] = CLASSES

    def __init__(self) -> None:
        self.asked: list[int] = []

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (16, 24, 3)
        self.asked.append(len(pixels))
        return scores_by_brightness(list(pixels))


class Server(Phone):
    """Takes encoded bytes too, as a SavedModel does."""

    path = Path("saved_model")

    def __init__(self) -> None:
        super().__init__()
        self.given: list[bytes] = []

    def answers_to(self, encoded: Sequence[bytes]) -> Replies:
        self.asked.append(len(encoded))
        self.given += encoded
        return Replies(scores_by_brightness([read_rgb(data) for data in encoded]))


def grey(file: Path, level: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (level,) * 3).save(file)
    return file


@pytest.fixture(params=[Phone, Server])
def artifact(request: pytest.FixtureRequest) -> Phone:
    made: Phone = request.param()
    return made


def test_each_file_gets_its_label_and_the_score_of_every_class(artifact: Phone, tmp_path: Path) -> None:
    (answer,) = predict_files(artifact, [grey(tmp_path / "a.png", 204)])
    assert (answer.path, answer.label, answer.error) == (tmp_path / "a.png", "bright", "")
    assert answer.score == pytest.approx(0.8, abs=1e-6)
    assert answer.as_json() == {
        "path": str(tmp_path / "a.png"),
        "label": "bright",
        "score": answer.score,
        "scores": {"dark": pytest.approx(0.2, abs=1e-6), "bright": answer.score},
        "unfamiliarity": None,
        "unfamiliar": None,
    }


def test_answers_keep_the_order_of_the_files_and_batches_are_bounded(artifact: Phone, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).permutation(2 * BATCH + 5).tolist()
    files = [grey(tmp_path / f"{index}.png", 2 * level) for index, level in enumerate(levels)]
    files[3:3] = [tmp_path / "broken.png"]
    (tmp_path / "broken.png").touch()
    answers = list(predict_files(artifact, files))
    assert [answer.path for answer in answers] == files
    good = [answer for answer in answers if not answer.error]
    assert [round((answer.scores or {})["bright"] * 255) for answer in good] == [2 * level for level in levels]
    assert max(artifact.asked) <= BATCH
    assert sum(artifact.asked) == len(levels)


def test_answers_come_batch_by_batch_not_all_at_the_end(artifact: Phone, tmp_path: Path) -> None:
    files = [grey(tmp_path / f"{index}.png", 9) for index in range(BATCH + 1)]
    next(answers := predict_files(artifact, files))
    assert artifact.asked == [BATCH]
    assert len(list(answers)) == BATCH


def test_folders_are_searched_and_other_files_in_them_left_alone(artifact: Phone, tmp_path: Path) -> None:
    grey(tmp_path / "photos" / "b.png", 200)
    grey(tmp_path / "photos" / "a" / "deep.JPG", 20)
    grey(tmp_path / "photos" / ".hidden.png", 20)
    (tmp_path / "photos" / "notes.txt").touch()
    single = grey(tmp_path / "no_suffix.bmp", 200).rename(tmp_path / "no_suffix")
    answers = list(predict_files(artifact, [single, tmp_path / "photos"]))
    found = [(answer.path.relative_to(tmp_path).as_posix(), answer.label) for answer in answers]
    assert found == [("no_suffix", "bright"), ("photos/a/deep.JPG", "dark"), ("photos/b.png", "bright")]


def test_a_missing_path_is_told_before_the_first_answer(artifact: Phone, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file or folder .*nowhere\.png"):
        next(predict_files(artifact, [grey(tmp_path / "a.png", 9), tmp_path / "nowhere.png"]))
    assert artifact.asked == []


def test_a_file_that_cannot_be_read_is_an_entry_with_its_error(artifact: Phone, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    os.mkfifo(tmp_path / "pipe.jpg")
    files = [tmp_path / "broken.jpg", grey(tmp_path / "fine.png", 9), tmp_path / "pipe.jpg"]
    broken, fine, pipe = predict_files(artifact, files)
    assert broken.as_json() == {"path": str(files[0]), "error": broken.error}
    assert broken.error
    assert "\n" not in broken.error
    assert fine.label == "dark"
    assert pipe.error == "not a file (a pipe)"


def test_nothing_readable_asks_the_model_nothing(artifact: Phone, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").touch()
    assert [bool(answer.error) for answer in predict_files(artifact, [tmp_path])] == [True]
    assert artifact.asked == []
    assert list(predict_files(artifact, [])) == []


def test_what_the_models_own_decoder_cannot_do_is_done_in_front_of_it(tmp_path: Path) -> None:
    plain, sideways = tmp_path / "plain.jpg", tmp_path / "sideways.jpg"
    ramp = Image.linear_gradient("L").convert("RGB").resize((40, 20))
    orientation = Image.Exif()
    orientation[0x0112] = 6
    ramp.save(plain)
    ramp.save(sideways, exif=orientation)
    server = Server()
    list(predict_files(server, [plain, sideways]))
    assert server.given[0] == plain.read_bytes()
    assert server.given[1] == servable_bytes(sideways)
    assert read_rgb(server.given[1]).shape == (40, 20, 3)


def test_a_phone_gets_pixels_resized_as_in_training(tmp_path: Path) -> None:
    seen = []

    class Looking(Phone):
        def scores(self, pixels: np.ndarray) -> np.ndarray:
            seen.extend(pixels)
            return super().scores(pixels)

    file = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).save(file)
    list(predict_files(Looking(), [file]))
    assert np.array_equal(seen[0], resize(read_rgb(file), (16, 24)))


def test_a_model_without_its_labels_is_told(artifact: Phone, tmp_path: Path) -> None:
    artifact.classes = ()
    with pytest.raises(ReleaseError, match=r"gives 2 scores and has 0 labels; export it with kt"):
        list(predict_files(artifact, [grey(tmp_path / "a.png", 9)]))


def test_scores_of_tells_rows_places_and_failures_apart(artifact: Phone, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").touch()
    files = [grey(tmp_path / "a.png", 51), tmp_path / "broken.jpg", grey(tmp_path / "b.png", 204)]
    sources = [Source(file, file) for file in files]
    scores, good, bad = scores_of(artifact, sources)
    assert good == [0, 2]
    assert [answer.path for answer in bad] == [files[1]]
    assert scores == pytest.approx(np.array([[0.8, 0.2], [0.2, 0.8]]), abs=1e-5)
    assert scores_of(artifact, sources[1:2])[1] == []
