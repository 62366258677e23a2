"""Good apples from bad ones, by a network made for phones that compute in eight bits: EfficientNet-Lite0.

Balanced accuracy on the embedded rendered apples, mean (range) of 3 seeds: 0.912 (0.900 to 0.925); the int8 file has
4.0 MB. On photos of four kinds of apple leaves, one seed: 0.998, and 0.2 points of accuracy less in int8.

    kt run recipes/phone.py                         2 CPU cores, busy with other work, 135 to 278 s
    kt run recipes/phone.py --data my_photos/
"""

from kt import Classifier, Phase, Recipe
from kt.backbones import EfficientNetLite0
from kt.freeze import from_block, frozen
from kt.samples import Apples

recipe = Recipe(
    data=Apples(image_size=(224, 224), batch_size=32),
    backbone=EfficientNetLite0,
    head=Classifier(dropout=0.2, label_smoothing=0.1),
    phases=[
        Phase("train_head", trainable=frozen, epochs=10, lr=1e-3),
        Phase("fine_tune", trainable=from_block("block6a"), epochs=5, lr=1e-4),
    ],
    export=["saved_model", "tflite"],
)
