"""docs/figures.md, README.md's and the pages' tables are what the registries say now."""

import json
import re

import pytest

from experiments import index
from tfprune import papers
from tfprune.engine.costs import NETWORKS
from tfprune.experiments import cli
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.papers import items as paper_items

ROOT = index.ROOT
ITEMS = paper_items.items()


def anchors(page):
    """What a link to a heading of a page is called."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


def test_every_page_is_what_the_command_writes():
    for page, text in index.pages():
        assert page.read_text() == text, f"{page.name}: run python -m experiments.index"


# Numbered in the papers' text; of GST's appendices, in its code's file names and on our page.
NUMBERED = {
    "SDD": [f"figure {n}" for n in range(1, 15)],
    "PEG": [f"figure {n}" for n in ("1a", "1b", *range(2, 21))]
    + [f"table {n}" for n in range(1, 12)],
    "PM": [f"figure {n}" for n in range(1, 17)] + ["table 1", "table 2"],
    "GST": [f"figure {n}" for n in (*range(1, 7), "B1", "B2", "C1", "C2", "C3", "D1", "D2")]
    + [f"figure E{n}" for n in range(1, 7)] + ["table C1", "table F1"],
}  # fmt: skip


@pytest.mark.parametrize("paper", NUMBERED)
def test_every_figure_and_table_of_a_paper_is_an_item_once(paper):
    there = [item.item for item in ITEMS if item.paper == paper]
    assert len(there) == len(set(there))
    assert {n for n in there if re.match(r"(figure|table) \w*\d", n)} == set(NUMBERED[paper])
    assert set(NUMBERED) == set(paper_items.PAPERS)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{item.paper} {item.item}")
def test_an_item_names_presets_that_there_are_and_pages_that_there_are(item):
    assert item.run in paper_items.RUN
    is_made = item.run not in ("settings", "not made")
    assert bool(item.experiment) == bool(item.presets) == bool(item.files) == is_made
    assert is_made or item.departs
    if is_made:
        presets = EXPERIMENTS[item.experiment].presets
        assert {*item.presets, *filter(None, [item.ran])} <= set(presets)
    assert bool(item.where) >= (item.run in ("part", "reduced"))
    for target in item.where:
        page, _, anchor = target.partition("#")
        assert (ROOT / page).exists()
        assert not anchor or anchor in anchors(ROOT / page), target


# PEG: the families, or the sets of examples, that an item is made of.
MADE_OF = {
    "figure 1a": "lr_rewind extended_dense",
    "figure 6": "lr_rewind extended_dense",
    "figure 7": "lr_rewind width",
    "figure 8": "lr_rewind weight_rewind synflow snip random extended_dense",
    "figure 9": "tie rnd",
    "figure 10": "dense_subset",
    "figure 11": "lr_rewind width",
    "figure 12": "one_shot width_matched",
    "figure 13": "one_shot width_matched",
    "figure 14": "lr_rewind weight_rewind",
    "figure 15": "lr_rewind synflow random",
    "figure 17": "worsened_subsample random_subsample",
    "figure 19": "extended_dense",
    "figure 20": "width",
}


@pytest.mark.parametrize(
    "item", [i for i in ITEMS if i.paper == "PEG" and i.item in MADE_OF], ids=lambda i: i.item
)
def test_every_preset_that_an_item_names_trains_what_it_is_made_of(item, tmp_path):
    experiment = EXPERIMENTS[item.experiment]
    for preset in item.presets:
        argv = [f"--preset={preset}", f"--output_dir={tmp_path}"]
        options = cli.parse(experiment, argv).options
        names = (*options[0].methods, *getattr(options[-1], "leave_out_sets", ()))
        there = {name.partition(":")[0] for name in names}
        assert there >= set(MADE_OF[item.item].split()), preset


GOLDEN = ROOT / "tests/report/golden"


@pytest.mark.parametrize("experiment", papers.REPORTS)
def test_what_items_name_is_drawn_and_made(experiment):
    declared = {f"figures/{figure.name}" for figure in papers.REPORTS[experiment].figures}
    told = [json.loads(path.read_text()) for path in GOLDEN.glob(f"{experiment}-*.json")]
    tables = {name.removeprefix(f"{experiment}_") for one in told for name in one["tables"]}
    named = {file for item in paper_items.of_experiment(experiment) for file in item.files}
    assert named <= declared | {f"tables/{name}" for name in tables}


def test_every_experiment_makes_an_item():
    assert {item.experiment for item in ITEMS if item.experiment} == set(EXPERIMENTS)


@pytest.mark.parametrize(
    ("experiment", "preset", "trainings", "epochs"),
    [
        # 25 levels, 5 seeds, three noise levels.
        ("sparse_double_descent", "paper_mnist", 3 * 5 * 25, 3 * 5 * 25 * 200),
        # Three criteria share the dense network; six trainings at the sparse and re-dense levels.
        ("sparse_double_descent", "criteria", 3 * (1 + 3 * 17), 3 * (1 + 3 * 17) * 100),
        ("redense", "paper_mnist", 5 * (25 + 5), 5 * (25 + 5) * 200),
        ("random_reinit", "quick", 3 * 2 * 18, 3 * 2 * 18 * 100),
        ("generalization_stability", "fig2_vgg", 4 * 10, 4 * 10 * 325),
        ("pruning_as_noise", "fig5", 8 * 10, 8 * 10 * 325),
        ("utility_pruned", "paper_resnet20", 3 * 4 + 3 * 3, 12 * 200 + 9 * 400),
    ],
)
def test_trainings_are_those_that_the_program_plans(experiment, preset, trainings, epochs):
    found = index.planned(experiment, preset)
    assert (len(found), sum(one.epochs for one in found)) == (trainings, epochs)


def test_operations_are_forward_and_twice_that_backward():
    found = index.cost("utility_dynamics", "paper_vanilla_cnn")
    forward = NETWORKS["vanilla_cnn", "cifar10"].forward
    assert found.operations == 3 * forward * 50_000 * 600


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_gpu_hour_is_about_one_and_says_how_long_by_estimate(experiment):
    found = index.on_a_gpu(experiment, index.GPU_HOUR)
    minutes = found.seconds / 60
    assert 25 <= minutes <= 60
    assert cli.preset_summary(experiment, index.GPU_HOUR).startswith(
        f"About {minutes:.0f} minutes on one H200, an estimate: "
    )
    configs = cli.parse(EXPERIMENTS[experiment], [f"--preset={index.GPU_HOUR}"]).configs
    assert {len(config.seeds) for config in configs} <= {1, 3}
    assert {config.data.dataset for config in configs} <= {"mnist", "cifar10"}
