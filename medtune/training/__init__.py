"""Training loop, augmentation, feature cache and checkpoints."""
