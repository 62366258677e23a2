"""Where a trained model fails: slices that it answers worse, the training examples nearest to its errors, and the map.

Everything here is found after training, on the model's scores and features of the test split, and nothing is chosen by
it. `results` and `errors` load no Keras, so the report can use them.
"""
