"""Pictures, archives, arrays, pickles and graphs made to do harm."""
