"""Where images come from, and how they become a checked, split, packed set."""
