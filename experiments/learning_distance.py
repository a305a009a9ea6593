"""The door to an experiment: `tfprune/experiments/learning_distance.py`."""

import sys

from tfprune.__main__ import main

if __name__ == "__main__":
    sys.exit(main("learning_distance"))
