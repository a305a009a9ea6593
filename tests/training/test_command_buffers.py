"""Loops may be command buffers, unless somebody has said what may be."""

import os
import subprocess
import sys

from tfprune.training import command_buffers

# Compiles a program with these flags; XLA writes down what it understood of them.
PROGRAM = """
import tensorflow as tf
tf.function(lambda x: tf.reduce_sum(x / 3), jit_compile=True)(tf.ones(2))
"""


def test_what_somebody_chose_stays_and_other_flags_too():
    assert command_buffers.environment({"XLA_FLAGS": "--xla_dump_to=there"}) == {
        "XLA_FLAGS": "--xla_dump_to=there --xla_gpu_enable_command_buffer=+WHILE"
    }
    for own in ("--xla_gpu_enable_command_buffer=", "--xla_gpu_enable_command_buffer=FUSION"):
        assert command_buffers.environment({"XLA_FLAGS": own}) == {}


def test_xla_records_loops_beside_what_it_records_anyway(tmp_path):
    flags = f"{command_buffers.environment({})['XLA_FLAGS']} --xla_dump_to={tmp_path}"
    variables = {**os.environ, "XLA_FLAGS": flags, "TF_XLA_FLAGS": ""}
    subprocess.run([sys.executable, "-c", PROGRAM], env=variables, check=True)
    (options,) = tmp_path.glob("*debug_options")
    lines = [line.split() for line in options.read_text().splitlines()]
    recorded = {value for name, *_, value in lines if name == "xla_gpu_enable_command_buffer:"}
    assert recorded >= {"FUSION", "CUBLAS", "CUDNN", "WHILE"}
