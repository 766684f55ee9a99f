"""Which examples each step of each seed sees: made on the host, the same in every way of running.

A new shuffle for each epoch; the incomplete batch at its end is dropped, as torch's
``DataLoader(shuffle=True, drop_last=True)`` does.
"""

from __future__ import annotations

import collections
import threading

import numpy as np

_KEPT = 64  # epochs


def order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The shuffle of one epoch, int32 (n,)."""
    return np.random.default_rng([seed, epoch]).permutation(n).astype(np.int32)


class Batches:
    """Indices of batches by seed and step; recent shuffles are kept. Safe to share by threads."""

    def __init__(self, n: int, batch_size: int) -> None:
        self.n = n
        self.size = batch_size
        self.per_epoch: int = n // batch_size
        self._orders: collections.OrderedDict[tuple[int, int], np.ndarray] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()

    def window(self, seed: int, start: int, count: int, length: int) -> np.ndarray:
        """Batches `start` to `start + count`, int32 (length, batch_size), padded with zeros."""
        found = np.zeros((length, self.size), np.int32)
        done = 0
        while done < count:
            epoch, at = divmod(start + done, self.per_epoch)
            some = min(count - done, self.per_epoch - at)
            rows = self._order(seed, epoch)[at * self.size : (at + some) * self.size]
            found[done : done + some] = rows.reshape(some, self.size)
            done += some
        return found

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        key = (seed, epoch)
        with self._lock:
            if key in self._orders:
                self._orders.move_to_end(key)
                return self._orders[key]
        made = order(seed, epoch, self.n)
        with self._lock:
            self._orders[key] = made
            while len(self._orders) > _KEPT:
                self._orders.popitem(last=False)
        return made
