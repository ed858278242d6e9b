"""Whole-slide images: reading, and division into tiles. Training and prediction use the same functions."""
