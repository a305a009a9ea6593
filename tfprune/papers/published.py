"""The papers' printed numbers, as data: one CSV per paper in the folder `published`.

Columns, one row per printed number:

- `table`: as printed ("2"), or the figure or section that has the number ("figure 2"). `model`,
  `dataset`, `noise_fraction`: as the flags of a run spell them.
- `method`: `dense`; PEG's as `methods` says; `dense_subset`: dense networks trained on what the
  sparse one gets right; `one_shot_and_width_scaling`: the overlap of the two; `most_worsened`,
  `most_improved`, `least_affected`: the examples that `lr_rewind` affects so. PM prunes weights
  (`finetune`, `lr_rewind`) or channels (`channel_finetune`, `channel_lr_rewind`), and sets `small`
  or `channel_small` beside them: networks of as many weights, trained from scratch. GST's
  `prune_filters`: filters pruned during training. SDD rewinds weights.
- `at`: `optimal`, the level of the best validation error; `dense`, level 0; SDD's other sampled
  sparsities, `overfitting`, `first_sweet_spot`, `second_sweet_spot`, `underfitting` (its section
  3.2); `level_5`, after five cycles; `sparsity_0.5`, pruned to it in one shot; `last`, after the
  last pruning event; `highest` and `lowest`, of the levels used; or `runs`, a statistic over all
  runs of the figure.
- `metric`: `sparsity_percent`; `weights_remaining_percent`; `test_error_percent`; `noisy_loss` and
  `original_loss`, and `..._change` of them from dense to optimal, nats; `jaccard`;
  `val_accuracy_percent`, of what PM calls validation data; `train_loss`, nats;
  `test_accuracy_percent`; `parameters_removed_percent`; `accuracy_stability_pearson`, the
  correlation of final test accuracy with mean stability, and `..._p`, its p-value.
- `mean`, `std`: as printed, std empty where none is; `n`: seeds, empty where the paper does not
  say; `note`: misprints, bounds, and what other tables print for the same runs.
"""

from __future__ import annotations

from importlib import resources

import pandas as pd

from tfprune.errors import unknown_name
from tfprune.papers.items import PAPERS

_TEXT = ("table", "model", "dataset", "method", "at", "metric", "note")


def published(paper: str, table: str | int | None = None) -> pd.DataFrame:
    """A paper's printed numbers.

    Args:
      paper: its short name, in any case.
      table: one of its tables, as printed; all if None.

    Returns:
      The columns above, in the paper's order; `mean` and `std` are float64, NaN where nothing is
      printed, and texts are empty there.

    Raises:
      SettingError: there is no such paper, or no such table of it.
    """
    if paper.upper() not in PAPERS:
        raise unknown_name("paper", paper.upper(), PAPERS)
    source = resources.files("tfprune.papers") / "published" / f"{paper.lower()}.csv"
    with source.open(encoding="utf-8") as file:
        numbers = pd.read_csv(file, dtype=dict.fromkeys(_TEXT, "str"))
    numbers = numbers.fillna(dict.fromkeys(_TEXT, ""))
    if table is None:
        return numbers
    if str(table) not in set(numbers["table"]):
        raise unknown_name("table", str(table), numbers["table"].unique())
    return numbers[numbers["table"] == str(table)].reset_index(drop=True)
