"""Good apples from bad ones, by a network made for phones that compute in eight bits: EfficientNet-Lite0.

Its ReLU6 and missing squeeze-and-excitation leave int8 little to lose.

    kt run recipes/phone.py                         2 CPU cores
    kt run recipes/phone.py --data my_photos/
"""

from kt import Classifier, Phase, Recipe
from kt.backbones import EfficientNetLite0
from kt.data import Apples
from kt.freeze import from_block, frozen

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
