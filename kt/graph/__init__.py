"""The graph of a functional Keras model, its blocks, and the model as a TensorFlow function (`kt.graph.traced`)."""

from kt.graph.blocks import TAP, Block, BlockOf, block_name, block_of, blocks, family, numbered, stretches, tell_blocks
from kt.graph.nodes import Node, frontier, is_functional, last_input, leaves, nodes

__all__ = [
    "TAP", "Block", "BlockOf", "Node", "block_name", "block_of", "blocks", "family", "frontier", "is_functional",
    "last_input", "leaves", "nodes", "numbered", "stretches", "tell_blocks",
]  # fmt: skip
