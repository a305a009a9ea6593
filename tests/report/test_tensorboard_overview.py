"""What a person sees first in TensorBoard: a run for each trial and seed, a few dozen at most."""

import importlib
import inspect
import shlex
import sys
from functools import partial

import pytest
import results
import test_tensorboard
from test_tensorboard import SIZES, Reader, charts_of, folder, png, row

from tfprune import layout
from tfprune.errors import InputError
from tfprune.pages import tensorboard
from tfprune.pages.tensorboard import overview

__all__ = ["folder"]  # A fixture.


# The reader of the overview.
published = partial(test_tensorboard.published, of=layout.OVERVIEW)


def runs(folder, rows):
    """The names of the overview's runs, without the one of the figures."""
    return sorted(set(published(folder, rows).events.Runs()) - {overview.FIGURES})


# ---------------------------------------------------------------- which runs there are
RANDOM = {"trial": "t-2", "criterion": "random"}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([{}], ["seed 0"]),
        ([{}, {"seed": 3}], ["seed 0", "seed 3"]),
        ([{}, {"branch": "redense"}], ["redense/seed 0", "trunk/seed 0"]),
        ([{}, RANDOM], ["magnitude/seed 0", "random/seed 0"]),
        (
            [{}, RANDOM | {"noise_fraction": 0.25}],
            ["magnitude, 40% label noise/seed 0", "random, 25% label noise/seed 0"],
        ),
        # What differs is not among the settings.
        ([{}, {"trial": "t-2"}], ["digits-magnitude-1/seed 0", "t-2/seed 0"]),
        # PEG's methods, which differ in criterion or retraining.
        (
            [{"method": "lr_rewind"}, RANDOM | {"method": "random"}],
            ["lr_rewind/seed 0", "random/seed 0"],
        ),
        # A path is no folder.
        (
            [{"dataset": "npz:a/b.npz"}, {"trial": "t-2", "dataset": "digits"}],
            ["digits/seed 0", "npz:a_b.npz/seed 0"],
        ),
    ],
)
def test_a_run_is_named_by_what_differs(tmp_path, changes, names):
    rows = []
    for change in changes:
        one = {"trial": "digits-magnitude-1", "seed": 0, "criterion": "magnitude"} | change
        rows += [row(level=level, **one) for level in (1, 2)]
    assert runs(tmp_path, rows) == names


def many(trials, seeds, levels=2, branches=("",)):
    return [
        row(f"digits-magnitude-{trial}", seed, level, noise_fraction=trial / 100, branch=branch)
        for trial in range(trials)
        for seed in range(seeds)
        for branch in branches
        for level in range(1, levels + 1)
    ]


@pytest.fixture
def room_for_four(monkeypatch):
    monkeypatch.setattr(overview, "MOST_RUNS", 4)


def test_the_most_runs_are_no_more_than_tensorboard_selects():
    assert overview.MOST_RUNS + 1 <= 40  # And the figures.


@pytest.mark.usefixtures("room_for_four")
def test_trials_and_seeds_that_do_not_fit_are_means_over_seeds(tmp_path):
    assert len(runs(tmp_path / "a", many(2, 2))) == 4
    name = "2% label noise/mean of 2"
    found = runs(tmp_path / "b", many(3, 2))
    assert found == [name.replace("2%", "1%"), name, name.replace("2% label", "no label")]
    accuracy = Reader(tmp_path / "b" / layout.OVERVIEW).scalar(name, "accuracy by level/test")
    assert accuracy == [(n, pytest.approx(0.9 - n / 10 - 0.005)) for n in (1, 2)]


@pytest.mark.usefixtures("room_for_four")
def test_branches_go_before_trunks_and_single_points_before_curves(tmp_path):
    assert len(runs(tmp_path / "a", many(3, 1, branches=("", "redense")))) == 3
    single = [row(f"digits-dense-{n}", 0, 0, criterion="none", width=n) for n in (2, 3)]
    found = runs(tmp_path / "b", many(3, 1) + single)
    assert len(found) == 3
    assert not any("width" in name for name in found)


@pytest.mark.usefixtures("room_for_four")
def test_how_many_trials_found_no_room_is_said(tmp_path):
    results.write(tmp_path, many(7, 1))
    found = tensorboard.publish(tmp_path)
    assert (len(found.runs), found.left_out) == (4, 3)
    *_, last = tensorboard.how_to_open(tmp_path, found)
    assert last == "it shows 4 of 7 trials; figures show all"


def test_runs_whose_names_are_of_the_past_are_gone(tmp_path):
    assert runs(tmp_path, many(1, 1)) == ["seed 0"]
    assert runs(tmp_path, many(2, 1)) == ["1% label noise/seed 0", "no label noise/seed 0"]
    assert not (tmp_path / layout.OVERVIEW / "seed 0").exists()


# ---------------------------------------------------------------- its pages
def test_every_chart_has_a_curve(folder):
    reader = published(folder)
    tags = set(reader.events.Runs()["random/seed 0"]["tensors"])
    for patterns in charts_of(folder / layout.OVERVIEW).values():
        assert all(any(overview.re.search(p, tag) for tag in tags) for p in patterns)


def test_images_are_the_figures_byte_for_byte(folder):
    expected = {tag: (*size, png(*size)) for tag, size in SIZES.items()}
    assert published(folder).images(overview.FIGURES) == expected


def test_a_figure_belongs_to_the_experiment_with_the_longest_name(tmp_path):
    rows = [row("digits-magnitude-1", 0, 1, experiment=name) for name in ("redense", "redense_b")]
    (tmp_path / layout.FIGURES).mkdir()
    for name in ("redense_line", "redense_b_line"):
        (tmp_path / layout.FIGURES / f"{name}.png").write_bytes(png(30, 30))
    images = published(tmp_path, rows).images(overview.FIGURES)
    assert set(images) == {"redense/line", "redense_b/line"}


def test_figures_that_are_gone_leave_tensorboard(folder):
    tensorboard.publish(folder)
    for file in (folder / layout.FIGURES).iterdir():
        file.unlink()
    assert published(folder).images(overview.FIGURES) == {}


def test_an_image_that_is_no_png_is_named(folder):
    (folder / layout.FIGURES / "other.png").write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(InputError, match="image other is not a PNG file: rebuild it"):
        tensorboard.publish(folder)


# ---------------------------------------------------------------- how it is opened
def test_the_printed_line_is_for_any_folder_and_this_python(tmp_path):
    folder = tmp_path / "it's my run; $HOME"
    python, flag, module, option, logdir = shlex.split(tensorboard.command(folder))
    assert (python, flag, option) == (sys.executable, "-m", "--logdir")
    assert logdir == str(folder / layout.OVERVIEW)
    assert "run_main()" in inspect.getsource(importlib.import_module(module))
