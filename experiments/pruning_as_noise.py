"""The door to an experiment: `tfprune/experiments/pruning_as_noise.py`."""

import sys

from tfprune.__main__ import main

if __name__ == "__main__":
    sys.exit(main("pruning_as_noise"))
