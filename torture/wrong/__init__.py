"""Mistakes of a user, in every place where one can be made."""
