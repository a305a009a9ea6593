"""Every experiment and sweep of SDD at smoke size, through the real run.py."""

import itertools

import pytest

from end_to_end.commands import (
    assert_complete,
    figures_unpainted,
    read_csv,
    read_rows,
    rows_of,
    run,
    run_all,
    run_unreported,
)
from tfprune import layout

JIT = "--jit=off"  # XLA takes longer to compile than these trainings take.
FURTHER = ["redense", "learning_distance", "random_reinit"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, compiled_once):
    """One output folder for all: what they share is trained once."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def processes(folder):
    return run_all(folder, dict.fromkeys(FURTHER, ("--preset=smoke", JIT)))


@pytest.mark.parametrize("name", FURTHER)
def test_every_experiment_ends_with_its_table_report_and_figures(folder, processes, name):
    assert_complete(processes[name], folder, name)
    assert rows_of(read_rows(folder), name)


@pytest.mark.usefixtures("processes")
def test_the_trunk_was_trained_once_for_all_of_them(folder):
    rows = read_rows(folder)
    trunks = [
        [row["stage"] for row in rows if row["experiment"] == name and not row["branch"]]
        for name in FURTHER
    ]
    assert all(first == second for first, second in itertools.pairwise(trunks))
    process = run_unreported("redense", "--preset=smoke", JIT, f"--output_dir={folder}")
    assert "0 stages trained, 6 reused" in process.stdout


@pytest.mark.usefixtures("processes")
def test_redense_keeps_its_landscapes_beside_the_stages(folder):
    mine = rows_of(read_rows(folder), "redense")
    rows = [row for row in mine if row["branch"]]
    trunk = {row["level"]: row for row in mine if not row["branch"]}
    assert len(rows) == 3
    for row in rows:
        path = read_csv(folder / row["interpolation"])
        assert [float(point["alpha"]) for point in path] == [0, 0.25, 0.5, 0.75, 1]
        # The path goes from the sparse network to the re-dense network itself.
        start = float(trunk[row["level"]]["train_loss"])
        assert abs(float(path[0]["train_loss"]) - start) < 1e-5
        assert abs(float(path[-1]["test_accuracy"]) - float(row["test_accuracy_last"])) < 1e-6
        assert abs(float(path[-1]["train_loss"]) - float(row["train_loss"])) < 1e-5
        assert float(row["barrier_height"]) >= 0


@pytest.mark.usefixtures("processes")
def test_lines_and_surfaces_are_around_the_stages_own_network(folder):
    rows = [row for row in read_rows(folder) if row["line"]]
    assert len(rows) == 4  # Three re-dense networks and the dense one.
    for row in rows:
        points = read_csv(folder / row["line"])
        losses = {
            at: [float(p["train_loss"]) for p in points if float(p["distance"]) == at]
            for at in (-1, 0, 1)
        }
        assert all(abs(loss - float(row["train_loss"])) < 1e-5 for loss in losses[0])
        rises = [
            (ahead + behind) / 2 - centre
            for behind, centre, ahead in zip(*losses.values(), strict=True)
        ]
        assert abs(float(row["sharpness"]) - sum(rises) / len(rises)) < 1e-9
        grid = read_csv(folder / row["surface"])
        (centre,) = [p for p in grid if float(p["x"]) == float(p["y"]) == 0]
        assert abs(float(centre["train_loss"]) - float(row["train_loss"])) < 1e-5


SMALL = ("--levels=2", "--train_epochs=2", "--lr_drop_epochs=", "--seeds=0", JIT)


@pytest.mark.parametrize(
    ("preset", "field"),
    [("criteria", "criterion"), ("noise_types", "label_noise"), ("retraining", "retrain")],
)
def test_every_sweep_comes_out_as_one_table(folder, preset, field):
    out = folder / preset
    with figures_unpainted():
        process = run("sparse_double_descent", f"--preset={preset}", *SMALL, f"--output_dir={out}")
    assert process.returncode == 0, process.stderr
    rows = read_rows(out)
    values = {row[field] for row in rows}
    assert len(values) >= 3
    assert len(rows) == 3 * len(values)
    table = (out / layout.TABLES / "sparse_double_descent_accuracy.md").read_text()
    assert all(value in table for value in values)


def test_an_explicit_flag_ends_a_presets_sweep_of_it(folder):
    out = folder / "one"
    process = run_unreported(
        "sparse_double_descent",
        "--preset=criteria",
        "--criterion=snip",
        *SMALL,
        f"--output_dir={out}",
    )
    assert process.returncode == 0, process.stderr
    assert {row["criterion"] for row in read_rows(out)} == {"snip"}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("redense", "--branch_levels=9"), ("--branch_levels=9", "0 to 2")),
        (("redense", "--alpha_step=0.3"), ("--alpha_step=0.3", "divides 1")),
        (("redense", "--directions=0"), ("--directions=0",)),
        (("random_reinit", "--sweep=criterium=random"), ("criterium", "criterion")),
        (("random_reinit", "--sweep=criterion=magic"), ("magic", "magnitude")),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, arguments, parts):
    out = tmp_path / "out"
    process = run(*arguments, "--preset=smoke", f"--output_dir={out}")
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert all(part in process.stderr for part in parts), process.stderr
    assert not out.exists()
