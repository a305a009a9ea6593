"""The benchmark's parts at tiny size, and the fields of results.json; nothing is timed here."""

import json
import math

import pytest

from benchmarks import __main__ as command
from benchmarks import dense, machine, timing
from benchmarks.findings import Bar, Finding, ratio_finding
from benchmarks.registry import ROWS

TINY = timing.Scale(
    repetitions=1,
    train_examples=300,
    test_examples=20,
    digits_epochs=2,
    conv_steps=1,
    conv_width=0.125,
    inference_examples=2,
    ablated_networks=3,
    study_flags=("--preset=smoke", "--levels=1", "--seeds=0"),
)
# Whole commands as processes, networks that take long to compile, and what another row measures
# alike: an epoch, and what one more stage compiles, which has a test of its own below.
SLOW = (
    "another_stage",
    "lenet_evaluation",
    "lenet_epoch",
    "start_up",
    "study",
    "conv_step",
    "bfloat16_step",
    "shrinking",
    "stacked_epoch",
)
ALL = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ROWS]


def test_repetitions_are_interleaved_after_one_run_of_each_to_compile():
    calls = []

    def timed(name, seconds):
        def run():
            calls.append(name)
            return seconds.pop(0)

        return run

    work = {"a": timed("a", [9.0, 1.0, 2.0]), "b": timed("b", [9.0, 3.0, 4.0])}
    assert timing.interleaved(work, 2) == {"a": [1.0, 2.0], "b": [3.0, 4.0]}
    assert calls == ["a", "b"] * 3


def test_a_ratio_is_the_median_over_repetitions_not_of_unrelated_times():
    seconds = {"slow": [2.0, 30.0, 8.0], "fast": [1.0, 10.0, 2.0]}
    finding = ratio_finding("work", seconds, "slow", "fast", Bar(3.0, "at least"))
    assert (finding.value, finding.values, finding.met) == (3.0, [2.0, 3.0, 4.0], True)


def test_a_bar_includes_its_limit_and_what_is_no_number_never_meets_it():
    least, most = Bar(2.0, "at least"), Bar(2.0, "at most")
    assert [least.is_met(value) for value in (1.9, 2.0, 2.1)] == [False, True, True]
    assert [most.is_met(value) for value in (1.9, 2.0, 2.1)] == [True, True, False]
    assert not least.is_met(math.nan)
    assert not most.is_met(math.nan)


def test_what_this_machine_cannot_reach_is_neither_met_nor_missed():
    assert Finding("work", 1.0, "x", Bar(2.0, "at least"), applies=False).met is None


def test_the_products_of_an_epoch_are_counted_by_hand():
    """Two batches: layer 1 has two products, layers 2 and 3 have three; 2 FLOPs a multiply-add."""
    per_example = 2 * (2 * 784 * 300 + 3 * 300 * 100 + 3 * 100 * 10)
    assert dense.products_flops(300) == 2 * 128 * per_example


@pytest.mark.parametrize("name", ALL)
def test_a_row_says_what_it_found_with_every_repetition(name, tmp_path):
    output = tmp_path / "results.json"
    assert command.main([f"--row={name}", "--repetitions=1", f"--output={output}"], TINY) == 0
    written = json.loads(output.read_text())
    assert written["machine"] == machine.description()
    assert {"cpu", "cores", "versions"} <= set(written["machine"])
    assert "code" not in written["machine"]["versions"]
    assert written["rows"][name]["code"] == machine.code()
    assert {"date", "load_before", "repetitions", "findings"} <= set(written["rows"][name])
    assert written["rows"][name]["findings"]
    for finding in written["rows"][name]["findings"]:
        assert {"work", "bar", "value", "unit", "met", "seconds", "values"} <= set(finding)
        assert finding["work"]
        assert math.isfinite(finding["value"])
        assert all(len(series) == 1 for series in finding["seconds"].values())


def test_further_stages_of_a_shape_compile_nothing():
    setup, compiled = ROWS["another_stage"](TINY)
    assert (compiled.value, compiled.met) == (0, True)
    assert set(setup.seconds) == {"level", "branch", "seed"}


def test_rows_of_earlier_runs_are_kept_only_if_the_machine_is_the_same(tmp_path):
    path = tmp_path / "results.json"
    command.write(path, {"start_up": {"date": "first"}})
    command.write(path, {"study": {"date": "second"}})
    rows = json.loads(path.read_text())["rows"]
    assert rows == {"start_up": {"date": "first"}, "study": {"date": "second"}}
    other = {**json.loads(path.read_text()), "machine": {"cpu": "another"}}
    path.write_text(json.dumps(other))
    command.write(path, {"study": {"date": "third"}})
    assert json.loads(path.read_text())["rows"] == {"study": {"date": "third"}}


def test_an_unknown_row_is_named_with_its_nearest(capsys):
    with pytest.raises(SystemExit) as exit_:
        command.main(["--row=digit_epoch"])
    assert exit_.value.code == 2
    assert "did you mean digits_epoch" in capsys.readouterr().err
