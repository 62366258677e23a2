"""Frozen work, done once: what stands before the first layer that trains gives the same for a picture in every epoch.

A phase computes it once and trains what follows on it: the head alone where the whole backbone is frozen, else the
backbone's last blocks and the head. Their layers are the model's own, so the whole model is trained as the phase ends.
"""
