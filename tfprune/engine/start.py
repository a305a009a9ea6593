"""Importing TensorFlow where a command, a worker process or a task on Ray needs it.

Importing this module imports neither TensorFlow nor what draws the report, which workers never do.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

from absl import logging

from tfprune.engine.quiet import silent_stderr
from tfprune.training import command_buffers, compilation_cache


def import_tensorflow(verbosity: int, cache: str) -> None:
    """Imports TensorFlow; below verbosity 1 without the messages of its start-up.

    Some of them are written before any log level applies.

    Args:
      verbosity: as the flag.
      cache: as the setting `compilation_cache`.
    """
    os.environ.update(command_buffers.environment(os.environ))
    os.environ.update(compilation_cache.environment(cache))
    if verbosity >= 1:
        with _kept_to_the_end():
            import tfprune.training.trainer

        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.set_verbosity(logging.ERROR)
    with silent_stderr(), _kept_to_the_end():
        import tfprune.backend
        import tfprune.training.trainer
    tfprune.backend.tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def _kept_to_the_end() -> Iterator[None]:
    """Nothing looks for garbage in what is imported inside, neither now nor later.

    It would find none, and take a third of the import's time.
    """
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
