"""Accepted bundles: where they are stored, how they are replaced and rolled back, and their versions in git and DVC."""
