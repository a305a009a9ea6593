"""What a report cannot show as a run left it: lost or damaged files, pictures of what is gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pandas as pd
from etils import epath

from tfprune import files, layout, store
from tfprune.errors import DamagedFile, InputError

# Of stages and of pictures, so many are named.
_NAMED = 3


def damaged_stages(folder: epath.Path, results: pd.DataFrame) -> list[str]:
    """A sentence on the stages of results.csv whose files are not as they were when they finished.

    Weights and masks may be deleted: no report needs them.

    Args:
      folder: the output folder.
      results: rows of results.csv.
    """
    trained = results[results["train_epochs"].fillna(0) > 0]
    stages = sorted(trained[store.STAGE].unique())
    trials = sorted({stage.rpartition("/")[0] for stage in stages})
    looked_at = {
        **{trial: _damage_of_config(folder / trial / layout.CONFIG) for trial in trials},
        **{stage: _damage_of_stage(folder / stage) for stage in stages},
    }
    found = {name: damage for name, damage in looked_at.items() if damage}
    if not found:
        return []
    named = [f"{name} ({damage})" for name, damage in list(found.items())[:_NAMED]]
    return [
        f"{_some(named, len(found))}: what is shown of this is not whole; run the experiment "
        "again, which makes it anew"
    ]


def _damage_of_stage(stage: epath.Path) -> str:
    if not (stage / layout.METRICS).exists():
        return f"{layout.METRICS} is gone"
    try:
        found = (files.damage_of_sealed(sealed, large=False) for sealed in stage.glob("*.json"))
        return next(filter(None, found), "")
    except InputError as error:
        return str(error)


def _damage_of_config(path: epath.Path) -> str:
    if not path.exists():
        return f"{path.name} is gone"
    try:
        store.read_about(path)
    except DamagedFile as error:
        return f"{path.name}: {error.what}"
    except InputError as error:
        return str(error)
    return ""


def old_pictures(
    folder: epath.Path, experiment: str, shown: Collection[str], others: Iterable[str]
) -> list[str]:
    """A sentence on an experiment's pictures that are there, and not drawn now; they stay.

    Args:
      folder: the output folder.
      experiment: its name.
      shown: the names of its figures, without folder and suffix.
      others: the names of all experiments, one of which may begin like this.
    """
    begins = [name for name in others if name != experiment and name.startswith(f"{experiment}_")]
    old = sorted(
        f"{layout.FIGURES}/{path.name}"
        for path in (folder / layout.FIGURES).glob(f"{experiment}_*")
        if path.suffix[1:] in layout.FIGURE_FORMATS
        and path.stem not in shown
        and not any(path.stem.startswith(f"{name}_") for name in begins)
    )
    if not old:
        return []
    be = "is" if len(old) == 1 else "are"
    return [
        f"{_some(old[:_NAMED], len(old))} {be} of results that are no longer there, and not shown: "
        "run the experiment again, or delete it"
    ]


def _some(named: list[str], count: int) -> str:
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return f"{', '.join(named)}{more}"
