"""The door to an experiment: `tfprune/experiments/pruning_effect.py`."""

import sys

from tfprune.__main__ import main

if __name__ == "__main__":
    sys.exit(main("pruning_effect"))
