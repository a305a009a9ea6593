"""Whole loops as one command buffer: a GPU then takes all steps of an epoch without the host.

What XLA launches again and again on a GPU it records once, as CUDA graphs, but loops only where it
is told to. Other devices have no use for the flag, and TensorFlow 2.20 and 2.21 know it on all.

Importing this module imports no TensorFlow, which reads the flag when it first compiles a program.
"""

from __future__ import annotations

from collections.abc import Mapping

_FLAG = "--xla_gpu_enable_command_buffer"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variable that lets XLA record loops beside what it records anyway.

    Args:
      variables: the process's, `os.environ`.

    Returns:
      `XLA_FLAGS`, what it says now included; nothing where it says already what is recorded.
    """
    flags = variables.get("XLA_FLAGS", "")
    return {} if _FLAG in flags else {"XLA_FLAGS": f"{flags} {_FLAG}=+WHILE".strip()}
