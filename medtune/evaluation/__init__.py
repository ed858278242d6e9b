"""Metrics with intervals, calibration, pictures."""
