"""Examples: a notebook, and the pretraining of the bundled backbones."""
