"""Storage, replacement and rollback of accepted bundles, and their versions in git and DVC."""
