"""A step of training on one replica and on two: the weight in each, and whether gradients were summed over them.

Printed as JSON; run in a child process, for a processor is split in two before TensorFlow's first operation.
"""

import json

import tensorflow as tf

from kt.base import backend

backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from kt import Phase, freeze  # noqa: E402
from kt.training import layer_rates  # noqa: E402

PICTURES = np.array([[1.0], [3.0]], np.float32)
TARGETS = np.zeros((2, 1), np.float32)


class Witness(keras.optimizers.SGD):
    """Notes that Keras's own sum over replicas was asked for."""

    summed = False

    def _all_reduce_sum_gradients(self, gradients):
        Witness.summed = True
        return super()._all_reduce_sum_gradients(gradients)


def after_a_step(strategy):
    """A batch of two pictures, of which each of two replicas sees one."""
    Witness.summed = False
    phase = Phase("one", freeze.everything, epochs=1, lr=0.1, optimizer=Witness)
    with strategy.scope():
        network = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")]
        )
        network.compile(layer_rates.optimizer_of(phase, network, network, steps=1), loss="mse")
    pictures = tf.data.Dataset.from_tensor_slices((PICTURES, TARGETS)).batch(2)
    network.fit(pictures, shuffle=False, verbose=0)
    weights = strategy.experimental_local_results(network.layers[0].kernel.value)
    return {"weights": [float(weight.numpy().item()) for weight in weights], "summed": Witness.summed}


def main():
    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    facts = {
        "one": after_a_step(tf.distribute.get_strategy()),
        "two": after_a_step(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])),
    }
    print(json.dumps(facts))


main()
