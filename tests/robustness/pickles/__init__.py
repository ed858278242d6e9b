"""Files that execute code when they are unpickled, and the code that reads such files."""
