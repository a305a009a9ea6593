"""Names of trials."""

from __future__ import annotations

from tfprune import store
from tfprune.report import trials


def named(folder, **options):
    return list(trials.names(store.read_results(folder), **options).values())


def test_one_trial_is_named_by_its_data_model_and_noise(make_folder):
    assert named(make_folder(levels=1)) == ["digits, lenet_300_100, 40% symmetric noise"]


def test_several_trials_are_named_by_what_varies(make_folder):
    folder = make_folder([{}, {"dataset": "mnist", "criterion": "random"}], levels=1)
    assert named(folder) == ["digits, magnitude pruning", "mnist, random pruning"]


def test_trials_that_differ_only_in_the_legend_share_a_name(make_folder):
    folder = make_folder(
        [{}, {"criterion": "random"}, {"noise_fraction": 0.2}], levels=1
    )  # fmt: skip
    assert named(folder, without=["criterion"]) == [
        "20% label noise",
        "40% label noise",
        "40% label noise",
    ]


def test_trials_are_ordered_by_their_settings_not_by_their_names(make_folder):
    grid = [(n, c) for n in (0.4, 0.2) for c in ("random", "magnitude")]
    folder = make_folder([{"noise_fraction": n, "criterion": c} for n, c in grid], levels=1)
    table = trials.label_columns(store.read_results(folder))
    assert list(table.columns) == ["noise_fraction", "criterion"]
    assert table.to_numpy().tolist() == [
        [0.2, "magnitude"], [0.2, "random"], [0.4, "magnitude"], [0.4, "random"]
    ]  # fmt: skip


def test_trials_that_settings_do_not_tell_apart_have_a_column_of_names(make_folder):
    table = trials.label_columns(store.read_results(make_folder([{}, {}], levels=1)))
    assert table["trial"].tolist() == ["digits-lenet-00000000", "digits-lenet-00000001"]
    assert trials.label_columns(store.read_results(make_folder([{}], levels=1)).iloc[:1]).empty


def test_trials_that_no_column_tells_apart_go_by_their_own_name(make_folder):
    assert named(make_folder([{}, {}], levels=1)) == [
        "digits-lenet-00000000",
        "digits-lenet-00000001",
    ]
    results = store.read_results(make_folder([{}, {}], levels=1, columns=()))
    assert len(set(trials.names(results).values())) == 2


def test_a_column_that_varies_inside_a_trial_is_no_setting(make_folder):
    folder = make_folder(levels=2, seeds=(0,))
    store.merge_rows(
        folder,
        [
            {"experiment": "sparse_double_descent", "trial": "digits-lenet-00000000", "seed": 0,
             "level": level, "barrier": 0.1 * level}
            for level in range(2)
        ],
        ["barrier"],
    )  # fmt: skip
    assert "barrier" not in trials.settings(store.read_results(folder))


def test_noise_is_said_in_words():
    assert trials.describe({"label_noise": "none", "noise_fraction": 0.0}) == "no label noise"
    assert trials.describe({"label_noise": "pairflip"}) == "pairflip noise"
    assert trials.describe({"noise_fraction": 0.2}) == "20% label noise"
    assert trials.describe({"noise_fraction": 0.0}) == "no label noise"
    assert trials.describe({"rewind_to": "10ep", "width": 0.5}) == "rewind_to=10ep, width=0.5"
