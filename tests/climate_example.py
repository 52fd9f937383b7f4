"""A query and documents of every kind, which the embedded models are tested with."""

from __future__ import annotations

QUERY = "What causes climate change?"
DOCUMENTS = [
    "The weather is sunny today.",
    "Greenhouse gases trap heat in the atmosphere.",
    "Burning fossil fuels releases CO2, which warms the planet.",
    "",
    "Climate models divide the atmosphere into cells and step them through time. " * 60,
    "The café serves crème brûlée 🍮 from nine to five.",
]
