"""The door to an experiment: `tfprune/experiments/accuracy_surface.py`."""

import sys

from tfprune.__main__ import main

if __name__ == "__main__":
    sys.exit(main("accuracy_surface"))
