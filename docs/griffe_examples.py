"""For the reference's pages: a docstring's `Example:` is code, as an `Examples:` would be."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Spells the section's name as griffe knows it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE
            )
