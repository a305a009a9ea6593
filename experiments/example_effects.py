"""The door to an experiment: `tfprune/experiments/example_effects.py`."""

import sys

from tfprune.__main__ import main

if __name__ == "__main__":
    sys.exit(main("example_effects"))
