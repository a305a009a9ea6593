"""`python -m experiments.NAME` in a checkout: the modules of `tfprune.experiments`, one each."""

from tfprune import experiments as _installed

# Beside what only a checkout needs, and so is not installed.
__path__ += _installed.__path__
