"""A query and documents of every kind, which the embedded models are tested with."""

from __future__ import annotations

import re

QUERY = "What causes climate change?"
DOCUMENTS = [
    "The weather is sunny today.",
    "Greenhouse gases trap heat in the atmosphere.",
    "Burning fossil fuels releases CO2, which warms the planet.",
    "",
    "Climate models divide the atmosphere into cells and step them through time. " * 60,
    "The café serves crème brûlée 🍮 from nine to five.",
]

_STATED = re.compile(
    r"What causes climate change\?.*?greenhouse gases\D+(0\.\d\d).*?CO2\D+(0\.\d\d)"
    r".*?The weather is sunny today\.\D+(0\.\d\d)",
    re.DOTALL,
)


def stated_scores(card: str) -> list[float]:
    """What a model's card says of the first three documents, in their order."""
    found = _STATED.search(card)
    assert found is not None, "the card states no scores of the climate example"
    gases, fuels, sunny = map(float, found.groups())
    return [sunny, gases, fuels]
