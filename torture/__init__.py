"""Faults injected by the thousand: kills, damaged files, hostile input, services that fail."""
