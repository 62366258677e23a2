"""Two phases on cached activations, as versions of kt before the present rooms train them too: see whole_run.py."""

import keras

from kt import Classifier, Phase, Recipe
from kt.data import Folder


def frozen(backbone: keras.Model) -> None:
    """The head alone trains."""
    backbone.trainable = False


def top_blocks(backbone: keras.Model) -> None:
    """From block 13 on; BatchNorm keeps its ImageNet statistics."""
    first = [layer.name for layer in backbone.layers].index("block_13_expand")
    backbone.trainable = True
    for i, layer in enumerate(backbone.layers):
        layer.trainable = i >= first and not isinstance(layer, keras.layers.BatchNormalization)


recipe = Recipe(
    data=Folder("photos", image_size=(160, 160)),
    backbone=keras.applications.MobileNetV2,
    head=Classifier(dropout=0.2),
    phases=[Phase("train_head", frozen, epochs=8, lr=1e-3), Phase("fine_tune", top_blocks, epochs=8, lr=1e-4)],
)
