"""LiteRT, which runs TFLite files: `interpreter` opens a file without TensorFlow, `converter` makes one with it."""
