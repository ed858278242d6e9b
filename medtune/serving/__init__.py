"""The consumer's side of the bundle: onnxruntime, numpy and pillow only."""
