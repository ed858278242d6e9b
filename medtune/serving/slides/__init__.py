"""Whole-slide images: how they are read and cut into tiles, for training and prediction alike. Imports no torch."""
