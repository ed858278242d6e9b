"""Loop, augmentation, features, checkpoints."""
