"""Drawing of the synthetic tissue images, slides and volumes."""
