"""Classification of images: one label per image."""
