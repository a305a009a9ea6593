#!/usr/bin/env python3
"""The door of a checkout: `python run.py --help` says what it does, as `tfprune --help` does."""

import sys

from tfprune.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
