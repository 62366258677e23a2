"""A server for released versions, over HTTP and gRPC, with TensorFlow Serving's interfaces."""
