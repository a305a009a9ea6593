"""The doors of a checkout, `python -m experiments.NAME`, and its index of experiments."""
