"""Five kinds of flowers, by a tensorflow-datasets name; needs the network once, for the pictures and the weights.

3,670 photos of tf_flowers under EfficientNetV2B0. No figure stands here, since it was made where there is no network.

    kt run recipes/flowers.py
"""

import keras

from kt import Classifier, Cosine, Phase, Recipe
from kt.data import Tfds
from kt.freeze import from_block, frozen

recipe = Recipe(
    data=Tfds("tf_flowers", image_size=(224, 224), batch_size=32),
    backbone=keras.applications.EfficientNetV2B0,
    head=Classifier(dropout=0.2),
    phases=[
        Phase("train_head", trainable=frozen, epochs=5, lr=1e-3),
        Phase("fine_tune", trainable=from_block("block6a"), epochs=5, lr=1e-4, schedule=Cosine()),
    ],
    export=["saved_model", "tflite"],
)
