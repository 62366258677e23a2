"""Released models: their versions and labels, moving labels, and the files that TensorFlow Serving reads."""
