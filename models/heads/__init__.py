"""Heads, one file each: registry key = file name."""
