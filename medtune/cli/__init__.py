"""Command line `medtune`, one module per command. A module is imported when its command is called."""
