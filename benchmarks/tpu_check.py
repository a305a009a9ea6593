"""Whether the programs that a TPU would get compile for one, and fit: `make tpu-check`.

TPU's compiler runs on any x86 machine, for a named topology. What compiles here is what one core
runs: the steps of a whole epoch and the evaluation of every split. Nothing is run; the time of a
step is the compiler's own estimate. It needs `pip install 'tfprune[tpu_check]'`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.programs import compiled_for, loop_body, program_of, stablehlo
from tfprune.backend import tf
from tfprune.catalog import MODELS

TOPOLOGY = "v5e:2x2"
# 197e12 operations a second of four arrays of 128 x 128 multiply-adds.
CLOCK_HZ = 197e12 / (4 * 128 * 128 * 2)


@dataclass(frozen=True)
class Compiled:
    """What TPU's compiler says of a program.

    Attributes:
      seconds: how long it took.
      arguments_bytes: of data, weights and slots.
      temporary_bytes: of everything in between.
      code_bytes: of the program.
      step_seconds: of one turn of its loop, by the compiler's estimate; NaN without a loop.
    """

    seconds: float
    arguments_bytes: int
    temporary_bytes: int
    code_bytes: int
    step_seconds: float


def compile_for_tpu(function: Callable[..., Any], *arguments: Any) -> Compiled:
    """Compiles a `tf.function` for one core.

    Args:
      function: compiled with XLA.
      arguments: what it is called with; only shapes and dtypes matter.

    Raises:
      ImportError: jax or libtpu is not installed.
    """
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # This machine is in no cloud.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # Nothing is locked: there is no TPU.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from jax.experimental import topologies

    text = stablehlo(function, arguments)
    device = topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGY).devices[0]
    started = time.perf_counter()
    compiled = compiled_for(device, text)
    seconds = time.perf_counter() - started
    memory = compiled.get_compiled_memory_stats()
    return Compiled(
        seconds,
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        memory.generated_code_size_in_bytes,
        loop_cycles(compiled.hlo_modules()[0].to_string()) / CLOCK_HZ,
    )


def loop_cycles(program: str) -> float:
    """Cycles of one turn of a compiled program's own loop, by the compiler's estimate.

    Args:
      program: its text; loops inside of others come before them.

    Returns:
      The sum over the instructions of the loop's body; NaN without a loop.
    """
    body = loop_body(program)
    cycles = re.findall(r'"estimated_cycles":"(\d+)"', "\n".join(body))
    return float(sum(map(int, cycles))) if body else float("nan")


def main(argv: Sequence[str] | None = None) -> int:
    """Compiles the networks that `argv` names, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tpu_check", description=__doc__)
    parser.add_argument("model", nargs="*", default=list(MODELS), help="default: all")
    parser.add_argument("--dtype", default="float32", help="float32 or mixed_bfloat16")
    options = parser.parse_args(argv)
    table = Table("network", "program", "compiled in", "arguments", "temporary", "code", "a step")
    for model in options.model:
        MODELS.entry(model)
    for model in options.model:
        program = program_of(model, options.dtype)
        found = {
            "steps": compile_for_tpu(program.steps, *program.inputs(0)),
            "evaluation": compile_for_tpu(program.evaluation, program.inputs(0)[0]),
        }
        for name, of in found.items():
            sizes = (of.arguments_bytes, of.temporary_bytes, of.code_bytes)
            table.add_row(
                model,
                name,
                f"{of.seconds:.1f} s",
                *(f"{size / 1e6:.1f} MB" for size in sizes),
                f"{of.step_seconds * 1e6:.0f} µs" if name == "steps" else "",
            )
        tf.keras.backend.clear_session()
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
