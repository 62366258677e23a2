"""Freezing: which layers of a backbone train, and how frozen layers are kept in inference mode.

`frozen`, `everything`, `from_block(name)`, `last_blocks(n)` and `top_share(share)` are values for `Phase.trainable`.
They can be compared, described and set from the command line. Only `under` sets a backbone's flags, and it restores
them. `gradual_unfreezing` makes phases. BatchNorm layers stay frozen unless `batch_norm=True`: in Keras 3 the
statistics of a trainable BatchNorm layer change under `fit`, whatever `training` the backbone was called with (seen
with keras 3.15.1).
"""

from kt.freeze.flags import (
    NOTHING,
    Moving,
    Trainable,
    count_trainable,
    inference_where_frozen,
    moves,
    moving,
    under,
)
from kt.freeze.trainables import (
    NAMED,
    Everything,
    FromBlock,
    Frozen,
    LastBlocks,
    TopShare,
    blocks,
    everything,
    everything_with_batch_norm,
    from_block,
    from_scratch,
    frozen,
    gradual_unfreezing,
    known_blocks,
    last_blocks,
    top_share,
)

__all__ = [
    "NAMED", "NOTHING", "Everything", "FromBlock", "Frozen", "LastBlocks", "Moving", "TopShare", "Trainable", "blocks",
    "count_trainable", "everything", "everything_with_batch_norm", "from_block", "from_scratch", "frozen",
    "gradual_unfreezing", "inference_where_frozen", "known_blocks", "last_blocks", "moves", "moving", "top_share",
    "under",
]  # fmt: skip
