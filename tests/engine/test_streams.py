"""Standard output and error that cannot be written, or lack characters, end nothing."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from wording import says

from tfprune.engine.streams import Stream, standard_streams
from tfprune.experiments import cli

ROOT = Path(cli.__file__).parents[2]


@pytest.mark.parametrize(
    ("encoding", "text", "want"),
    [
        ("ascii", "69 ± 5 × “θ₀” … ─ é 中", '69 +- 5 x "theta0" ... - e ?'),
        ("latin-1", "69 ± 5 − é … ─", "69 ± 5 - é ... -"),
        ("utf-8", "69 ± 5 中", "69 ± 5 中"),
    ],
)
def test_a_terminal_of_few_characters_gets_plain_ones(encoding, text, want):
    raw = io.BytesIO()
    stream = Stream(io.TextIOWrapper(raw, encoding=encoding))
    stream.write(text)
    stream.flush()
    assert raw.getvalue().decode(encoding) == want


def test_what_cannot_be_written_is_swallowed_and_the_first_error_kept():
    with open("/dev/full", "w") as full:
        stream = Stream(full)
        for _ in range(3):
            print("x" * 100_000, file=stream, flush=True)
        assert stream.error.strerror == "No space left on device"


def test_a_command_gives_streams_back_and_reports_its_own_code(capsys):
    before = sys.stdout, sys.stderr
    assert cli.exit_code(lambda: print("here") or 3) == 3
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "here\n"
    with standard_streams() as out:
        assert sys.stdout is out


@pytest.mark.parametrize(
    ("redirected", "code", "facts"),
    [
        (">/dev/full", 1, ["tfprune: standard output is lost", "No space left"]),
        ("| true; exit ${PIPESTATUS[0]}", 0, []),
        (">&-", 0, []),
        ("2>&- >/dev/null", 0, []),
        ("<&- >&- 2>&-", 0, []),
    ],
)
def test_output_that_nobody_takes_is_one_line_at_most(redirected, code, facts):
    """In processes: the interpreter flushes once more when it ends. No TensorFlow is loaded."""
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} {ROOT}/run.py --list {redirected}"],
        capture_output=True,
        text=True,
        env={"MPLBACKEND": "nonsense", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert ended.returncode == code
    assert len(ended.stderr.splitlines()) == len(facts[:1])
    assert says(ended.stderr, *facts)


def test_a_backend_of_another_machine_does_not_matter(monkeypatch):
    import os

    monkeypatch.setenv("MPLBACKEND", "nonsense")
    assert cli.exit_code(lambda: "MPLBACKEND" in os.environ) == 0
    assert os.environ["MPLBACKEND"] == "nonsense"
