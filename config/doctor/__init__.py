"""What must be right before a long run: one file a subject, one line a check (`python -m config.doctor`).

What a check of the data, the network, W&B or Prefect needs to know lies above `config`, in a `doctor.py` of that
package; like a plugin it is loaded by its name, never by an import.
"""
