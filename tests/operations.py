"""Counts what a network does, operation by operation, as a card would be asked to do it."""

from collections import Counter

from torch.utils._python_dispatch import TorchDispatchMode

VIEWS = {"select", "unsqueeze", "transpose", "permute", "view", "split_with_sizes", "unbind", "slice"}


class Operations(TorchDispatchMode):
    """Counts the operations inside of it by name, such as `mm`; `_local_scalar_dense` is one that waits for a card."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))

    @property
    def computing(self) -> int:
        """How many of them compute; the others look at what is there in another shape."""
        return sum(count for name, count in self.counts.items() if name not in VIEWS)
