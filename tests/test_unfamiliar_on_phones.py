"""TFLite files say what is unlike anything the model learned from: in a second output that apps read, and kt checks."""

import csv
import json
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from scipy import stats
from test_phones import answer, classifier, in_order, metadata
from unmoved import CLASSES, PARTS, SIZE, built_for, carried_by, pictures, reloaded

from kt.errors import ReleaseError
from kt.export import child, gate
from kt.export.about import About
from kt.export.artifact import open_artifact
from kt.export.distances import FACTOR, STRANGE, false_alarms, judge_distances
from kt.export.formats.format import Details, add_to_zip
from kt.export.formats.of_recipe import of_recipe
from kt.export.formats.saved_model import SavedModel
from kt.export.formats.tflite import VARIANTS, TFLite, variants
from kt.export.halved import halved
from kt.export.job import ExportJob
from kt.export.metadata import limit_in
from kt.familiar import FEWEST
from kt.frozen.unmoved import Unmoved
from kt.kinds.pictures.kind import Pictures
from kt.litert import interpreter
from kt.litert.operators import beside_the_first, needed_by
from kt.predict.scorer import choose

GIVEN = pictures(20, seed=1)


def details_for(folder, **changes):
    """What a file is made from, with 30 pictures that calibrate int8."""
    np.save(folder / "representative.npy", pictures(30))
    return Details("tiny", CLASSES, representative=folder / "representative.npy", **changes)


def made(folder, case="a frozen backbone", **about):
    """A model, what travels with it, and the details of a file."""
    built, recipe = built_for(*PARTS[case][:2])
    carried = carried_by(built, recipe)
    model = reloaded(built.model, folder / "m.keras")
    return (
        model,
        carried,
        details_for(folder, familiar=carried, about=About(**about)),
        Unmoved(built, built.model, recipe),
    )


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """All three files of one model, with unfamiliarity."""
    folder = tmp_path_factory.mktemp("frozen")
    model, carried, details, _ = made(folder)
    files = {kind.variant: kind.make(model, folder, details=details) for kind in variants()}
    return model, carried, details, files


# ---------------------------------------------------------------------------------------------------- what a file says


@pytest.mark.parametrize("case", PARTS)
def test_a_file_says_it_as_the_trained_model_does_and_its_scores_stay_the_same_to_the_bit(case, tmp_path):
    model, carried, details, unmoved = made(tmp_path, case)
    expected = carried.familiarity(unmoved([GIVEN])[0])
    within = {"float32": 1e-4, "float16": 0.02, "int8": 0.3}
    for plain, kind in zip(variants(), variants(), strict=True):
        one = open_artifact(plain.make(model, tmp_path / "one", details=replace(details, familiar=None)))
        two = open_artifact(kind.make(model, tmp_path / "two", details=details))
        np.testing.assert_array_equal(two.scores(GIVEN), one.scores(GIVEN))
        answers = two.answers(GIVEN)
        assert answers.unfamiliarity.dtype == np.float32 and answers.unfamiliarity.shape == (20,)
        np.testing.assert_allclose(answers.unfamiliarity, expected, atol=within[kind.variant])
        limit = np.float32(carried.familiarity.limit.value)
        np.testing.assert_array_equal(answers.unfamiliar, answers.unfamiliarity > limit)
        assert two.says_unfamiliar and not one.says_unfamiliar and one.answers(GIVEN).unfamiliarity is None
        assert len(two.answers(GIVEN[:0]).unfamiliarity) == 0


@pytest.mark.parametrize("gentler", [{"float_share": 0.4}, {"float_head": True}, {"dynamic": True}], ids=str)
def test_int8_that_was_made_more_gently_has_the_scores_that_it_has_without(gentler, frozen, tmp_path):
    model, carried, details, _ = frozen
    kind = TFLite("int8", **gentler)
    one, two = (
        open_artifact(kind.make(model, tmp_path / name, details=replace(details, familiar=familiar)))
        for name, familiar in (("one", None), ("two", carried))
    )
    np.testing.assert_array_equal(two.scores(GIVEN), one.scores(GIVEN))
    assert two.says_unfamiliar


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_scores_come_first_and_both_outputs_are_float32_by_name(variant, frozen):
    read = Interpreter(model_path=str(frozen[3][variant]))
    first, second = read.get_output_details()
    assert (list(first["shape"]), list(second["shape"])) == ([1, len(CLASSES)], [1, 1])
    assert first["dtype"] == second["dtype"] == np.float32
    outputs = read.get_signature_list()["serving_default"]["outputs"]
    assert sorted(outputs) == ["scores", "unfamiliarity"]
    read.allocate_tensors()
    answers = read.get_signature_runner("serving_default")(pixels=GIVEN[:1])
    assert answers["scores"].shape == (1, 2) and answers["unfamiliarity"].shape == (1, 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_plain_kernels_say_the_same_as_xnnpack(variant, frozen):
    ways = [interpreter.opened(frozen[3][variant], threads=1, xnnpack=xnnpack) for xnnpack in (True, False)]
    answers = [opened.get_signature_runner("serving_default")(pixels=GIVEN[:1])["unfamiliarity"] for opened in ways]
    np.testing.assert_allclose(*answers, atol=0.05 if variant == "int8" else 1e-3)


def test_a_picture_without_any_feature_is_as_far_as_at_a_right_angle_in_half_precision_too(tmp_path):
    model, _, details, _ = made(tmp_path)
    for variable in model.variables:
        if variable.ndim == 4:
            variable.assign(np.zeros(variable.shape))  # so every feature is 0, or the same for each picture
        elif "beta" in variable.path or "bias" in variable.path:
            variable.assign(np.full(variable.shape, -1.0))
    for variant in ("float32", "float16"):
        file = TFLite(variant).make(model, tmp_path, details=details)
        distances = open_artifact(file).answers(GIVEN[:2]).unfamiliarity
        np.testing.assert_allclose(distances, np.sqrt(2), atol=1e-3)


def test_without_a_limit_and_where_one_output_is_asked_for_the_file_is_that_without(tmp_path):
    model, carried, details, _ = made(tmp_path)
    plain = TFLite("float32").make(model, tmp_path / "plain", details=replace(details, familiar=None))
    unlimited = replace(carried, familiarity=replace(carried.familiarity, limit=None))
    for name, changes in {
        "unlimited": {"familiar": unlimited},
        "asked": {"about": About(one_output=True)},
    }.items():
        file = TFLite("float32").make(model, tmp_path / name, details=replace(details, **changes))
        assert file.read_bytes() == plain.read_bytes()
        assert limit_in(file) is None and not open_artifact(file).says_unfamiliar


def test_int8_keeps_what_only_unfamiliarity_needs_in_float_and_its_constants_in_half_precision(frozen):
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(frozen[3]["int8"].read_bytes()))
    (graph,) = model.subgraphs
    own, beside = needed_by(graph, 0), beside_the_first(graph)
    assert len(own) + len(beside) == len(graph.operators) and beside
    score = frozen[1].familiarity.score
    shapes = {tuple(score.directions.T.shape), tuple(score.known.shape)}
    constants = [t for t in graph.tensors if tuple(t.shape) in shapes and model.buffers[t.buffer].data is not None]
    assert len(constants) == 2 and {t.type for t in constants} == {1}, "float16"


def test_a_single_number_that_half_precision_would_lose_stays_and_others_are_halved(frozen, tmp_path):
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(halved(bare(frozen[3]["float32"]))))
    (graph,) = model.subgraphs
    numbers = [t for t in graph.tensors if t.type == 0 and model.buffers[t.buffer].data is not None]
    values = [np.frombuffer(bytes(model.buffers[t.buffer].data), np.float32) for t in numbers]
    values = [value for value in values if value.size]
    assert [value.size for value in values] == [1] and 0 < values[0][0] < 1e-20


def bare(file):
    """A file's model alone."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(file.read_bytes()))
    model.metadata = [entry for entry in model.metadata or () if entry.name != b"TFLITE_METADATA"]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


# ------------------------------------------------------------------------------------------------------------ metadata


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_reader_finds_what_the_second_output_means_and_kt_finds_the_limit(variant, frozen):
    _, carried, _, files = frozen
    (graph,) = metadata(files[variant]).subgraphMetadata
    scores, told = graph.outputTensorMetadata
    assert (scores.name, told.name) == (b"scores", b"unfamiliarity")
    limit = carried.familiarity.limit.value
    assert f"Above {limit:.6g} it is unfamiliar".encode() in told.description
    (unit,) = told.processUnits
    threshold = np.float32(unit.options.globalScoreThreshold)
    assert threshold == np.nextafter(np.float32(limit), np.float32(9)), "the first distance that is unfamiliar"
    assert limit_in(files[variant]) == np.float32(limit)
    assert (told.stats.min, told.stats.max) == ([0.0], [2.0])
    (label,) = told.associatedFiles
    assert (label.name, label.type) == (b"unfamiliar.txt", 2)
    with zipfile.ZipFile(files[variant]) as archive:
        assert archive.read("unfamiliar.txt") == b"unfamiliar\n"
        assert json.loads(archive.read("unfamiliar.json")) == {"threshold": float(np.float32(limit))}


def test_no_limit_is_found_in_a_file_of_another_tool_nor_in_a_damaged_one(frozen, tmp_path):
    file = tmp_path / "other.tflite"
    file.write_bytes(bare(frozen[3]["float32"]))
    assert limit_in(file) is None
    with pytest.raises(ReleaseError, match=r"has 2 outputs; kt runs models with one, the scores, or with a second"):
        open_artifact(file)
    for text in ("", "[]", '{"threshold": null}', '{"limit": 1}', '{"threshold": "far"}'):
        file.write_bytes(bare(frozen[3]["float32"]))
        add_to_zip(file, "unfamiliar.json", text)
        assert limit_in(file) is None


# ----------------------------------------------------------------------------------------------------------- MediaPipe


@pytest.mark.parametrize("variant", VARIANTS)
def test_mediapipe_gives_the_scores_first_and_names_only_unfamiliar_pictures_in_its_second_head(variant, frozen):
    file = frozen[3][variant]
    given = np.concatenate([GIVEN, np.random.default_rng(3).integers(0, 256, (10, *SIZE, 3)).astype(np.uint8)])
    expected = open_artifact(file).answers(given)
    assert 0 < expected.unfamiliar.sum() < len(given), "else the comparison would show little"
    with classifier(file) as asked:
        for picture, scores, distance, called in zip(
            given, expected.scores, expected.unfamiliarity, expected.unfamiliar, strict=True
        ):
            first, second = heads(asked, picture)
            assert (first.head_name, second.head_name) == ("scores", "unfamiliarity")
            np.testing.assert_allclose(in_order(first.categories), scores, atol=1e-5)
            assert [category.category_name for category in second.categories] == (["unfamiliar"] if called else [])
            np.testing.assert_allclose([c.score for c in second.categories], [distance] if called else [], atol=1e-5)


def test_an_app_s_own_options_leave_the_classes_as_they_were(frozen):
    file = frozen[3]["float32"]
    with classifier(file, category_allowlist=["other"]) as asked:
        assert [category.category_name for category in answer(asked, GIVEN[0])] == ["other"]
    with classifier(file, max_results=1) as asked:
        assert len(answer(asked, GIVEN[0])) == 1
    with classifier(file, score_threshold=1e-9) as asked:  # it overrides the limit: then each picture has a distance
        assert all(len(heads(asked, picture)[1].categories) == 1 for picture in GIVEN[:5])


def test_a_file_with_one_output_has_one_head(frozen, tmp_path):
    model, _, details, _ = frozen
    file = TFLite("int8").make(model, tmp_path, details=replace(details, about=About(one_output=True)))
    with classifier(file) as asked:
        assert [head.head_name for head in heads(asked, GIVEN[0])] == ["scores"]


def heads(asked, pixels):
    mediapipe = pytest.importorskip("mediapipe")
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
    return asked.classify(image).classifications


# ------------------------------------------------------------------------------------------------------------ the gate


def test_an_exact_file_s_distances_must_be_the_trained_model_s():
    trained = np.linspace(0.5, 0.7, 50)
    assert judge_distances(trained + 0.9 * STRANGE, trained, exact=True, promised=0.05).reason == ""
    refused = judge_distances(trained + 2 * STRANGE, trained, exact=True, promised=0.05)
    assert refused.reason == "its unfamiliarity differs by 0.01 from the trained model's (limit 0.005)"
    assert refused.rate is None


@pytest.mark.parametrize("moved", [0.0, 0.3, -0.2])
@pytest.mark.parametrize("scatter", [0.1, 0.6])
def test_the_expected_share_of_false_alarms_is_that_of_simulated_distances(moved, scatter):
    random = np.random.default_rng(0)
    trained = random.normal(0.6, 0.07, 200_000)
    told = trained + random.normal(moved * 0.07, scatter * 0.07, trained.shape)
    counted = np.mean(told > 0.6 + 0.07 * stats.norm.isf(0.05))
    assert false_alarms(told - trained, spread=0.07, promised=0.05) == pytest.approx(counted, rel=0.03)


def test_a_rounding_file_may_call_half_to_twice_the_promised_share_unfamiliar():
    random = np.random.default_rng(1)
    trained = random.normal(0.6, 0.07, 100)
    noise = random.normal(0, 0.02, 100)
    passed = judge_distances(trained + noise, trained, exact=False, promised=0.05)
    assert passed.reason == "" and 0.05 / FACTOR < passed.rate < 0.05 * FACTOR and passed.largest > STRANGE
    for told in (trained + 0.05, trained - 0.05, np.zeros(100), trained + 5 * noise):
        refused = judge_distances(told, trained, exact=False, promised=0.05)
        assert "of familiar ones unfamiliar, where 5% are promised" in refused.reason
    told = judge_distances(trained + 0.05, trained, exact=False, promised=0.05)
    assert f"would call {100 * told.rate:.1f}% of" in told.reason


def test_where_no_share_can_be_told_a_rounding_file_is_judged_as_an_exact_one():
    few, alike = np.linspace(0.5, 0.7, FEWEST - 1), np.full(50, 0.5)
    for trained, promised in ((few, 0.05), (alike, 0.05), (np.linspace(0.5, 0.7, 50), None)):
        assert judge_distances(trained + 0.9 * STRANGE, trained, exact=False, promised=promised).reason == ""
        far = judge_distances(trained + 2 * STRANGE, trained, exact=False, promised=promised)
        assert "differs by 0.01" in far.reason


@pytest.mark.parametrize("exact", [True, False])
def test_distances_that_are_no_numbers_are_refused(exact):
    trained = np.linspace(0.5, 0.7, 50)
    told = np.where(np.arange(50) == 7, np.nan, trained)
    refused = judge_distances(told, trained, exact=exact, promised=0.05)
    assert "differs by nan" in refused.reason and refused.rate is None


def job_for(folder, model, carried, details):
    """A job for the child's own functions, and the data to check with."""
    np.save(folder / "pixels.npy", GIVEN)
    np.save(folder / "labels.npy", np.arange(20) % 2)
    job = ExportJob(
        folder / "m.keras", folder / "artifacts", "tiny", CLASSES, folder / "pixels.npy", folder / "labels.npy",
        representative=details.representative, tolerance=1.0,
    )  # fmt: skip
    job.directory.mkdir()
    evidence = child._evidence(job, model, scores_are_there=threading.Event())
    evidence.familiar = carried
    return job, evidence


def test_a_file_whose_distances_are_off_is_released_without_them_and_says_so(tmp_path):
    model, carried, details, _ = made(tmp_path)
    off = replace(carried, checked={name: distance + 0.2 for name, distance in carried.checked.items()})
    job, evidence = job_for(tmp_path, model, off, details)
    for kind in (*variants(), SavedModel()):
        result = child._make_and_check(kind, job, model=model, evidence=evidence, tell=lambda _: None)
        if isinstance(kind, SavedModel):
            assert not result.released and "its unfamiliarity differs" in result.reason
            continue
        assert result.released and "it does not say what is unfamiliar, since its " in result.note
        assert result.unfamiliarity_difference is result.unfamiliarity_rate is None
        assert limit_in(result.path) is None and not open_artifact(result.path).says_unfamiliar


def test_a_file_whose_distances_are_near_is_released_with_them_and_with_the_share_to_expect(tmp_path):
    model, carried, details, _ = made(tmp_path)
    job, evidence = job_for(tmp_path, model, carried, details)
    for kind in variants():
        result = child._make_and_check(kind, job, model=model, evidence=evidence, tell=lambda _: None)
        assert result.released, result.reason
        if kind.variant == "int8" and "it does not say" in result.note:
            continue  # of so small a network int8's features may be far off
        assert result.unfamiliarity_difference < {"float32": 1e-4, "float16": 0.02, "int8": 0.3}[kind.variant]
        assert (result.unfamiliarity_rate is None) == (kind.variant == "float32")
        assert open_artifact(result.path).says_unfamiliar


def test_an_exporter_of_one_s_own_need_not_say_it(frozen, tmp_path):
    model, _, details, _ = frozen

    def own(model, directory):
        return TFLite("float32").make(model, directory, details=replace(details, familiar=None))

    kind = of_recipe(own)
    artifact = kind.open(kind.make(model, tmp_path, details=details))
    verdict = gate.judge_artifact(
        artifact, artifact.scores(GIVEN), labels=np.zeros(20, np.int64), pixels=GIVEN, classes=CLASSES, exact=False,
        nouns=Pictures(SIZE), familiar=kind.carries(details), timed=False,
    )  # fmt: skip
    assert verdict.released and verdict.unfamiliarity_difference is None and not verdict.strange


# -------------------------------------------------------------------------------------------------------- kt predict


def test_kt_predict_says_it_of_a_phone_file_as_of_the_saved_model(ran, kt_ends, tmp_path):
    version = max((ran.folder / "saved_models" / "tiny").glob("[0-9]*"))
    file, shown = version / "tiny_float32.tflite", ran.folder / "pictures" / "red"
    rows = {}
    for model in (version, file):
        code, out, _ = kt_ends("predict", model, shown, "--json")
        assert code == 0
        rows[model] = [row for line in out.splitlines() if "error" not in (row := json.loads(line))]
    assert rows[file] and {row["unfamiliar"] for row in rows[file]} == {True, False}
    for one, other in zip(rows[file], rows[version], strict=True):
        assert one["unfamiliarity"] == pytest.approx(other["unfamiliarity"], abs=STRANGE)
        assert one["unfamiliar"] == other["unfamiliar"]
    code, _, err = kt_ends("predict", file, shown, "--out", tmp_path / "table.csv")
    assert code == 0 and "unlike anything the model learned from" in err
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as table:
        told = [row["unfamiliar"] for row in csv.DictReader(table) if not row["error"]]
    assert told == [str(row["unfamiliar"]).lower() for row in rows[file]]


def test_kt_predict_takes_the_faster_file_if_it_says_as_much_as_the_saved_model(ran, tmp_path):
    version = max((ran.folder / "saved_models" / "tiny").glob("[0-9]*"))
    assert choose(version, engine="auto").by == "litert"
    (tmp_path / "1").mkdir()
    for path in version.rglob("*"):
        if path.is_file():
            target = tmp_path / "1" / path.relative_to(version)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    earlier = tmp_path / "1" / "tiny_float32.tflite"
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(bare(earlier)))
    model.subgraphs[0].outputs = model.subgraphs[0].outputs[:1]
    earlier.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    assert choose(tmp_path / "1", engine="auto").by == "tensorflow"
    assert choose(tmp_path / "1", engine="litert").by == "litert"


@pytest.mark.slow
def test_kt_export_makes_files_of_one_output_where_asked(ran, tmp_path, kt_here):
    saved = ["--saved-models", str(tmp_path), "--format", "tflite"]
    for number, options in enumerate(([], ["--one-output"]), start=1):
        done = kt_here("export", "runs/tiny/LATEST", *options, *saved, cwd=ran.folder)
        assert done.returncode == 0, done.stderr
        told = limit_in(tmp_path / "tiny" / str(number) / "tiny_float32.tflite")
        assert (told is None) == bool(options)
