"""Whole commands, timed as a person waits for them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.findings import Bar, Finding
from benchmarks.timing import Scale, call_seconds, interleaved

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "run.py --list": ["--list"],
    "misspelled experiment": ["sparse_double_desent"],
    "misspelled flag": ["sparse_double_descent", "--levles=2"],
    "value out of range": ["sparse_double_descent", "--prune_fraction=1.5"],
}
# Runs run.py, then says on stderr's last line whether TensorFlow was imported.
_PROBE = """
import runpy, sys
try:
    runpy.run_path("run.py", run_name="__main__")
finally:
    print("tensorflow" in sys.modules, file=sys.stderr)
"""


def start_up(scale: Scale) -> list[Finding]:
    """Commands that need no TensorFlow: their time as processes, and that they do not import it."""
    work = {name: call_seconds(partial(_run, arguments)) for name, arguments in COMMANDS.items()}
    seconds = interleaved(work, scale.repetitions)
    findings = []
    for name, arguments in COMMANDS.items():
        imported = _imports_tensorflow(arguments)
        series = sorted(seconds[name])
        findings.append(
            Finding(
                f"{name}: time of the process",
                float("inf") if imported else series[len(series) // 2],
                "s",
                Bar(0.5, "at most"),
                {name: seconds[name]},
                seconds[name],
                note=f"TensorFlow is {'IMPORTED' if imported else 'not imported'}",
            )
        )
    return findings


def study(scale: Scale) -> list[Finding]:
    """A quick study: the time that is not spent in its epochs.

    An epoch's time is that of its training, its evaluation and the record of it. What is left is
    start-up and compilation, pruning, files, TensorBoard, tables, figures and the report.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["sparse_double_descent", *scale.study_flags]
        started = time.perf_counter()
        done = _run([*arguments, f"--output_dir={folder}"])
        wall = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"run.py {' '.join(arguments)} failed:\n{done.stderr}")
        results = pd.read_csv(Path(folder) / "results.csv")
    epochs = float(results["wall_seconds"].sum())
    return [
        Finding(
            f"a study ({' '.join(arguments)}): time outside of epochs, in percent of theirs",
            100 * (wall / epochs - 1),
            "%",
            Bar(15.0, "at most"),
            {"whole command": [wall], "epochs": [epochs]},
            note=f"{len(results)} stages; one repetition: a study is many",
        )
    ]


def _run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return _python(["run.py", *arguments])


def _python(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )


def _imports_tensorflow(arguments: list[str]) -> bool:
    """Whether the command imports TensorFlow."""
    return _python(["-c", _PROBE, *arguments]).stderr.split()[-1] == "True"
