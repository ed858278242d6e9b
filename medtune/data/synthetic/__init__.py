"""Drawing of the synthetic tissue images and slides."""
