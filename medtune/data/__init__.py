"""Data sources, and preparation of their images: checks, splits, decoding and packing."""
