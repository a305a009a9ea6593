"""The report: from files alone, the same bytes every time, and honest about what is missing."""

import dataclasses
import html
import json
import re
import shutil
import subprocess
import sys

import pandas as pd
import peg
import pytest
import sdd
from made_up import NOISE
from results import write
from wording import says

from tfprune import files, layout, store
from tfprune.errors import InputError
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.pages import report, runs
from tfprune.report.experiment import Drawn

EXPERIMENT = "sparse_double_descent"
FIGURES = [
    f"figures/{EXPERIMENT}_{name}.png"
    for name in ("accuracy", "dynamics", "memorization", "memorization_by_sparsity")
]


def text_of(folder) -> str:
    return html.unescape((folder / layout.REPORT).read_text())


def test_the_whole_report_of_a_dip_and_a_rise(make_folder):
    folder = make_folder(skip=[(0, 2, 5), (0, 2, 6)])
    built = report.build_report(folder)
    assert built.file == folder / layout.REPORT
    page = text_of(folder)
    assert re.findall(r'<a href="(figures/\S+)"', page) == FIGURES
    assert all((folder / file).read_bytes().startswith(b"\x89PNG") for file in FIGURES)
    assert page.count("data:image/png;base64,") == len(FIGURES)
    tabled = [f"tables/{table.name}.csv" for table in built.tables[EXPERIMENT]]
    assert f"tables/{EXPERIMENT}_pruning_efficacy.csv" in tabled
    assert all((folder / file).exists() and f'href="{file}"' in page for file in tabled)
    facts = ["seed 2: no result at levels 5, 6", "67 stages begun, without a result"]
    facts += ["SDD figures 3, 10 and 12", "run.py sparse_double_descent --noise_fraction=0.4"]
    assert says(page, *facts, "CPU, 2 cores")


def attributes(page: str, name: str) -> list[str]:
    """Of what a browser loads, follows or finds: nothing that stands in a script."""
    return re.findall(rf'<[^<>]+\s{name}="([^"]*)"', re.sub(r"(?s)<script.*?</script>", "", page))


def words(markup: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", "", markup).split()))


@pytest.fixture(scope="module")
def of_many(tmp_path_factory):
    """An output folder of two experiments, one of them unknown, and of one seed; only read."""
    folder = tmp_path_factory.mktemp("of_many")
    for name in ("sparse_double_descent", "mystery"):
        sdd.make(folder, levels=2, seeds=(0,), experiment=name)
    report.build_report(folder)
    return folder


def test_the_page_loads_nothing_and_its_links_exist(of_many):
    page = (of_many / layout.REPORT).read_text()
    assert not re.search(r"<(link|iframe)\b|url\(|@import|https?://(?!localhost:)", page)
    sources, links, ids = (attributes(page, name) for name in ("src", "href", "id"))
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    # TensorBoard's own, where someone has opened it.
    files_linked = [link for link in links if not re.match(r"#|http://localhost", link)]
    assert {"results.csv", "tables/mystery_accuracy.csv"} <= set(files_linked)
    assert all((of_many / link).is_file() for link in files_linked)
    anchors = {link.removeprefix("#") for link in links if link.startswith("#")}
    assert {"sparse_double_descent", "mystery", "run"} <= anchors <= set(ids)
    assert len(ids) == len(set(ids))


def test_every_figure_has_an_alt_text_a_caption_a_reading_and_its_place_in_the_paper(of_many):
    found = re.findall(r"(?s)<figure.*?</figure>", (of_many / layout.REPORT).read_text())
    assert len(found) == len(list(of_many.glob("figures/*.png"))) == 5
    for figure in found:
        title, reading, where = (
            words(" ".join(re.findall(rf"(?s)<{tag}\b.*?</{tag}>", figure)))
            for tag in ("strong", "span", "small")
        )
        assert reading.endswith(".")
        assert html.unescape(attributes(figure, "alt")[0]) == f"{title} {reading}"
        (told,) = re.findall(r"(?s)<script[^>]*>(.*?)</script>", figure)
        assert json.loads(told)[0]["points"]
        assert "In the paper: SDD" in where or "mystery" in title


def test_what_was_run_is_said_once_for_stages_that_experiments_share(of_many):
    page = words(text_of(of_many))
    assert "2 stages, 40 epochs, 0.4 s of training" in page
    assert page.count("tfprune 0.1.0, tensorflow 2.21.0") == 1
    parts = ["Accuracy against sparsity.", "Last test accuracy, mean", "tfprune 0.1.0"]
    assert [page.index(part) for part in parts] == sorted(page.index(part) for part in parts)
    assert page.count("26 November 2026, 17:05 UTC · a-host") == 1


def test_experiments_stand_paper_by_paper_as_they_are_listed_and_unknown_ones_last(tmp_path):
    known = ["sparse_double_descent", "redense", "leave_out", "utility_size", "flatness"]
    assert [name for name in EXPERIMENTS if name in known] == known
    rows = [peg.row("lr_rewind", 0, 0, 5.0, experiment=name) for name in ["an_own_one", *known]]
    built = report.build_report(write(tmp_path, rows))
    assert list(built.tables) == [*known, "an_own_one"]
    headings = re.findall(r'<h2 id="(\w+)">', text_of(tmp_path))
    assert headings == [*known, "an_own_one", "trials", "run"]


def test_a_figure_of_one_seed_says_so_and_one_of_several_does_not():
    info = Drawn("figures/a_b.png", "A", "Accuracy falls.", "")
    one, two = (pd.DataFrame({"trial": ["t"] * n, "seed": range(n)}) for n in (1, 2))
    assert report.reading(info, one) == f"Accuracy falls. {report.ONE_SEED}"
    assert report.reading(info, two) == "Accuracy falls."
    told = dataclasses.replace(info, reading="With one seed, nothing is told.")
    assert report.reading(told, one) == told.reading
    assert report.reading(dataclasses.replace(info, reading=""), two) == report.NOTHING_YET


def test_stages_without_a_result_are_named_as_unfinished(make_folder):
    folder = make_folder(levels=2, seeds=(0,))
    for stage in folder.glob("trials/*/seed_0/level_*"):
        files.write_json(stage / layout.RESULT, {})
    assert runs.unfinished(folder) == []
    begun = "digits-lenet-00000000/seed_0/level_02"
    files.write_text_atomic(folder / layout.TRIALS / begun / "start.npz", "")
    assert runs.unfinished(folder) == [f"1 stage begun, without a result: {begun}"]


def test_a_trial_of_branches_of_another_has_the_settings_of_the_other(make_folder):
    folder = make_folder(levels=1, seeds=(0, 1))
    path = folder / layout.RESULTS
    # The trial is another, and its stage is where it was.
    path.write_text(path.read_text().replace(",digits-lenet-00000000,", ",digits-other-11111111,"))
    report.build_report(folder)
    page = words(text_of(folder))
    shared = "with the settings of digits-lenet-00000000, whose training it shares"
    assert says(page, shared, "CPU, 2 cores")
    assert "are not there yet" not in page


def test_of_a_damaged_file_the_page_names_it_and_shows_the_rest(make_folder):
    make_folder(levels=3, seeds=(0,), experiment="mystery")
    folder = make_folder(levels=3, seeds=(0,))
    report.build_report(folder)
    damaged = folder / "trials/digits-lenet-00000000/seed_0/level_02/metrics.csv"
    damaged.write_text("epoch\n1\n")
    said = []
    with pytest.raises(InputError, match=r"not whole: .*level_02/metrics\.csv lacks"):
        report.build_report(folder, tell=said.append)
    assert not any("figures/" in sentence for sentence in said)  # Nothing is left over.
    page = text_of(folder)
    assert f"{damaged} lacks" in page
    shown = {"figures/mystery_accuracy.png", "tables/sparse_double_descent_accuracy.csv"}
    assert shown <= set(attributes(page, "href"))


# What a reader does: points at a figure, filters and sorts the trials.
_READER = """
const [narrow, wide] = [frames[0], frames[1]].map(({document: page}) => [
  page.documentElement.scrollWidth, page.documentElement.clientWidth,
  page.querySelector(".scroll").scrollWidth]);
const page = frames[1].document, shown = page.querySelector(".frame");
const box = shown.querySelector("img").getBoundingClientRect();
const [x, y] = JSON.parse(shown.querySelector("script").textContent)[0].points[1];
shown.dispatchEvent(new frames[1].PointerEvent("pointermove",
  {clientX: box.left + x * box.width / 1e4 + 2, clientY: box.top + y * box.height / 1e4 - 2}));
const table = page.querySelector("section[aria-labelledby=trials] table");
const names = () => [...table.tBodies[0].rows].filter((row) => !row.hidden)
  .map((row) => row.cells[0].textContent);
const highest = [...table.tHead.rows[0].cells]
  .find((cell) => cell.textContent === "highest test (%)");
highest.click();
const up = names();
highest.click();
const down = names();
const input = table.closest(".scroll").previousElementSibling.querySelector("input");
input.value = "random 20%";
input.dispatchEvent(new frames[1].Event("input"));
document.title = JSON.stringify({narrow, wide, width: box.width,
  tip: page.querySelector(".tip").textContent, up, down, filtered: names()});
"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_in_a_browser_the_page_fits_and_tells_values_and_its_trials_sort_and_filter(make_folder):
    folder = make_folder(NOISE, levels=2, seeds=(0, 1))
    report.build_report(folder)
    # Iframes, for a window has a least width.
    frames = [
        f'<iframe src="{layout.REPORT}" width="{width}" height="900" style="border:0"></iframe>'
        for width in (400, 1280)
    ]
    script = f"<script>onload = () => {{ {_READER} }}</script>"
    (folder / "frames.html").write_text("".join([*frames, script]))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    options = ["--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [*command, *options, "--dump-dom", (folder / "frames.html").as_uri()],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title is not None, done.stdout[:2000]
    found = json.loads(html.unescape(title[1]))
    (narrow, narrow_window, table), (wide, wide_window, _) = found["narrow"], found["wide"]
    # A scroll bar takes a few pixels of the window.
    assert 380 <= narrow_window <= 400
    assert 1260 <= wide_window <= 1280
    assert (narrow, wide) == (narrow_window, wide_window)
    assert table > narrow_window  # So that it is the table's own box that scrolls.
    assert found["width"] > 0.6 * wide_window
    means = store.read_results(folder).query("level == 1 and noise_fraction == 0.2")
    mean = 100 * means.query("criterion == 'magnitude'")["train_accuracy"].mean()
    assert found["tip"].startswith(f"magnitude\nSparsity (%): 20.0\nTrain accuracy (%): {mean:.1f}")
    assert found["up"] == found["down"][::-1]
    assert len(found["up"]) == 4
    assert found["filtered"] == ["20% label noise, random pruning"]


def test_the_same_files_give_the_same_bytes_and_need_no_checkpoints(make_folder):
    folder = make_folder(levels=4, seeds=(0, 1))

    def built() -> dict[str, bytes]:
        report.build_report(folder)
        made = [*folder.glob("figures/*"), *folder.glob("tables/*"), folder / layout.REPORT]
        return {path.name: path.read_bytes() for path in made}

    first = built()
    for name in (layout.FIGURES, layout.TABLES):
        shutil.rmtree(folder / name)
    assert len(first) == 13
    assert built() == first


def test_a_folder_that_is_still_being_filled_says_what_is_not_there(make_folder):
    folder = make_folder(levels=3, seeds=(0, 1))
    config = folder / "trials/digits-lenet-00000000/seed_0/config.json"
    record = files.read_json(config)
    record["config"]["seeds"] = [0, 1, 2]
    files.write_json(config, record)
    (run,) = runs.runs(folder, store.read_results(folder))
    assert run.missing == ("seed 2: no level is there yet", "levels 3 to 22 are not there yet")


def test_a_stage_that_trials_share_costs_once(make_folder):
    folder = make_folder(({}, {"criterion": "random"}), levels=2, seeds=(0,))
    results = store.read_results(folder)
    assert runs.stage_seconds(results) == pytest.approx(0.8)
    results.loc[results["level"] == 0, "stage"] = "trials/dense/seed_0/level_00"
    assert runs.stage_seconds(results) == pytest.approx(0.6)


def test_reports_and_tensorboards_folder_need_neither_tensorflow_nor_pyplot(make_folder):
    folder = str(make_folder(levels=2, seeds=(0,)))
    code = (
        "import sys; from tfprune.pages import report, tensorboard\n"
        f"report.build_report({folder!r}); tensorboard.publish({folder!r})\n"
        "bad = {'tensorflow', 'tf_keras', 'matplotlib.pyplot', 'tfprune.training.trainer',"
        " 'tfprune.studies.iterative', 'tfprune.models.build'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
