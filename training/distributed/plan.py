"""Which windows are visited when, by whom, and how fast is learned: pure arithmetic on seeds, epochs and ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cluster.errors import ConfigError
from training.core.windows import Ints

MIN_STEPS = 20
"""Steps an epoch has at least, by smaller batches and denser origins, while there are windows for them."""
REFERENCE_BATCH = 32
WARM_UP_RATIO = 0.15
START_RATIO, END_RATIO = 0.05, 0.01


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The steps of a training, the same whether it is interrupted or not and however many workers share it.

    Neighbouring origins give windows that differ in one row, so an epoch takes only every `stride`-th origin, from
    another first one each time: after `stride` epochs each was visited once. All is drawn from (seed, epoch), so a
    resumed run needs no state of a random number generator.

    Parameters
    ----------
    windows
        N, training windows.
    batch_size, stride
        The largest wanted; see `MIN_STEPS`.
    max_epochs
        Epochs that the learning rate is planned over.
    learning_rate
        At the peak, for a batch of 32; other batches get it times sqrt(batch / 32).
    seed
        Of the order.
    world_size
        Workers that share each batch.

    References
    ----------
    Malladi et al. (2022), On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, for the square root;
    Smith and Topin (2019), Super-Convergence, for warm-up and decay in one cycle.
    """

    windows: int
    batch_size: int
    stride: int
    max_epochs: int
    learning_rate: float
    seed: int
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.windows < self.world_size:
            raise ConfigError(
                f"num_workers: got {self.world_size} workers for {self.windows} training windows, "
                "expected at least one window a worker; use fewer workers",
                field="num_workers",
            )

    @property
    def used_stride(self) -> int:
        """Origins from one to the next within an epoch."""
        return max(1, min(self.stride, self.windows // (self.batch_size * MIN_STEPS)))

    @property
    def used_batch_size(self) -> int:
        """Windows in a batch, all workers together: the same number for each."""
        wanted = min(self.batch_size, max(1, self.windows // self.used_stride // MIN_STEPS))
        return max(1, wanted // self.world_size) * self.world_size

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return self.windows // self.used_stride // self.used_batch_size

    def order(self, epoch: int, rank: int = 0) -> Ints:
        """Return (steps, used_batch_size / world_size): the windows one worker visits in an epoch, from 1."""
        stride, batch = self.used_stride, self.used_batch_size
        turn, phase = divmod(epoch - 1, stride)
        first = np.random.default_rng([self.seed, 0, turn]).permutation(stride)[phase]
        origins = np.arange(first, self.windows, stride)
        chosen = np.random.default_rng([self.seed, 1, epoch]).permutation(origins)[: self.steps * batch]
        return chosen.reshape(self.steps, batch)[:, rank :: self.world_size]

    def dropout_seed(self, epoch: int, rank: int = 0) -> int:
        """Return the seed of a worker's dropout masks in an epoch."""
        return int(np.random.SeedSequence([self.seed, 2, epoch, rank]).generate_state(1)[0])

    def sample(self, count: int) -> Ints:
        """Return up to `count` windows, each at most once, the same for every worker."""
        chosen: Ints = np.random.default_rng([self.seed, 3]).permutation(self.windows)[:count]
        return chosen

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0 through all epochs."""
        total = self.steps * self.max_epochs
        warm = max(1, math.ceil(total * WARM_UP_RATIO))
        peak = self.learning_rate * math.sqrt(self.used_batch_size / REFERENCE_BATCH)
        if step < warm:
            return peak * (START_RATIO + (1 - START_RATIO) * step / warm)
        done = (step - warm) / max(1, total - warm)
        return peak * (END_RATIO + (1 - END_RATIO) * (1 + math.cos(math.pi * done)) / 2)
