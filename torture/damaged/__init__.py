"""Flipped, cut and deleted files of every kind that MedTune writes or reads."""
