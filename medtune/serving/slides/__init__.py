"""Whole-slide images: reading and tiling, identical for training and prediction."""
