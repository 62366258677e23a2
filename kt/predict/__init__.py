"""Predictions by exported artefacts only, so that `kt predict` gives the same answers as a phone or a server."""

from kt.predict.files import Prediction, predict_files, scores_of

__all__ = ["Prediction", "predict_files", "scores_of"]
