"""Checks of `medtune doctor` before a run. Each module checks one subject, and each check prints one line or more."""
