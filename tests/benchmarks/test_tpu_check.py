"""LeNet's programs compile for a TPU, where its compiler is; and what is read of a program."""

import math

import pytest

from benchmarks import tpu_check
from benchmarks.programs import program_of

PROGRAM = """
%inner (a: f32[]) -> f32[] {
  %x = f32[] add(%a, %a), backend_config={"estimated_cycles":"1000"}
}

%body.7 (a: f32[]) -> f32[] {
  %y = f32[] fusion(%a), backend_config={"estimated_cycles":"40"}
  %z = f32[] while(%y), condition=%c, body=%inner
  %w = f32[] copy(%z), backend_config={"estimated_cycles":"2"}
}

ENTRY %main (a: f32[]) -> f32[] {
  %v = f32[] while(%a), condition=%c, body=%body.7, backend_config={"estimated_cycles":"9"}
}
"""


def test_the_cycles_of_a_step_are_those_of_the_outer_loops_body():
    assert tpu_check.loop_cycles(PROGRAM) == 42
    assert math.isnan(tpu_check.loop_cycles("ENTRY %main (a: f32[]) -> f32[] {\n}\n"))


def test_lenets_steps_and_evaluation_compile_for_a_tpu_and_fit():
    pytest.importorskip("jax")
    pytest.importorskip("libtpu")
    program = program_of("lenet_300_100", "float32", train=300, test=100)
    held = program.inputs(0)[0]
    steps = tpu_check.compile_for_tpu(program.steps, *program.inputs(0))
    evaluation = tpu_check.compile_for_tpu(program.evaluation, held)
    pixels = (300 + 100) * 28 * 28
    weights = 4 * 266_610  # Kernels, biases; masks and momentum are as large.
    assert pixels + 2 * weights < steps.arguments_bytes < 2 * (pixels + 4 * weights)
    assert evaluation.arguments_bytes < steps.arguments_bytes
    assert 0 < steps.step_seconds < 1e-3
