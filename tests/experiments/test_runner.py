import pytest

from tfprune import layout
from tfprune.claims import claim
from tfprune.errors import InputError
from tfprune.experiments import runner


class Made(Exception):
    """Instead of a report."""


@pytest.mark.parametrize("there", [True, False])
def test_a_folders_report_is_claimed_while_it_is_made_so_the_last_to_read_writes_last(
    tmp_path, monkeypatch, there
):
    def build(folder, *_):
        with claim(tmp_path / layout.claim_file(layout.REPORT)) as mine:
            assert mine == (not there)
        raise Made

    if there:
        (tmp_path / layout.RESULTS).write_text("experiment,trial,seed,branch,level\n")
    monkeypatch.setattr(runner.report, "build_report", build)
    monkeypatch.setattr(runner, "mend_results", lambda folder: "")
    with pytest.raises(Made):
        runner.show(str(tmp_path))


def test_a_report_of_nothing_writes_nothing(tmp_path):
    with pytest.raises(InputError, match="run an experiment first"):
        runner.show(str(tmp_path / "nowhere"))
    assert not list(tmp_path.iterdir())
