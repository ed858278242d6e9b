"""Data sources, one file each: registry key = file name."""
