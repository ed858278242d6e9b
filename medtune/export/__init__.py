"""From a trained network to a verified ONNX bundle."""
