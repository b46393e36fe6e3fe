"""Memory of the compiled function: its arguments and its larger intermediates.

Letters: T encoder steps, P decoder positions.
"""

from forecaster.models.compiled.layers import Layers

QUERIES = 4  # decoder positions that attend together: keys and values are read once for all of them
MOST_STEPS = 256  # T + P


class Pass:
    """Arguments as IR values, and places of intermediates in scratch; a step or position takes ``hidden`` vectors."""

    def __init__(self, layers: Layers, hidden: int, heads: int, horizon: int):
        self.constants, self.scratch, self.shared, self.observed, self.contexts, *rest = layers.function.args
        self.out, self.steps = rest
        place = layers.scratch.put
        self.hidden, self.heads, self.horizon = hidden, heads, horizon
        self.selected, self.states, self.cell = place(hidden), place(2 * hidden), place(hidden)
        self.local, self.enriched, self.queries = (place(horizon * hidden) for _ in range(3))
        self.keys, self.values = (place(MOST_STEPS * hidden) for _ in range(2))
        self.attention = place(QUERIES * heads * MOST_STEPS)

    def share(self, query: int, head: int) -> int:
        """Place of the attention of one query and head, a vector for each key."""
        return self.attention + (query * self.heads + head) * MOST_STEPS
