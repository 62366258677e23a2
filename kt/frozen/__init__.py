"""Cached activations: layers before the first one that trains give the same output for a picture in every epoch.

A phase computes these outputs once and trains the rest of the model on them: the head alone where the whole backbone is
frozen, else the backbone's last blocks and the head. These layers are the model's own, so nothing is copied back when
the phase ends.
"""
