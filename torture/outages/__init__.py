"""Disks that are full or closed, servers that fail, two runs at once."""
