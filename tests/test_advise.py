"""`kt advise`: the place in the matrix, the reasons, the recipe that it writes, and where nothing helps."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import PHOTOS, TINY_RECIPE, make_folder
from keras import applications
from PIL import Image

from kt import LinearProbe, Phase
from kt.backbones import EfficientNetLite2
from kt.backbones.sizes import natural_size
from kt.cli import advise as cli
from kt.data import Folder
from kt.data.splits import Split, Splits
from kt.errors import DataError
from kt.recipe import load
from kt.strategy import depths
from kt.strategy.advise import Candidate, ProbedFeatures, advise, pretrained
from kt.strategy.advise.advice import place
from kt.strategy.advise.choice import ranked, with_gains
from kt.strategy.advise.depths import DepthFeatures, at_size
from kt.strategy.advise.gain import BackboneGain
from kt.strategy.advise.matrix import is_similar, learnable, way
from kt.strategy.advise.probes import ProbedBackbone, probe_depth


def of(depth, accuracy, *, at=None, width=0.03):
    """A probe of this accuracy, with an interval of `width` to both sides."""
    return ProbedFeatures(depth, at, 64, accuracy, (accuracy - width, accuracy + width), accuracy, 0.0, 1.0)


def measured(*, pixels=0.6, early=0.7, middle=0.8, top=0.9, together=0.8, name="Net"):
    return ProbedBackbone(
        name,
        (
            of("pixels", pixels, at=0.0),
            of("block_1", early, at=0.3),
            of("block_2", middle, at=0.7),
            of("top", top, at=1.0),
            of("all", together),
        ),
    )


def splits_of(counts):
    """Splits with so many pictures to learn from in each class; their pixels are of no matter."""
    labels = np.repeat(np.arange(len(counts)), counts)

    def part(chosen):
        names = tuple(f"{index}" for index in np.flatnonzero(chosen))
        return Split(np.zeros((chosen.sum(), 8, 8, 3), np.uint8), labels[chosen], names, names)

    held_out = np.arange(len(labels)) % 5 == 0
    classes = tuple(f"class_{index}" for index in range(len(counts)))
    return Splits(part(~held_out), part(held_out), None, classes, 32, "folder somewhere", "0")


def placed(one, counts):
    return place([one], splits_of(counts), measured_pictures=sum(counts), seed=0)


# ------------------------------------------------------------------------------------------------------------- probes


def clouds(labels, width, *, apart, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(labels.max() + 1, width))[labels] * apart + random.normal(size=(len(labels), width))


def probed(rows, labels, groups=None, **depth):
    groups = groups or [str(index) for index in range(len(labels))]
    classes = tuple(map(str, range(labels.max() + 1)))
    return probe_depth(DepthFeatures(depth.get("name", "top"), 1.0, rows), labels, groups, classes=classes)


def test_a_probe_of_separate_clouds_is_right_and_one_of_noise_is_at_chance():
    labels = np.arange(90) % 3
    good, noise = probed(clouds(labels, 10, apart=4.0), labels), probed(clouds(labels, 10, apart=0.0), labels)
    assert good.balanced_accuracy == good.neighbours == 1.0
    assert noise.interval[0] < 1 / 3 < noise.interval[1]
    assert learnable([good, noise], classes=3)


def test_the_best_of_many_depths_of_noise_is_not_taken_for_more_than_luck():
    labels = np.arange(60) % 2
    lucky = 0
    for seed in range(2):
        tries = [probed(clouds(labels, 5, apart=0.0, seed=10 * seed + one), labels) for one in range(3)]
        lucky += learnable(tries, classes=2)
    assert lucky == 0


def test_the_luck_of_random_pixels_is_not_enough():
    """Probes of 300 pictures of noise with two labels, as they were measured."""
    noise = [of("block_5", 0.577, width=0.0535), *(of("top", 0.5, width=0.057) for _ in range(8))]
    assert not learnable(noise, classes=2)
    assert learnable([of("block_5", 0.64, width=0.0535), *noise[1:]], classes=2)


def test_copies_in_one_group_do_not_make_noise_learnable():
    labels = np.random.default_rng(0).integers(0, 2, 40)
    rows, twice = np.repeat(clouds(labels, 30, apart=0.0), 2, axis=0), np.repeat(labels, 2)
    groups = [str(index // 2) for index in range(80)]
    assert probed(rows, twice).neighbours > probed(rows, twice, groups).neighbours
    assert not learnable([probed(rows, twice, groups)], classes=2)


def test_constant_features_get_the_figures_of_a_guess_and_no_nan():
    labels = np.arange(30) % 3
    found = probed(np.full((30, 4), 2.5), labels)
    assert found.balanced_accuracy == pytest.approx(1 / 3)
    assert found.h_score == 0.0
    assert not learnable([found], classes=3)
    json.dumps(found.as_json(), allow_nan=False)


def test_identical_pictures_in_two_classes_are_no_nan_either():
    rows, labels = np.repeat(clouds(np.arange(15) % 3, 6, apart=1.0), 2, axis=0), np.arange(30) % 2
    groups = [str(index // 2) for index in range(30)]
    json.dumps(probed(rows, labels, groups).as_json(), allow_nan=False)


# ---------------------------------------------------------------------------------------------------------- similarity


def test_the_way_goes_from_guessing_to_perfect():
    assert [way(accuracy, classes=4) for accuracy in (0.25, 0.625, 1.0)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("one", "similar"),
    [
        (measured(), True),
        (measured(top=0.99, pixels=0.99), True),  # solved, though colours do as well
        (measured(middle=0.99, top=0.9), False),  # a depth below does better
        (measured(top=0.75, pixels=0.74, middle=0.75), False),  # no better than pixels
        (measured(together=0.99, top=0.85), False),
    ],
)
def test_similar_is_where_the_top_is_best_and_better_than_pixels(one, similar):
    assert is_similar(one, classes=2) is similar


@pytest.mark.parametrize(
    ("one", "depth"),
    [
        (measured(), "top"),
        (measured(middle=0.905), "top"),  # close enough
        (measured(middle=0.95), "block_2"),
        (measured(early=0.95), "block_1"),
        (measured(together=0.95), "all"),
        (measured(pixels=0.99), "top"),  # pixels are no depth of the network
    ],
)
def test_the_best_depth_is_the_simplest_of_those_that_are_close(one, depth):
    assert one.best.depth == depth


# ------------------------------------------------------------------------------------------------------ place and words


@pytest.mark.parametrize(
    ("one", "each", "quadrant", "chosen", "features"),
    [
        (measured(), 30, "small/similar", "probe", "top"),
        (measured(middle=0.99), 30, "small/different", "probe", "block_2"),
        (measured(middle=0.95, together=0.94), 30, "small/similar", "probe", "all"),
        (measured(together=0.99), 30, "small/different", "probe", "all"),
        (measured(), 300, "large/similar", "probe_then_top", "top"),
        (measured(middle=0.99), 300, "large/different", "probe_then_all", "block_2"),
    ],
)
def test_size_and_similarity_give_the_quadrant_and_the_strategy(one, each, quadrant, chosen, features):
    advice = placed(one, [each, each])
    assert (advice.quadrant, advice.strategy, advice.features) == (quadrant, chosen, features)
    assert advice.per_class == {"class_0": each, "class_1": each}


def test_the_reasons_have_the_numbers():
    why = placed(measured(), [10, 30]).as_json()["why"]
    for part in ("40 pictures", "10 to 30", "line is at 300", "0.90 (0.87 to 0.93)", "80% of the way", "0.60"):
        assert part in why, part


def test_below_twenty_pictures_a_class_the_advice_warns():
    assert "Below 20 a class every figure here is shaky" in placed(measured(), [19, 30]).as_json()["why"]
    assert "shaky" not in placed(measured(), [20, 30]).as_json()["why"]


def test_where_nothing_beats_guessing_the_advice_says_so_and_takes_the_cheapest():
    advice = placed(measured(pixels=0.5, early=0.51, middle=0.52, top=0.49, together=0.5), [500, 500])
    assert not advice.learnable
    assert (advice.strategy, advice.features) == ("probe", "top")
    assert "No strategy will do better than chance" in advice.as_json()["why"]


# ------------------------------------------------------------------------------------------------------ the backbones


LABELS = np.arange(210) % 3
ALONE = tuple(str(index) for index in range(210))


def backbone(name, rows, labels=LABELS, groups=ALONE):
    """A backbone whose features are these at every depth."""
    probes = [replace(probed(rows, labels, groups), depth=depth) for depth in ("pixels", "top", "all")]
    return ProbedBackbone(name, tuple(probes))


def compared(*backbones, labels=LABELS, groups=ALONE):
    return with_gains(backbones, labels, groups, seed=0)


def test_a_backbone_whose_features_tell_more_is_taken_whatever_the_order():
    worse, better = (clouds(LABELS, 10, apart=apart) for apart in (0.5, 2.0))
    for both in ([("MobileNetV2", worse), ("Other", better)], [("Other", better), ("MobileNetV2", worse)]):
        advice = place(compared(*(backbone(*one) for one in both)), splits_of([70] * 3), measured_pictures=210, seed=0)
        found = advice.as_json()
        assert found["backbone"] == "Other"
        assert [(one["name"], one["gain"] is None) for one in found["backbones"]] == [
            ("Other", False),
            ("MobileNetV2", True),
        ]
        assert found["backbones"][0]["gain"]["interval"][0] > 0
        assert "which is enough. So Other is taken" in found["why"]


def test_the_default_stays_if_another_backbone_is_worse():
    both = compared(
        backbone("Other", clouds(LABELS, 10, apart=0.5)), backbone("MobileNetV2", clouds(LABELS, 10, apart=2.0))
    )
    found = place(both, splits_of([70] * 3), measured_pictures=210, seed=0).as_json()
    assert found["backbone"] == "MobileNetV2"
    assert "which is no gain. So MobileNetV2 stays" in found["why"]


def test_the_default_stays_if_another_backbone_is_the_same():
    rows = clouds(LABELS, 10, apart=1.0)
    both = compared(backbone("MobileNetV2", rows), backbone("Other", rows))
    assert (both[1].gain.balanced_accuracy, both[1].gain.log_loss) == (0.0, 0.0)
    found = place(both, splits_of([70] * 3), measured_pictures=210, seed=0).as_json()
    assert "within chance. So MobileNetV2 stays" in found["why"]


def test_without_the_default_the_first_backbone_is_what_the_others_are_compared_with():
    rows = clouds(LABELS, 10, apart=1.0)
    first, second = compared(backbone("Other", rows), backbone("Another", rows))
    assert first.gain is None
    assert second.gain.over == "Other"
    assert compared(backbone("Other", rows))[0].gain is None


@pytest.mark.parametrize(
    ("accuracy", "loss", "enough"),
    [(0.02, 0.1, True), (0.0, 0.1, True), (-0.01, 0.1, False), (0.02, 0.01, False), (0.02, -0.1, False)],
)
def test_a_backbone_has_to_be_surer_and_not_less_accurate(accuracy, loss, enough):
    around = {"interval": (accuracy - 0.02, accuracy + 0.02), "log_loss_interval": (loss - 0.1, loss + 0.1)}
    assert BackboneGain("MobileNetV2", 200, accuracy, log_loss=loss, error=0.05, **around).enough is enough
    assert not BackboneGain("MobileNetV2", 199, accuracy, log_loss=loss, error=0.05, **around).enough


def test_on_few_pictures_a_better_backbone_is_not_taken_and_the_advice_says_why():
    labels, alone = LABELS[:90], ALONE[:90]
    rows = {name: clouds(labels, 10, apart=apart) for name, apart in (("MobileNetV2", 0.5), ("Other", 2.0))}
    both = compared(*(backbone(name, each, labels, alone) for name, each in rows.items()), labels=labels, groups=alone)
    found = place(both, splits_of([30] * 3), measured_pictures=90, seed=0).as_json()
    assert found["backbone"] == "MobileNetV2"
    assert "which means little below 200 pictures. So MobileNetV2 stays" in found["why"]


def test_of_several_backbones_the_one_with_the_lowest_log_loss_is_taken():
    rows = [clouds(LABELS, 10, apart=apart) for apart in (0.5, 1.5, 2.5)]
    three = compared(*(backbone(*one) for one in zip(("MobileNetV2", "Good", "Best"), rows, strict=True)))
    found = place(three, splits_of([70] * 3), measured_pictures=210, seed=0).as_json()
    assert [one["name"] for one in found["backbones"]] == ["Best", "Good", "MobileNetV2"]
    assert "good, but not the best" in found["why"]


def test_what_is_no_more_than_luck_chooses_no_backbone():
    guess = {"pixels": 0.5, "early": 0.51, "middle": 0.52, "top": 0.49, "together": 0.5}
    luck = BackboneGain(
        "MobileNetV2", 300, 0.02, (-0.05, 0.09), log_loss=0.01, log_loss_interval=(-0.01, 0.03), error=0.01
    )
    both = [measured(**guess, name="MobileNetV2"), replace(measured(**guess, name="Other"), gain=luck)]
    assert ranked(both)[0].backbone == "Other"
    found = place(both, splits_of([30, 30]), measured_pictures=60, seed=0)
    assert not found.learnable
    assert found.measured[0].backbone == "MobileNetV2"


def test_copies_make_no_backbone_surer():
    labels, pairs = np.repeat(LABELS, 2), tuple(str(index // 2) for index in range(420))
    worse, better = (clouds(LABELS, 10, apart=apart) for apart in (0.5, 1.0))
    once = compared(backbone("MobileNetV2", worse), backbone("Other", better))[1].gain
    twice = compared(
        *(backbone(name, np.repeat(rows, 2, axis=0), labels, pairs)
          for name, rows in (("MobileNetV2", worse), ("Other", better))),
        labels=labels, groups=pairs,
    )[1].gain  # fmt: skip
    assert twice.error == pytest.approx(once.error, rel=0.4)
    assert twice.error > 0.85 * once.error


def test_pictures_are_read_again_for_a_backbone_of_another_size(tmp_path):
    random = np.random.default_rng(0)
    for label in ("red", "green"):
        (tmp_path / label).mkdir()
        for number in range(10):
            pixels = random.integers(0, 256, (50, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{number}.png")
    small, large = (Folder(tmp_path, image_size=(size, size))() for size in (24, 36))
    again = at_size(small, (36, 36))
    assert again.kind == large.kind
    assert again.train.names == large.train.names
    for part in ("train", "validation"):
        np.testing.assert_array_equal(getattr(again, part).examples, getattr(large, part).examples)
    assert len(again.test) == 0
    assert at_size(small, None) is at_size(small, (24, 24)) is small
    unknown = replace(small, train=replace(small.train, files=None))
    assert at_size(unknown, (36, 36)) is unknown


def test_each_backbone_sees_the_size_that_it_was_trained_on():
    names = ["MobileNetV2", "EfficientNetLite1", "EfficientNetLite2"]
    natural = pretrained(names, natural=True)
    assert [natural[name].image_size for name in names] == [(224, 224), (240, 240), (260, 260)]
    assert {candidate.image_size for candidate in pretrained(names).values()} == {None}


@pytest.mark.parametrize("constructor", [applications.EfficientNetB1, EfficientNetLite2])
def test_the_natural_size_is_that_of_the_whole_network(constructor):
    size = natural_size(constructor.__name__)
    assert constructor(weights=None).input_shape == (None, size, size, 3)


# ---------------------------------------------------------------------------------------------------------------- JSON


def test_the_json_has_what_a_script_needs():
    found = json.loads(json.dumps(placed(measured(), [30, 30]).as_json(), allow_nan=False))
    assert {"quadrant", "per_class", "probes", "backbones", "strategy", "why", "seed"} <= set(found)
    assert [row["depth"] for row in found["probes"]] == ["pixels", "block_1", "block_2", "top", "all"]
    assert all(low <= row["balanced_accuracy"] <= high for row in found["probes"] for low, high in [row["interval"]])


# -------------------------------------------------------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    ("one", "each", "steps"),
    [
        (measured(), 30, [LinearProbe]),
        (measured(middle=0.99), 30, [LinearProbe]),
        (measured(together=0.99), 30, [LinearProbe]),
        (measured(), 300, [LinearProbe, Phase]),
        (measured(middle=0.99), 300, [LinearProbe, Phase]),
    ],
)
@pytest.mark.parametrize("backbone", ["MobileNetV2", "EfficientNetLite0"])
def test_the_recipe_of_each_strategy_loads_and_does_what_was_advised(tmp_path, one, each, steps, backbone):
    advice = placed(replace(one, backbone=backbone), [each, 3 * each])
    file, pictures = tmp_path / "advised.py", tmp_path / 'my "photos"'
    file.write_text(cli.advised_text(file, pictures, advice), encoding="utf-8")
    recipe = load(file).recipe
    assert recipe.backbone.__name__ == backbone
    assert [type(step) for step in recipe.phases] == steps
    probe_step = recipe.phases[0]
    assert probe_step.depths == (advice.features,)
    assert (recipe.data.root, recipe.data.image_size) == (pictures.as_posix(), (8, 8))
    assert recipe.class_weight == "balanced"
    assert recipe.data.validation == (0.05 if steps == [LinearProbe] else 0.15)
    assert all(bool(step.layer_rates) == (advice.strategy == "probe_then_all") for step in recipe.phases[1:])
    assert max(map(len, file.read_text(encoding="utf-8").splitlines())) <= 120 + len(str(tmp_path))


def test_a_table_is_written_as_a_table(tmp_path):
    from kt.data import Table

    file = tmp_path / "advised.py"
    file.write_text(
        cli.advised_text(file, tmp_path / "labels.csv", placed(measured(name="ResNet50"), [30, 30])), encoding="utf-8"
    )
    assert isinstance(load(file).recipe.data, Table)


# ------------------------------------------------------------------------------------------------------------ real work


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder with a recipe of a tiny random network, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    return tmp_path


def test_the_command_measures_a_recipe_s_pictures_under_its_backbone(tiny, kt_ends):
    make_folder(tiny / "pictures", {"red": 12, "green": 12, "blue": 12})
    code, out, err = kt_ends("advise", "tiny.py", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["backbone"] == "tiny"
    assert [row["depth"] for row in found["probes"]] == ["pixels", "block_1", "top", "all"]
    assert found["probes"][0]["balanced_accuracy"] > 0.9
    assert sum(found["per_class"].values()) == found["pictures"] < 36  # test pictures are left out


@pytest.mark.slow
def test_the_same_question_gets_the_same_answer(tiny, kt_ends):
    make_folder(tiny / "pictures", {"red": 12, "green": 12})
    answers = {kt_ends("advise", "tiny.py", "--json")[1] for _ in range(2)}
    assert len(answers) == 1


@pytest.mark.slow
def test_test_pictures_are_never_looked_at(tiny):
    make_folder(tiny / "pictures", {"red": 12, "green": 12})
    recipe = load(tiny / "tiny.py").recipe
    splits = replace(recipe.data(), test=None)
    assert advise(splits, {"tiny": Candidate(recipe.backbone, None)}).pictures == len(splits.train) + len(
        splits.validation
    )


def test_many_pictures_are_drawn_class_by_class_in_whole_groups(monkeypatch):
    monkeypatch.setattr(depths, "MOST", 40)
    splits = splits_of([100, 300])
    pairs = replace(splits.train, groups=tuple(str(index // 4) for index in range(len(splits.train))))
    drawn = depths.spread_sample(replace(splits, train=pairs), seed=0)
    assert 40 <= len(drawn.train) + len(drawn.validation) <= 60
    assert {0, 1} == set(drawn.train.labels.tolist()) == set(drawn.validation.labels.tolist())
    sizes = {group: drawn.train.groups.count(group) for group in drawn.train.groups}
    assert all(pairs.groups.count(group) == count for group, count in sizes.items())


@pytest.mark.slow
def test_random_pixels_get_the_advice_that_nothing_helps(tiny, kt_ends):
    random = np.random.default_rng(0)
    for index in range(80):
        folder = tiny / "pictures" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    code, out, _ = kt_ends("advise", "tiny.py")
    assert code == 0
    assert "No strategy will do better than chance" in out


def black(folder, count):
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (32, 32)).save(folder / f"{index}.png")


def copies(tiny):
    """The same pictures in two classes."""
    make_folder(tiny / "pictures", {"red": 20})
    make_folder(tiny / "other", {"red": 20})
    (tiny / "other" / "red").rename(tiny / "pictures" / "red_too")


@pytest.mark.parametrize(
    ("arrange", "says"),
    [
        (lambda tiny: make_folder(tiny / "pictures", {"red": 9}), "At least two classes are needed"),
        (lambda tiny: make_folder(tiny / "pictures", {"red": 9, "blue": 1}), "Class 'blue' has 1 independent picture"),
        (
            lambda tiny: [black(tiny / "pictures" / name, 9) for name in "ab"],
            "2 classes have too few independent pictures",
        ),
        (lambda tiny: (tiny / "pictures").mkdir(), "expected one sub-folder a class"),
    ],
)
def test_pictures_that_can_t_be_compared_end_in_one_line_of_advice(tiny, kt_ends, arrange, says):
    arrange(tiny)
    for data in ("pictures", "tiny.py"):
        code, out, err = kt_ends("advise", data)
        assert code == 3
        assert says in err
        assert out == ""
        assert "Traceback" not in err


@pytest.mark.slow
def test_the_same_pictures_in_two_classes_are_told_with_the_advice(tiny, kt_ends):
    copies(tiny)
    code, out, err = kt_ends("advise", "tiny.py", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert "look the same as one with another label" in found["why"]
    assert not found["learnable"]


def test_what_the_source_has_to_tell_stands_in_the_reasons():
    splits = replace(
        splits_of([30, 30]), notes=("2 pictures look the same as one with another label, such as a and b",)
    )
    found = place([measured()], splits, measured_pictures=60, seed=0).as_json()
    assert "Look at this first: 2 pictures look the same" in found["why"]


def test_a_class_with_one_picture_to_learn_from_is_named():
    splits = splits_of([30, 30, 1])
    with pytest.raises(DataError, match=r"Class 'class_2' has 1 independent pictures to learn from.*collect about 20"):
        advise(splits, {})


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere"], 3, "There is no nowhere"),
        (["pictures", "--image-size", "huge"], 2, "such as 224x224, not 'huge'"),
        (["pictures", "--image-size", "4x4"], 2, "from 8 to 4096"),
        (["pictures", "--backbones", "MobileNetV9"], 2, "No backbone 'MobileNetV9'. Did you mean 'MobileNetV2'?"),
        (["pictures", "--backbones", "MobileNetV2,MobileNetV2"], 2, "must be different names"),
        (["pictures", "--seed", "-1"], 2, "--seed must be from 0"),
        (["pictures", "--write", "tiny.py"], 2, "tiny.py is there already"),
        (["pictures", "--write", "tiny.txt"], 2, "a recipe is a Python file"),
        (["tiny.py", "--write", "new.py"], 2, "is a recipe already"),
    ],
)
def test_mistakes_on_the_command_line_end_in_one_line(tiny, kt_ends, arguments, code, says):
    make_folder(tiny / "pictures", {"red": 2, "blue": 2})
    found, out, err = kt_ends("advise", *arguments)
    assert (found, out) == (code, "")
    assert says in err


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the photos beside the project")
def test_leaf_photos_are_placed_by_what_imagenet_s_features_tell(tmp_path, monkeypatch, kt_ends):
    """Leaves in a laboratory: a depth below the top does better, and a recipe follows."""
    monkeypatch.chdir(tmp_path)
    for label in ("healthy", "scab", "black_rot", "rust"):
        (tmp_path / "leaves" / label).mkdir(parents=True)
        for file in sorted((PHOTOS / "apple_leaves" / "train" / label).iterdir())[:40]:
            (tmp_path / "leaves" / label / file.name).symlink_to(file)
    # One, for which others have their weights at hand is chance.
    one_network = ["--image-size", "96x96", "--backbones", "MobileNetV2"]
    code, out, err = kt_ends("advise", "leaves", *one_network, "--write", "leaves.py", "--json")
    assert code == 0, err
    found = json.loads(out)
    rows = {row["depth"]: row["balanced_accuracy"] for row in found["probes"]}
    assert found["quadrant"].startswith("small/")
    assert max(rows.values()) > 0.9 > rows["pixels"]
    assert load(tmp_path / "leaves.py").recipe.data.image_size == (96, 96)
