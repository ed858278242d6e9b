"""PEFT methods, one per file. The file name is the value of `model.peft.method`."""
