"""Damaged NIfTI files, and commands that read them."""
