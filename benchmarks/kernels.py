"""What a training step is made of, by the compiled program: `python -m benchmarks.kernels`.

A step on a GPU is a row of kernels, each of which takes some microseconds to start, however small
it is. What is counted is the body of the loop over an epoch's steps, compiled

- for this machine's CPU, by TensorFlow;
- for an NVIDIA H200, which need not be there: `pip install 'tfprune[gpu_check]'`. XLA's compiler
  chooses without having tried anything, products by cuBLAS and convolutions by cuDNN. It also says
  what the host has to launch in each step: nothing, where the loop is one command buffer.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.programs import compiled_for, loop_body, program_of, stablehlo, steps_of
from tfprune.backend import tf
from tfprune.catalog import MODELS
from tfprune.precision import products
from tfprune.training.resident import ResidentProgram

DEFAULT = ("lenet_300_100", "resnet20")
# Twenty full steps and a short one.
TRAIN, TEST = 2_600, 1_000
# What names a value but is no work.
_NO_WORK = {"parameter", "tuple", "get-tuple-element", "constant", "bitcast", "after-all"}

# What TensorFlow 2.21 makes command buffers of by itself, and loops.
RECORDED = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,WHILE"
H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448 registers_per_core_limit: 65536
  registers_per_block_limit: 65536 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 151397597184 cuda_compute_capability { major: 9 }
  driver_version: "13.0.0" runtime_version: "12.8.0" compile_time_toolkit_version: "12.8.0"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H200"
"""


@dataclass(frozen=True)
class Step:
    """What a step is made of.

    Attributes:
      kernels: how many instructions of each kind are work, such as fusions and products.
      launches: what the host launches in each step; None where the compiler does not say.
    """

    kernels: Counter[str]
    launches: int | None = None


def on_cpu(program: ResidentProgram) -> Step:
    """A step as TensorFlow compiles it for this machine's CPU."""
    with products("tf32"), tf.device("/CPU:0"):
        steps, inputs = steps_of(program)
        ir = steps.experimental_get_compiler_ir(*inputs)
        return Step(work(loop_body(ir(stage="optimized_hlo"))))


def on_h200(program: ResidentProgram) -> Step:
    """A step as XLA compiles it for an H200.

    Raises:
      ImportError: jax or its CUDA plugin is not installed.
    """
    with products("tf32"):
        text = stablehlo(*steps_of(program))
    with tempfile.TemporaryDirectory() as folder:
        flags = {
            "xla_gpu_autotune_level": 0,  # There is nothing to try on.
            "xla_gpu_enable_triton_gemm": False,
            "xla_gpu_cuda_data_dir": str(_package("nvidia.cuda_nvcc")),
            "xla_gpu_enable_command_buffer": RECORDED,
            "xla_dump_to": folder,
        }
        compiled = compiled_for(_h200(), text, flags)
        (thunks,) = Path(folder).glob("*thunk_sequence_after_thunk_passes.txt")
        return Step(
            work(loop_body(compiled.hlo_modules()[0].to_string())),
            launches_of_loop(thunks.read_text()),
        )


def work(instructions: Iterable[str]) -> Counter[str]:
    """How many instructions of each kind are work.

    Args:
      instructions: lines of a compiled program.
    """
    found = (re.search(r" = (?:\(.*?\)|\S+) ([\w\-]+)\(", line) for line in instructions)
    kinds = Counter(match[1] for match in found if match)
    return Counter({kind: n for kind, n in kinds.items() if kind not in _NO_WORK})


def launches_of_loop(thunks: str) -> int:
    """What the host launches in each turn of a program's own loop.

    Args:
      thunks: what XLA says of a GPU program: a line for each launch; those of a command buffer, of
        a loop's condition and of its body are indented and come after it.

    Returns:
      0 where the loop is inside of a command buffer; else the launches of its body.

    Raises:
      ValueError: there is no loop.
    """
    lines = thunks.splitlines()
    loops = [(i, re.match(r"( *)\d+: kWhile", line)) for i, line in enumerate(lines)]
    outermost = min((len(m[1]), i) for i, m in loops if m)
    depth, start = outermost
    if depth:
        return 0
    after = lines[start:]
    body = after[[line.strip() for line in after].index("body:") + 1 :]
    (inside,) = re.findall(r"^ +", body[0])
    count = 0
    for line in body:
        if not line.startswith(inside):
            break
        count += line[len(inside)] != " "
    return count


def _h200() -> Any:
    """One, as jax describes those that are not there."""
    from jax._src.lib import xla_client
    from jaxlib import _jax

    if not xla_client.pjrt_plugin_loaded("cuda"):
        library = _package("jax_plugins.xla_cuda12") / "xla_cuda_plugin.so"
        xla_client.load_pjrt_plugin_dynamically("cuda", str(library))
    if not xla_client.pjrt_plugin_initialized("cuda"):
        xla_client.initialize_pjrt_plugin("cuda")
    about = {"target_config": H200, "topology": "1x1x1"}
    topology = _jax.get_default_c_api_topology("cuda", "h200", about)
    return topology._make_compile_only_devices()[0]


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"{name} is not installed: pip install 'tfprune[gpu_check]'")
    return Path(found.submodule_search_locations[0])


def main(argv: Sequence[str] | None = None) -> int:
    """Counts for the networks that `argv` names, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("model", nargs="*", default=DEFAULT, help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--dtype", default="float32", help="float32 or mixed_bfloat16")
    parser.add_argument("--stack", type=int, default=1, help="trainings that a step is of")
    options = parser.parse_args(argv)
    for model in options.model:
        MODELS.entry(model)
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table("network", "compiled for", "kernels a step", "of these", "launches a step")
    for model in options.model:
        program = program_of(model, options.dtype, TRAIN, TEST, options.stack)
        for name, compile_step in {"this CPU": on_cpu, "an H200": on_h200}.items():
            try:
                step = compile_step(program)
            except ImportError as error:
                console.print(f"not compiled for {name}: {error}")
                continue
            kinds = ", ".join(f"{n} {kind}" for kind, n in step.kernels.most_common())
            launches = "" if step.launches is None else str(step.launches)
            table.add_row(model, name, str(step.kernels.total()), kinds, launches)
        tf.keras.backend.clear_session()
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
