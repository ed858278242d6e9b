"""The command `medtune`."""
