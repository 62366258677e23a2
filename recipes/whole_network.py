"""The head first, then the whole network at a small rate; BatchNorm keeps its ImageNet statistics.

Balanced accuracy on the embedded rendered apples, mean (range) of 3 seeds: 0.896 (0.887 to 0.900).

    kt run recipes/whole_network.py                 2 CPU cores, 104 to 146 s
"""

import keras

from kt import Classifier, Cosine, Phase, Recipe
from kt.freeze import everything, frozen
from kt.samples import Apples

recipe = Recipe(
    data=Apples(image_size=(224, 224), batch_size=32),
    backbone=keras.applications.MobileNetV2,
    head=Classifier(dropout=0.2),
    phases=[
        Phase("train_head", trainable=frozen, epochs=10, lr=1e-3),
        Phase("fine_tune", trainable=everything, epochs=5, lr=3e-5, schedule=Cosine(warmup=0.1)),
    ],
    export=["saved_model", "tflite"],
)
