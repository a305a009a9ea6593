"""How texts name the program."""

from tfprune import __main__, door


def test_a_checkout_is_told_of_run_py_and_an_installation_of_tfprune(monkeypatch, tmp_path, capsys):
    assert door.program() == "python run.py"
    monkeypatch.setattr(door, "__file__", str(tmp_path / "site-packages/tfprune/door.py"))
    assert door.program() == "tfprune"
    assert __main__.dispatch(["--help"]) == 0
    text = capsys.readouterr().out
    assert "tfprune EXPERIMENT --flags" in text
    assert "run.py" not in text
