"""Heads: the layers from the backbone's features to the model's outputs, with the loss to train them by."""

from kt.heads.classification.head import Classifier

__all__ = ["Classifier"]
