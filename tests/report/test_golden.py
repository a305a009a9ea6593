"""Tables and figures of made-up folders stay what they are."""

import json

import golden
import made_up
import pytest

# One seed and sweeps are looked at in other experiments too, whose figures are made alike.
SLOW = {
    ("redense", "sweep"), ("redense", "one_seed"), ("learning_distance", "sweep"),
    ("random_reinit", "sweep"), ("pruning_effect", "one_seed"),
}  # fmt: skip
CASES = [
    pytest.param(name, case, marks=pytest.mark.slow if (name, case) in SLOW else ())
    for name, cases in made_up.FOLDERS.items()
    for case in cases
]


@pytest.mark.parametrize(("experiment", "case"), CASES)
def test_tables_and_figures_are_as_they_were(experiment, case, tmp_path):
    made_up.FOLDERS[experiment][case](tmp_path)
    golden.check(f"{experiment}-{case}", golden.of_folder(tmp_path, experiment))


def test_a_change_of_a_cell_or_of_a_line_is_found():
    old = {"panels": [{"lines": [["#000000 -", [0.0, 1.0], [0.5, 0.25]]]}], "cells": "a | b"}
    moved = {"panels": [{"lines": [["#000000 -", [0.0, 1.0], [0.5, 0.26]]]}], "cells": "a | c"}
    assert list(golden.differences(old, moved)) == [
        "/panels[0]/lines[0][2][1]: 0.25 before, 0.26 now", "/cells: 'a | b' before, 'a | c' now"
    ]  # fmt: skip
    assert not list(golden.differences(old, json.loads(json.dumps(old))))
