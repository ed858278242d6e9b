"""Building blocks that PEFT methods share."""
