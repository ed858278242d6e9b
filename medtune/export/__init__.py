"""Export of trained networks to a verified ONNX bundle."""
