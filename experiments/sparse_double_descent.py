"""The door to an experiment: `tfprune/experiments/sparse_double_descent.py`."""

import sys

from tfprune.__main__ import main

if __name__ == "__main__":
    sys.exit(main("sparse_double_descent"))
