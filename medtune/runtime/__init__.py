"""Artifacts, cache keys, paths, devices, locks and progress: what every run needs, whatever its task."""
