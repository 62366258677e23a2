"""Answers from an exported artefact only: what `kt predict` says is what a phone or a server would say."""

from kt.serve.predict import Prediction, predict_files, scores_of

__all__ = ["Prediction", "predict_files", "scores_of"]
