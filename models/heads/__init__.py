"""Heads, one per file. The file name is the value of `model.head.kind`."""
