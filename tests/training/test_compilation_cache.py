"""What XLA compiled in one process is found by the next, and nothing else is."""

import os
import subprocess
import sys

import pytest

from tfprune.errors import SettingError
from tfprune.training import compilation_cache

# Two programs, as the suite compiles them; prints their results.
PROGRAM = """
import gc, os, sys
gc.disable()
from tfprune.training.compilation_cache import environment
os.environ.update(environment(sys.argv[1]))
import tensorflow as tf
for kind in (tf.reduce_sum, tf.reduce_max):
    step = tf.function(lambda x: kind(tf.matmul(x, x) / 3), jit_compile=True)
    print(step(tf.reshape(tf.range(16.0), (4, 4))).numpy().tobytes().hex())
"""


@pytest.fixture(autouse=True)
def _no_folder_is_chosen_yet(monkeypatch):
    """As the tests have one."""
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    monkeypatch.delenv("XLA_FLAGS", raising=False)


def run_program(folder):
    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    return outcome.stdout.strip()


def entries(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.pb")}


def test_the_next_process_finds_a_program_and_an_incomplete_one_is_compiled_again(tmp_path):
    first = run_program(tmp_path)
    kept = entries(tmp_path)
    assert len(kept) == 2
    cut = next(tmp_path.rglob("*.pb"))
    size = cut.stat().st_size
    os.truncate(cut, size // 2)
    assert run_program(tmp_path) == first
    assert cut.stat().st_size == size
    del kept[cut.name]
    assert kept.items() <= entries(tmp_path).items()  # Found, so not written again.


@pytest.mark.parametrize("kept", [0, 1, 2, 7, -1])
def test_what_a_power_cut_left_is_removed_and_what_is_whole_stays(tmp_path, kept):
    # Field 1 is a number, 2 bytes, 3 of eight bytes, 4 of four.
    message = b"\x08\x96\x01" + b"\x12\x03abc" + b"\x19" + b"x" * 8 + b"\x25" + b"y" * 4
    (tmp_path / "whole.pb").write_bytes(message)
    (tmp_path / "cut.pb").write_bytes(message[:kept])
    compilation_cache._remove_incomplete(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.pb"]


def test_programs_of_another_processor_compiler_or_number_of_cores_are_apart(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    names = {compilation_cache._machine({})}
    names.add(compilation_cache._machine({"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}))
    monkeypatch.setattr(compilation_cache, "_processor", lambda: "another")
    names.add(compilation_cache._machine({}))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    names.add(compilation_cache._machine({}))
    assert len(names) == 4


def test_what_the_environment_says_already_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=elsewhere")
    found = compilation_cache.environment(str(tmp_path))
    assert found["XLA_FLAGS"].startswith("--xla_dump_to=elsewhere --xla_gpu_per_fusion")
    assert str(tmp_path) in found["TF_XLA_FLAGS"]
    monkeypatch.setenv("TF_XLA_FLAGS", found["TF_XLA_FLAGS"])
    assert compilation_cache.environment("auto") == {}  # A folder is chosen already.


def test_off_and_a_disk_without_room_keep_nothing_and_a_file_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation_cache.environment("off") == {}
    assert compilation_cache.environment("auto")
    monkeypatch.setattr(compilation_cache, "_FREE_BYTES", 2**80)
    assert compilation_cache.environment("auto") == {}
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=r"compilation_cache=.*: off, or a folder that can"):
        compilation_cache.environment(str(tmp_path / "file"))
    with pytest.raises(SettingError, match="off, auto, or a folder"):
        compilation_cache.environment("")  # Not a folder `xla` wherever one stands.
