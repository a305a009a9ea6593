"""The door to an experiment: `tfprune/experiments/generalization_stability.py`."""

import sys

from tfprune.__main__ import main

if __name__ == "__main__":
    sys.exit(main("generalization_stability"))
