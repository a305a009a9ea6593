"""What a sentence says, whatever its words."""


def says(text, *facts):
    """Whether these stand in the text, one after the other."""
    rest = text
    for fact in facts:
        _, found, rest = rest.partition(fact)
        assert found, f"{fact!r} is not, or not in its place, in {text!r}"
    return True
