"""Damage to every kind of file that MedTune writes or reads."""
