"""The torch training loop: one function for one process, for workers of a cluster, for CPU and GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from cluster.errors import ConfigError, TrainingDiverged
from training.core.component import State
from training.core.runner import Run
from training.core.windows import Ints
from training.distributed.plan import TrainingPlan

CLIP_NORM = 1.0
"""Largest norm of a gradient (Pascanu et al. 2013): one bad batch does not throw the weights away."""
EVALUATION_CHUNK = 1024
"""Windows forecast at a time where nothing is learned: some tens of megabytes of activations."""

START_WINDOWS = 4096
"""Training windows, drawn at random, that a network may look at for its first weights; nothing is learned backwards
from them, so that they cost what a third of as many do in training."""

LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": nn.functional.mse_loss,
    "absolute": nn.functional.l1_loss,
    "huber": nn.functional.huber_loss,
}
"""What is minimised, by name; Huber's turns from squared to absolute at one unit of the table."""


@dataclass(frozen=True, kw_only=True)
class Masks:
    """Where a network draws its dropout from.

    Parameters
    ----------
    generator
        On the network's device.
    common
        Whether all windows of a batch share one mask: the batch is then forecast by one thinned network.
    """

    generator: torch.Generator
    common: bool = False


class Network(nn.Module):
    """What the loop trains.

    `network(rows, known, masks)` maps the past (B, context, C) and what is known ahead (B, horizon, K) to
    (B, horizon, T); dropout is drawn from the masks, and is off where these are None.
    """

    def start(self, windows: Iterable[tuple[Tensor, Tensor]], masks: Masks) -> None:
        """Set first weights that follow from data, before any is learned; here none do.

        Parameters
        ----------
        windows
            Pasts (B, context, C) and futures (B, horizon, T) of training windows.
        masks
            For dropout.
        """


Build = Callable[[Mapping[str, Any], torch.Generator], Network]
"""Make a network from `job["network"]`, its first weights drawn from the generator, on the CPU."""


def train_network(run: Run, job: dict[str, Any], build: Build) -> State:
    """Minimise a network's loss on windows; stop early; return the best weights.

    Parameters
    ----------
    run
        Where it runs. With more than one worker torch.distributed is initialised by the runner; each batch is
        shared out, gradients are averaged, and the validation loss is summed over the workers, so that all take
        the same decision.
    job
        `table` (R, K) float32, scaled; `train`, `validation` first rows of windows, the latter maybe empty;
        `context`, `horizon` in rows; `targets` columns of the table to forecast; `known` columns that are known
        over the horizon, maybe none; `network` for `build`; `loss` of `LOSSES`, for both parts; `precision` auto,
        float32 or bfloat16; `patience` in epochs; and the numbers of a `TrainingPlan`:
        `batch_size`, `stride`, `max_epochs`, `learning_rate`, `seed`.
    build
        Makes the network.

    Returns
    -------
    State
        `weights`, `epochs`, `best_epoch`, `validation_loss`, and the losses of each epoch.

    Raises
    ------
    TrainingDiverged
        A loss became NaN or infinite.
    """
    return train(Training(run, job, build), run)


def train(training: Training, run: Run) -> State:
    """Start or resume a training, run its epochs with a report of each, and return its result."""
    state = run.resumed()
    if state is None:
        training.start()
    else:
        training.resume(state)
    while not training.finished:
        metrics = training.train_epoch()
        run.report(training.epoch, metrics, training.checkpoint() if run.rank == 0 else None)
    return training.result()


class Training:
    """A network on its way, between two epochs.

    Parameters
    ----------
    run, job, build
        As in `train_network`.
    """

    def __init__(self, run: Run, job: dict[str, Any], build: Build) -> None:
        self._rank, self._world_size = run.rank, run.world_size
        if run.world_size > 1 and not dist.is_initialized():
            raise ConfigError(f"{run.world_size} workers without torch.distributed: run with backend='torch'")
        names = ("batch_size", "stride", "max_epochs", "learning_rate", "seed")
        self._plan = TrainingPlan(
            windows=len(job["train"]), world_size=run.world_size, **{name: job[name] for name in names}
        )
        self._patience, self._loss = job["patience"], LOSSES[job["loss"]]
        self._device = pick_device()
        self._half = use_bfloat16(job["precision"], self._device)
        self._batches = WindowTable(job, self._device)
        self._validation = job["validation"]
        self._network = build(job["network"], torch.Generator().manual_seed(job["seed"])).to(self._device)
        self._gradients = FlatGradients(self._network, run.world_size)
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=job["learning_rate"], fused=True)
        self._best = _copied(self._network)
        self.epoch = 0
        self._best_epoch = 0
        self._losses: dict[str, list[float]] = {"training": [], "validation": []}

    @property
    def finished(self) -> bool:
        """Whether the epochs or the patience are used up."""
        return self.epoch >= self._plan.max_epochs or self.epoch - self._best_epoch >= self._patience

    def train_epoch(self) -> dict[str, float]:
        """Learn for one epoch, judge, remember the weights if they are the best; return the losses."""
        self.epoch += 1
        losses = {"training": self._learn()}
        if len(self._validation):
            losses["validation"] = self._judge()
        for part, loss in losses.items():
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"the {part} loss became {loss} in epoch {self.epoch}: lower learning_rate "
                    f"(peak now {self._plan.learning_rate:g} for a batch of 32)",
                    epoch=self.epoch,
                    learning_rate=self._plan.learning_rate,
                )
            self._losses[part].append(loss)
        if self._improved():
            self._best, self._best_epoch = _copied(self._network), self.epoch
        return {f"{part}_loss": loss for part, loss in losses.items()}

    def _improved(self) -> bool:
        """Whether the newest weights are the ones to keep; without validation windows they always are."""
        losses = self._losses["validation"]
        return not losses or self._best_epoch == 0 or losses[-1] < losses[self._best_epoch - 1]

    def _learn(self) -> float:
        """Go through the epoch's batches; return the mean loss over all workers."""
        plan, epoch = self._plan, self.epoch
        masks = Masks(generator=torch.Generator(self._device).manual_seed(plan.dropout_seed(epoch, self._rank)))
        batches = self._batches.starts(plan.order(epoch, self._rank), training=True)
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for step, starts in enumerate(batches):
            self._optimiser.param_groups[0]["lr"] = plan.rate((epoch - 1) * plan.steps + step)
            total += self._step(starts, masks)
        return float(_summed(total)) / (plan.steps * self._world_size)

    def _step(self, starts: Tensor, masks: Masks) -> Tensor:
        context, known, future = self._batches.gather(starts)
        with self._autocast():
            forecast = self._network(context, known, masks)
        loss = self._loss(forecast, future)
        self._gradients.clear()
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships it without types
        self._gradients.average()
        self._gradients.clip(CLIP_NORM)
        self._optimiser.step()
        return loss.detach()

    @torch.inference_mode()
    def _judge(self) -> float:
        """Return the validation loss, each worker adding its share."""
        share = np.arange(len(self._validation))[self._rank :: self._world_size]
        sums = torch.zeros(2, dtype=torch.float64, device=self._device)
        for first in range(0, len(share), EVALUATION_CHUNK):
            starts = self._batches.starts(share[first : first + EVALUATION_CHUNK], training=False)
            context, known, future = self._batches.gather(starts)
            with self._autocast():
                forecast = self._network(context, known)
            sums[0] += self._loss(forecast, future).double() * future.numel()
            sums[1] += future.numel()
        error, count = _summed(sums).tolist()
        return float(error / count)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._half)

    # -- states ------------------------------------------------------------------------------------------------

    def checkpoint(self) -> State:
        """Return all that the next epoch depends on; random numbers are drawn anew from (seed, epoch)."""
        moments = {
            name: {key: value.cpu().numpy().copy() for key, value in self._optimiser.state[parameter].items()}
            for name, parameter in self._network.named_parameters()
        }
        return {
            "epoch": self.epoch,
            "best_epoch": self._best_epoch,
            "losses": {part: np.array(losses) for part, losses in self._losses.items()},
            "weights": _arrays(_copied(self._network)),
            "best": _arrays(self._best),
            "moments": moments,
        }

    def start(self) -> None:
        """Set the first weights that follow from data, the same on all workers."""
        masks = Masks(generator=torch.Generator(self._device).manual_seed(self._plan.dropout_seed(0)))
        self._network.start(self._drawn(), masks)
        if self._world_size > 1:
            for parameter in self._network.parameters():
                dist.broadcast(parameter.detach(), 0)
        self._best = _copied(self._network)

    def _drawn(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pasts and futures of some training windows."""
        chosen = self._plan.sample(START_WINDOWS)
        for first in range(0, len(chosen), EVALUATION_CHUNK):
            starts = self._batches.starts(chosen[first : first + EVALUATION_CHUNK], training=True)
            context, _, future = self._batches.gather(starts)
            yield context, future

    def resume(self, state: State) -> None:
        """Go on from a checkpoint."""
        self.epoch, self._best_epoch = state["epoch"], state["best_epoch"]
        self._losses = {part: losses.tolist() for part, losses in state["losses"].items()}
        self._network.load_state_dict(_tensors(state["weights"]))
        self._best = {name: value.to(self._device) for name, value in _tensors(state["best"]).items()}
        for name, parameter in self._network.named_parameters():
            self._optimiser.state[parameter] = {
                key: torch.tensor(value, device=self._device) for key, value in state["moments"][name].items()
            }

    def result(self) -> State:
        """Return the best weights and how they were found."""
        validation = self._losses["validation"]
        return {
            "weights": _arrays(self._best),
            "epochs": self.epoch,
            "best_epoch": self._best_epoch,
            "validation_loss": validation[self._best_epoch - 1] if validation else None,
            "training_losses": np.array(self._losses["training"]),
            "validation_losses": np.array(validation),
        }


class WindowTable:
    """The table on the device, and windows gathered from it by index: no Python object for a sample, no loader.

    Parameters
    ----------
    job
        As in `train_network`.
    device
        Where the table lies.
    """

    def __init__(self, job: dict[str, Any], device: torch.device) -> None:
        self._table = torch.tensor(job["table"], device=device)
        self._train, self._validation = job["train"], job["validation"]
        self._context = job["context"]
        self._offsets = torch.arange(job["context"] + job["horizon"], device=device)
        self._targets = torch.tensor(job["targets"], device=device)
        self._known = torch.tensor(job["known"], dtype=torch.int64, device=device)

    def starts(self, chosen: Ints, *, training: bool) -> Tensor:
        """Return the first rows of chosen windows, on the device."""
        starts = self._train if training else self._validation
        return torch.from_numpy(starts[chosen]).to(self._table.device)

    def gather(self, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the past (B, context, C), what is known ahead (B, horizon, K), and the truth (B, horizon, T)."""
        rows = self._table[starts[:, None] + self._offsets]
        later = rows[:, self._context :]
        return rows[:, : self._context], later[..., self._known], later[..., self._targets]


class FlatGradients:
    """All gradients of a network as views into one buffer: cleared, averaged and clipped in a few large operations.

    Between workers that is one message a step, where one a layer would cost more in waiting than in bytes.

    Parameters
    ----------
    network
        Its parameters' gradients are replaced.
    world_size
        Workers that average them.
    """

    def __init__(self, network: nn.Module, world_size: int) -> None:
        parameters = list(network.parameters())
        self._all = torch.zeros(sum(each.numel() for each in parameters), device=parameters[0].device)
        self._world_size = world_size
        sizes = [each.numel() for each in parameters]
        for parameter, piece in zip(parameters, torch.split(self._all, sizes), strict=True):
            parameter.grad = piece.view_as(parameter)

    def clear(self) -> None:
        """Set them to zero; what a step computes is added."""
        self._all.zero_()

    def average(self) -> None:
        """Take the mean over the workers."""
        if self._world_size > 1:
            dist.all_reduce(self._all)
            self._all.div_(self._world_size)

    def clip(self, limit: float) -> None:
        """Shorten them to a norm of `limit` where they are longer."""
        norm = torch.linalg.vector_norm(self._all)
        self._all.mul_((limit / (norm + 1e-6)).clamp(max=1.0))  # 1e-6 as torch's own clipping adds


def pick_device() -> torch.device:
    """Return this process's GPU, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def use_bfloat16(precision: str, device: torch.device) -> bool:
    """Return whether products are computed in bfloat16: `auto` does so where the hardware has the instructions."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def _summed(values: Tensor) -> Tensor:
    """Return the sum over the workers, in place; alone, the values."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
    return values


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _arrays(tensors: Mapping[str, Tensor]) -> State:
    return {name: value.cpu().numpy() for name, value in tensors.items()}


def _tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: torch.tensor(value) for name, value in arrays.items()}
