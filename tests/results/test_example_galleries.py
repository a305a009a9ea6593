"""Galleries hold the images they claim, with label and majority prediction; table 4."""

from __future__ import annotations

import numpy as np
import peg
import pytest
from sklearn.datasets import load_digits
from wording import says

from tfprune import files, store
from tfprune.errors import DamagedFile, InputError
from tfprune.results import example_galleries, report, style

FILE = "trials/t/seed_0/level_00/gallery-0123abcd.npz"
DIGITS = load_digits()
LEVELS = {"most_worsened": [9, 8], "most_improved": [1, 2, 3, 5], "least_affected": [4]}


def kind_arrays(kind, count, levels):
    """Digits number 0, 1, 2, ... as the examples; every third one is predicted wrong."""
    images = (DIGITS.images[:count] * 15).astype(np.uint8)[..., None]
    labels = DIGITS.target[:count]
    predictions = np.where(np.arange(count) % 3 == 0, (labels + 1) % 10, labels)
    arrays = {"images": images, "labels": labels, "predictions": predictions}
    arrays |= {"indices": np.arange(count), "score": np.linspace(1, 0, count)}
    return {f"{kind}/{name}": v for name, v in (arrays | {"levels": np.array(levels, int)}).items()}


def make(folder, counts=(20, 20, 20), levels=LEVELS, seeds=(0, 1), skip=(), names=None, **changes):
    """A trunk of ten levels, its gallery on the level-0 row of the first seed."""
    rows = [
        peg.row(
            "lr_rewind", level, seed, 5.0, experiment="example_galleries", gallery="",
            examples="" if (seed, level) in skip else "a.npz", **changes,
        )
        for level in range(10)
        for seed in seeds
    ]  # fmt: skip
    rows[0]["gallery"] = FILE
    arrays = {} if names is None else {"class_names": np.array(list(names))}
    for (kind, used), count in zip(levels.items(), counts, strict=True):
        arrays |= kind_arrays(kind, count, used)
    files.save_arrays(folder / FILE, arrays)
    return peg.write(folder, rows)


def gallery_of(folder):
    (gallery,) = example_galleries.galleries(folder, store.read_results(folder))
    return gallery


def panels(figure):
    return [axes for axes in figure.get_axes() if axes.get_images()]


def test_every_panel_shows_its_image_label_and_prediction(tmp_path):
    figure = example_galleries.images(gallery_of(make(tmp_path)))
    shown = panels(figure)
    assert len(shown) == 60
    for place, axes in enumerate(shown):
        number = place % 20
        (image,) = axes.get_images()
        np.testing.assert_array_equal(image.get_array(), DIGITS.images[number] * 15)
        assert image.get_clim() == (0, 255)  # Never stretched to the image's own range.
        label = DIGITS.target[number]
        wrong = number % 3 == 0
        assert axes.get_title() == f"L {label}  P {(label + 1) % 10 if wrong else label}"
        assert axes.title.get_color() == (style.VERMILLION if wrong else style.BLACK)


def test_classes_are_called_as_the_data_calls_them(tmp_path):
    def titles(names):
        folder = make(tmp_path / names[0], names=names)
        return [axes.get_title() for axes in panels(example_galleries.images(gallery_of(folder)))]

    words = ("nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    assert titles(words)[:3] == ["L nought\nP one", "L one\nP one", "L two\nP two"]
    assert titles(tuple("abcdefghij"))[0] == "L a  P b"
    assert titles(("a name of many words", *words[1:]))[0] == "L a name of ma…\nP one"


def test_each_kind_has_two_rows_of_ten_under_its_levels(tmp_path):
    figure = example_galleries.images(gallery_of(make(tmp_path)))
    headings = [part.get_suptitle() for part in figure.subfigs]
    worsened, improved, unaffected = headings
    assert says(worsened, "worsened", "16.8-13.4%")
    assert says(improved, "improved", "80-32.8%")
    assert says(unaffected, "Least affected", "41%")
    grids = [part.axes[0].get_gridspec() for part in figure.subfigs]
    assert [(grid.nrows, grid.ncols) for grid in grids] == [(2, 10)] * 3


def test_a_short_last_row_leaves_its_places_empty(tmp_path):
    figure = example_galleries.images(gallery_of(make(tmp_path, counts=(13, 10, 1))))
    assert [len(panels(part)) for part in figure.subfigs] == [13, 10, 1]
    assert [part.axes[0].get_gridspec().nrows for part in figure.subfigs] == [2, 1, 1]


def test_a_kind_without_levels_is_left_out_and_named(tmp_path):
    gallery = gallery_of(make(tmp_path, counts=(0, 20, 20), levels={**LEVELS, "most_worsened": []}))
    assert len(example_galleries.images(gallery).subfigs) == 2
    reading = example_galleries.mislabelled_reading(gallery)
    assert "7 of the 20 most improved, 7 of the 20 least affected" in reading  # 0, 3, ..., 18.
    assert "no level qualifies to rank the most worsened; n = 2 seeds" in reading


def test_a_gallery_without_any_example_is_no_figure(tmp_path):
    folder = make(tmp_path, counts=(0, 0, 0), levels=dict.fromkeys(LEVELS, ()))
    assert example_galleries.build(folder) == []


def test_colour_images_keep_their_colours(tmp_path):
    folder = make(tmp_path)
    arrays = files.load_arrays(folder / FILE)
    red = np.zeros((20, 8, 8, 3), np.uint8)
    red[..., 0] = 200
    files.save_arrays(folder / FILE, {**arrays, "most_worsened/images": red})
    first = panels(example_galleries.images(gallery_of(folder)))[0]
    np.testing.assert_array_equal(first.get_images()[0].get_array(), red[0])


def test_levels_stand_beside_those_of_table_4(tmp_path):
    folder = make(tmp_path)
    (table,) = report.build_tables(store.read_results(folder), "example_galleries", folder)
    numbers = table.numbers.set_index("kind")
    assert numbers["levels"].to_dict() == {
        "most_worsened": "8-9", "most_improved": "1-3, 5", "least_affected": "4"
    }  # fmt: skip
    assert numbers["highest"].tolist() == pytest.approx([0.8**8, 0.8, 0.8**4])
    assert numbers["lowest"].tolist() == pytest.approx([0.8**9, 0.8**5, 0.8**4])
    paper = table.shown.set_index("examples")["weights remaining, paper (%)"]
    assert paper.tolist() == ["1.4", "80-5.5", "100-1.4"]
    assert set(table.shown["seeds"]) == {"2"}


def test_table_4_has_no_number_for_noisy_data_or_another_width(tmp_path):
    for name, changes in (("noisy", {"noise": 0.15}), ("wide", {"width": 2.0})):
        folder = make(tmp_path / name, **changes)
        (table,) = report.build_tables(store.read_results(folder), "example_galleries", folder)
        assert set(table.shown["weights remaining, paper (%)"]) == {""}


def test_only_seeds_that_have_losses_at_every_level_used_are_counted(tmp_path):
    gallery = gallery_of(make(tmp_path, seeds=(0, 1, 2), skip=[(2, 8), (1, 7)]))
    assert (gallery.seeds, gallery.missing) == ((0, 1), (2,))  # No kind uses level 7.
    assert "n = 2 seeds, 2 not everywhere" in example_galleries.mislabelled_reading(gallery)


def test_a_file_that_is_gone_was_never_measured(tmp_path):
    folder = make(tmp_path)
    (folder / FILE).unlink()
    assert example_galleries.build(folder) == []
    assert report.build_tables(store.read_results(folder), "example_galleries", folder) == []


def test_a_file_that_is_damaged_or_of_something_else_is_named(tmp_path):
    folder = make(tmp_path)
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:1000])
    with pytest.raises(DamagedFile, match="gallery-0123abcd"):
        example_galleries.build(folder)
    files.save_arrays(folder / FILE, {"values": np.zeros(3)})
    with pytest.raises(InputError, match="has no least_affected/images"):
        example_galleries.build(folder)


def test_the_figure_is_written_and_named_after_the_paper(tmp_path):
    (info,) = example_galleries.build(make(tmp_path))
    assert info.file == "figures/example_galleries_examples.png"
    assert info.paper_figures == "PEG figure 16"
    assert (tmp_path / info.file).read_bytes().startswith(b"\x89PNG")


def test_a_table_made_of_files_is_left_out_where_no_folder_is_given(tmp_path):
    folder = make(tmp_path)
    assert report.build_tables(store.read_results(folder), "example_galleries") == []
