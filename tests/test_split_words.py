"""The words for train, validation and test, as people write them."""

import pytest

from kt.data.split_words import split_of, splits_of


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Training TRAIN trn train_images seg_train 01_train trainset training_set X_train train2017"),
        ("train", "TrainImages imagesTrain trainval train_val train-valid training-data"),
        ("validation", "val Val valid validation VALIDATION dev Development valSet dev_images val2017 02-val"),
        ("test", "test Testing tst images-test test_data testset holdout hold_out Held-Out eval Evaluation seg_test"),
        (None, "batch1 invalid latest contest protest devices trainer values data images restrain test-dev train_test"),
    ],
)
def test_a_name_means_the_split_that_one_of_its_words_means(split: str | None, names: str) -> None:
    assert {name: split_of(name) for name in names.split()} == dict.fromkeys(names.split(), split)


def test_evaluation_is_test_unless_there_is_a_test() -> None:
    assert splits_of(["train", "eval"]) == {"train": "train", "eval": "test"}
    assert splits_of(["train", "val", "eval"]) == {"train": "train", "val": "validation", "eval": "test"}
    assert splits_of(["train", "eval", "test"]) == {"train": "train", "eval": "validation", "test": "test"}
    assert splits_of(["train", "cats"]) == {"train": "train", "cats": None}
