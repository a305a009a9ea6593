"""What the pointer is told over a figure."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tfprune.report import style
from tfprune.report.grammar import Axis, Bars, Figure, Lines, Scale, draw
from tfprune.report.pointer import Trace, cells, placed

GOLDEN = Path(__file__).parent / "golden"
# Of PEG, several benchmarks are counted in a sentence.
SWEEPS = sorted(path.stem for path in GOLDEN.glob("[!p]*-sweep.json"))


@pytest.fixture
def axes():
    """A panel that fills its figure, from 0 to 10 on both sides."""
    panel = style.new_figure(4, 2).add_axes((0, 0, 1, 1))
    panel.set(xlim=(0, 10), ylim=(0, 10))
    return panel


def test_places_are_ten_thousandths_of_the_picture_from_its_top_left(axes):
    trace = Trace(axes, "a", [2.5, 10], [4, 0], ["x", "y"], ["1", "2"], ("Epoch", "Two\nlines"))
    assert placed(axes.figure, [trace]) == [
        {"name": "a", "labels": ["Epoch", "Two lines"],
         "points": [[2500, 6000, "x", "1"], [10000, 10000, "y", "2"]]}
    ]  # fmt: skip


def test_what_is_not_seen_is_not_told(axes):
    nan = float("nan")
    trace = Trace(axes, "", [1, 11, nan, 5], [1, 1, 1, nan], list("abcd"), list("efgh"), ("", "y"))
    ((point,),) = (told["points"] for told in placed(axes.figure, [trace]))
    assert point == [1000, 9000, "a", "e"]
    hidden = Trace(axes, "", [11], [1], ["a"], ["b"], ("", ""))
    assert placed(axes.figure, [hidden]) == []


def test_long_lines_are_thinned_and_cells_are_not(axes):
    x = [n / 200 for n in range(1000)]
    texts = [str(n) for n in range(1000)]
    (line,) = placed(axes.figure, [Trace(axes, "", x, x, texts, texts, ("x", "y"))])
    assert [point[2] for point in line["points"]] == texts[::3]
    (heat,) = placed(axes.figure, [cells(axes, x, x, [0.5] * 1000, "Loss")])
    assert [point[2] for point in heat["points"]] == ["0.5"] * 1000
    assert heat["labels"] == ["Loss", ""]


@pytest.mark.parametrize(
    ("kind", "names"), [({"color": Scale("kind", style.cycle)}, ["up", "down"]), ({}, [""])]
)
def test_lines_and_bars_tell_their_name_their_mean_over_seeds_and_how_many(kind, names):
    rows = pd.DataFrame(
        {"kind": ["up"] * 3 + ["down"], "seed": [0, 1, 0, 0], "epoch": [1, 1, 2, 3],
         "accuracy": [0.5, 0.7, 0.9, 0.2]}
    )  # fmt: skip
    show = (Lines if kind else Bars)(Axis("epoch", "Epoch"), Axis("accuracy", "%", 100), **kind)
    made, traces = draw(Figure("f", "F", lambda found: rows, show), rows)
    made.draw_without_rendering()
    told = placed(made, traces)
    assert [line["name"] for line in told] == names
    assert [line["labels"] for line in told] == [["Epoch", "%"]] * len(names)
    texts = [point[2:] for line in told for point in line["points"]]
    assert texts == [["1", "60.0 ± 14.1 (n = 2)"], ["2", "90.0"], ["3", "20.0"]]


@pytest.mark.parametrize("case", SWEEPS)
def test_in_a_sweep_a_reading_that_names_a_setting_names_every_one(case):
    """Of the readings that golden files hold."""
    drawn = json.loads((GOLDEN / f"{case}.json").read_text(encoding="utf-8"))["figures"]
    named = {
        file: set(re.findall(r"^With ([^:\n]+):", told["reading"], re.MULTILINE))
        for file, told in drawn.items()
    }
    every = set().union(*named.values())
    assert len(every) > 1
    assert all(names in (set(), every) for names in named.values())
