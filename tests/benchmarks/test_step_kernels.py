"""What a step is made of: counted by hand, and LeNet's as it is compiled."""

from collections import Counter

import pytest

from benchmarks import kernels
from benchmarks.programs import loop_body, program_of

PROGRAM = """
%inner (a: f32[]) -> f32[] {
  %x = f32[] add(%a, %a)
}

%body.7 (p: (s32[], f32[2])) -> (s32[], f32[2]) {
  %p = (s32[], f32[2]{0}) parameter(0)
  %a = s32[] get-tuple-element(%p), index=0
  %b = f32[2]{0} get-tuple-element(%p), index=1
  %one = s32[] constant(1)
  %z = (f32[2]{0}, s8[4]{0}) custom-call(%b), custom_call_target="gemm(x)"
  %next = s32[] fusion(%a, %one), kind=kLoop, calls=%inner
  %w = f32[2]{0} fusion(%b), kind=kLoop, calls=%inner
  ROOT %t = (s32[], f32[2]{0}) tuple(%next, %w)
}

ENTRY %main (a: f32[]) -> f32[] {
  %v = (s32[], f32[2]{0}) while(%a), condition=%c, body=%body.7
}
"""
# Two launches in each turn, one of them a command buffer of two; then one after the loop.
THUNKS = """\
001: kCopy [source] kCopy
003: kWhile [prev=002 (1)]
condition:
    004: kCustomKernel [source | sink] compare
  body:
    005: kCublasLtMatmul [source] gemm
    000: kCommandBuffer [prev=005 (1)]
        006: kCustomKernel [source] add
        007: kCustomKernel [sink] subtract
008: kCustomKernel [prev=003 (1)] divide
"""
RECORDED = """\
000: kCommandBuffer [source | sink]
    003: kWhile [source]
condition:
        004: kCustomKernel [source | sink] compare
      body:
        005: kCublasLtMatmul [source] gemm
"""


def test_what_only_names_values_is_no_kernel():
    assert kernels.work(loop_body(PROGRAM)) == Counter({"fusion": 2, "custom-call": 1})


def test_the_host_launches_what_no_command_buffer_holds():
    assert kernels.launches_of_loop(THUNKS) == 2
    assert kernels.launches_of_loop(RECORDED) == 0


def lenet():
    return program_of("lenet_300_100", "float32", kernels.TRAIN, kernels.TEST)


def test_a_step_of_lenet_is_no_more_instructions_than_it_was():
    """46 on two cores with TensorFlow 2.21: 8 products, and all else in 34 fusions and 4 copies."""
    step = kernels.on_cpu(lenet()).kernels
    assert step["dot"] == 8
    assert step.total() <= 50


def test_an_epoch_of_lenet_is_one_command_buffer_of_31_kernels_a_step_on_an_h200():
    """With jax 0.10.2 and its compiler."""
    pytest.importorskip("jax_plugins.xla_cuda12")
    step = kernels.on_h200(lenet())
    assert step.launches == 0
    assert step.kernels["custom-call"] == 8  # Products.
    assert step.kernels.total() <= 33
