"""Networks with adapters that say something, and what of them must not move."""
