"""Loading, verification and inference of exported bundles, with onnxruntime, NumPy and Pillow only."""
