"""The version, here and nowhere else: setup.cfg reads it, and CITATION.cff is held to it."""

__version__ = "0.1.0"
