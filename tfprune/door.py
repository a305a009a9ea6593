"""How the program is called, for texts that tell how to call it again."""

from __future__ import annotations

from pathlib import Path


def program() -> str:
    """`python run.py` in a checkout, which has one, and `tfprune` where that is installed."""
    checkout = Path(__file__).parents[1]
    return "python run.py" if (checkout / "run.py").is_file() else "tfprune"
