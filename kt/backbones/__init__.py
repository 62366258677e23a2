"""Backbones: what each family wants to see, and pretrained weights with where they came from.

Start at `kt.backbones.build`. This file imports nothing, so that `kt weights` needs no Keras.
"""
