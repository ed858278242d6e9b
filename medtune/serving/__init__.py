"""Loading, verification and inference of bundles (exported models).

The package needs only onnxruntime, NumPy and Pillow. Some file formats need more packages.
"""
