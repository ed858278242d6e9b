"""The command `medtune`: one small module per command, loaded when it is called."""
