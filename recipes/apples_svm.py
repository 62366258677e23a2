"""Features of a frozen backbone and a linear SVM: no gradient step, the answer of a convex problem.

Balanced accuracy on the embedded rendered apples: MEASURED; on photos of apples never seen: PHOTOS.

    kt run recipes/apples_svm.py                    2 CPU cores
    kt run recipes/apples_svm.py --set probe.features=top
"""

import keras

from kt import Classifier, LinearProbe, Recipe
from kt.data import Apples

recipe = Recipe(
    data=Apples(image_size=(224, 224), batch_size=32),
    backbone=keras.applications.MobileNetV2,
    head=Classifier(),
    phases=[LinearProbe("svm", features="all")],
    export=["saved_model", "tflite"],
)
