"""The door to an experiment: `tfprune/experiments/random_reinit.py`."""

import sys

from tfprune.__main__ import main

if __name__ == "__main__":
    sys.exit(main("random_reinit"))
