"""Two LSTM layers and a dense one, trained on all workers of a cluster or in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from cluster.errors import ConfigError
from training.core.component import State
from training.core.estimator import Forecaster, Tags
from training.core.parameters import flag, real, whole
from training.core.runner import Run, Runner
from training.core.space import Choice, Real, Space, Whole
from training.core.windows import Floats, Windows
from training.distributed.local import LocalRunner

if TYPE_CHECKING:
    from torch import Tensor

    from training.distributed.loop import Masks
    from training.models.lstm_network import LSTMNetwork

ANCHORS = ("none", "last", "mean")
LOSSES = ("squared", "absolute", "huber")
PRECISIONS = ("auto", "float32", "bfloat16")
CHUNK_WINDOWS = 1024
"""Windows gathered at a time: some tens of megabytes, however many are asked for."""
FORECAST_WINDOWS = 64
"""Windows forecast at a time. Larger products go through other kernels, whose sums are ordered differently; up to
here a window's forecast is the same in any company (see `together`), and nearly as fast as by the thousand."""


class LSTM(Forecaster):
    """LSTM(128) -> dropout -> LSTM(64) -> dropout -> dense 32 -> horizon x targets, read from the newest rows.

    Columns are standardised by the rows of the training windows. With an anchor the targets enter as differences
    from their window's mean or last value and the forecast is such a difference, in units of its own spread: the
    level of a series, which drifts, needs no learning. What is known of a step ahead enters the dense layer for
    that step. Adam minimises the loss; training stops when the validation loss has not improved for `patience`
    epochs, and the best weights are kept. Without a `skip` the head starts as the ridge regression on the states of
    the untrained layers, so that few steps are enough.

    For many rows back and many steps ahead, `rescale`, `shared`, `skip` and a `segment` of some twelfth of the
    window make it both better and many times faster: each target alone is then a series of its own, which starts
    from a linear forecast and takes few recurrent steps.

    Parameters
    ----------
    window
        Rows looked back on, 1 or more.
    hidden
        Size of each LSTM layer, first to last.
    dense
        Size of the dense layer.
    dropout
        Share of values dropped after each LSTM layer, 0 up to 0.9.
    channels
        Columns it reads; all when None. Fewer, well chosen, forecast better: columns that add nothing are learned
        by heart.
    ahead
        Which of the columns that are known ahead it reads over the horizon; all when None.
    anchor
        `mean` or `last` of the window, or `none`.
    rescale
        Whether targets are also divided by their standard deviation within the window, and the forecast multiplied
        by it: for series whose swings grow and shrink. Needs an anchor.
    shared
        Whether one network forecasts each target from its own past, beside the channels that are no targets.
        False lets targets see each other.
    segment
        Rows in one recurrent step, a divisor of the window.
    skip
        Whether a linear forecast from the target's own past is added.
    loss
        What is minimised: `squared` for the mean, `absolute` for the median, which outliers do not move, `huber`
        between them. The validation loss is of the same kind.
    learning_rate
        Adam's, at the peak of the cycle, for a batch of 32; a batch of B gets it times sqrt(B / 32).
    batch_size
        Windows in a step, over all workers; smaller where there are few windows.
    stride
        An epoch takes every `stride`-th origin, another first one each time, since neighbours differ in one row;
        denser where there are few windows.
    max_epochs
        The longest training; the learning rate falls to nearly nothing over it.
    patience
        Epochs without a better validation loss before it stops.
    precision
        Of products in training: `auto` takes bfloat16 where the hardware has it. Forecasts are float32.
    seed
        Of the first weights, the order and the dropout.

    References
    ----------
    Hochreiter and Schmidhuber (1997), Long Short-Term Memory; Srivastava et al. (2014), Dropout; Kingma and Ba
    (2015), Adam; Kim et al. (2022), Reversible Instance Normalization: ours has no affine part, normalises targets
    alone, and leaves their spread unless asked, since that is information too; Nie et al. (2023), A Time Series is
    Worth 64 Words, for segments and shared channels; Lin et al. (2023), SegRNN, for segments as recurrent steps;
    Gal and Ghahramani (2016), Dropout as a Bayesian Approximation, for `samples`.
    """

    name: ClassVar[str] = "lstm"
    together: ClassVar[int] = 4
    tags: ClassVar[Tags] = Tags(backend="torch", seeded=True, known_future=True, past_covariates=True, static=True)

    def __init__(
        self,
        *,
        window: int = 30,
        hidden: Sequence[int] = (128, 64),
        dense: int = 32,
        dropout: float = 0.2,
        channels: Sequence[str] | None = None,
        ahead: Sequence[str] | None = None,
        anchor: str = "mean",
        rescale: bool = False,
        shared: bool = False,
        segment: int = 1,
        skip: bool = False,
        loss: str = "squared",
        learning_rate: float = 1e-3,
        batch_size: int = 256,
        stride: int = 4,
        max_epochs: int = 16,
        patience: int = 10,
        precision: str = "auto",
        seed: int = 0,
    ) -> None:
        self.window = whole("window", window, low=1)
        self.hidden = tuple(whole("hidden", size, low=1) for size in hidden)
        self.dense = whole("dense", dense, low=1)
        self.dropout = real("dropout", dropout, low=0, high=0.9)
        self.channels = None if channels is None else tuple(channels)
        self.ahead = None if ahead is None else tuple(ahead)
        self.anchor = _one_of("anchor", anchor, ANCHORS)
        self.rescale, self.shared = flag("rescale", rescale), flag("shared", shared)
        self.segment, self.skip = whole("segment", segment, low=1, high=self.window), flag("skip", skip)
        self.loss = _one_of("loss", loss, LOSSES)
        self.learning_rate = real("learning_rate", learning_rate, low=0, above=True)
        self.batch_size = whole("batch_size", batch_size, low=1)
        self.stride = whole("stride", stride, low=1)
        self.max_epochs = whole("max_epochs", max_epochs, low=1)
        self.patience = whole("patience", patience, low=1)
        self.precision = _one_of("precision", precision, PRECISIONS)
        self.seed = whole("seed", seed, low=0)
        self._check_together()

    def _check_together(self) -> None:
        if not self.hidden or self.channels == ():
            empty = "hidden" if not self.hidden else "channels"
            raise ConfigError(f"parameter '{empty}': got none, expected one or more", parameter=empty)
        if self.window % self.segment:
            raise ConfigError(
                f"parameter 'segment': got {self.segment}, expected a divisor of the window, {self.window}",
                parameter="segment",
            )
        if self.rescale and self.anchor == "none":
            raise ConfigError(
                "parameter 'rescale': got True without an anchor, expected anchor='mean' or 'last' with it",
                parameter="rescale",
            )

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return a small network and few epochs of many steps."""
        size = {"window": 12, "hidden": (8, 8), "dense": 8, "precision": "float32"}
        return size | {"max_epochs": 8, "batch_size": 32, "learning_rate": 1e-2, "stride": 2}

    @classmethod
    def search_space(cls) -> Space:
        """Return what shapes the network and how it learns."""
        return {
            "window": Whole(14, 96, log=True),
            "hidden": Choice(((64, 32), (128, 64))),
            "dense": Whole(16, 64, log=True),
            "dropout": Real(0.0, 0.5),
            "anchor": Choice(ANCHORS),
            "learning_rate": Real(2e-4, 4e-3, log=True),
        }

    @property
    def context(self) -> int:
        """The window."""
        return self.window

    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        """Scale the table, train, keep the best weights."""
        columns = self._read_columns()
        mean, scale = self._scaling(train, columns)
        ends = [int(part.starts.max()) + part.length for part in (train, validation) if part and len(part)]
        table = (train.rows[: max(ends), train.positions(columns)] - mean) / scale
        job = {
            "table": table.astype(np.float32),
            "train": train.starts,
            "validation": validation.starts if validation else np.empty(0, dtype=np.int64),
            "context": self.window,
            "horizon": self.horizon,
            "targets": [columns.index(name) for name in self.targets],
            "known": [columns.index(name) for name in self.known],
            "network": self._network_spec(),
            **{name: getattr(self, name) for name in ("batch_size", "stride", "max_epochs", "patience")},
            **{name: getattr(self, name) for name in ("loss", "learning_rate", "precision", "seed")},
        }
        learned = (runner or LocalRunner()).run(train_lstm, job, backend="torch")
        self.relearn({"mean": mean, "scale": scale, **learned})

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T), computed in chunks."""
        out = np.empty((len(context), self.horizon, len(self.targets)))
        for rows, inputs in self._scaled(context):
            out[rows] = self._forecast(inputs)
        return out

    def samples(self, context: Windows, *, count: int = 100, seed: int = 0) -> Floats:
        """Return (S, N, H, T) forecasts with dropout left on, in the targets' units: Monte-Carlo dropout.

        A draw is one thinned network that forecasts all windows: its masks follow from `seed` and the draw's
        number alone, so that other windows in the batch change nothing, and the draws of two contexts, such as
        two scenarios, may be subtracted one by one. Beside the S x N x H x T numbers that are returned, memory
        does not grow with `count` or the windows.

        Parameters
        ----------
        context
            As for `predict`.
        count
            S, draws, 1 or more.
        seed
            Of the masks.

        Raises
        ------
        ConfigError
            The network has no dropout, so that all draws would be the same.
        """
        context, draws = self.ready(context), range(self._draws(count, 1))
        out = np.empty((count, len(context), self.horizon, len(self.targets)))
        for rows, inputs in self._scaled(context):
            for draw in draws:
                out[draw, rows] = self._forecast(inputs, _masks(seed, draw))
        return out

    def spread(self, context: Windows, *, count: int = 100, seed: int = 0) -> Floats:
        """Return (N, H, T) the standard deviation of `samples`, without keeping these; `count` is 2 or more."""
        context, draws = self.ready(context), range(self._draws(count, 2))
        out = np.empty((len(context), self.horizon, len(self.targets)))
        for rows, inputs in self._scaled(context):
            first = self._forecast(inputs, _masks(seed, 0))
            total, squares = np.zeros_like(first), np.zeros_like(first)
            for draw in draws[1:]:
                difference = self._forecast(inputs, _masks(seed, draw)) - first
                total += difference
                squares += np.square(difference)
            out[rows] = np.sqrt((squares - np.square(total) / count).clip(0) / (count - 1))
        return out

    def _draws(self, count: int, low: int) -> int:
        if round(self.dropout * 256) == 0:  # as the network rounds it
            raise ConfigError(
                f"parameter 'dropout': got {self.dropout:g}, expected 1/256 or more: without dropout all draws "
                "are the same; fit with dropout, such as 0.2",
                parameter="dropout",
            )
        return whole("count", count, low=low)

    def _scaled(self, context: Windows) -> Iterator[tuple[slice, tuple[Tensor, Tensor]]]:
        """Yield chunks as the network reads them: the past (B, L, C) and what is known ahead (B, H, K)."""
        import torch

        columns = self._read_columns()
        picked = [columns.index(name) for name in self.known]
        for rows, chunk in context.chunks(FORECAST_WINDOWS):
            past = (chunk.select(columns) - self._mean) / self._scale
            known = np.empty((len(past), self.horizon, 0))
            if picked and chunk.ahead is not None:
                known = (chunk.ahead.select(self.known) - self._mean[picked]) / self._scale[picked]
            # In C order whatever the windows were cut from: sums follow the layout.
            yield rows, (torch.from_numpy(_singles(past)), torch.from_numpy(_singles(known)))

    def _forecast(self, inputs: tuple[Tensor, Tensor], masks: Masks | None = None) -> Floats:
        """Return (B, H, T) in the targets' units."""
        import torch

        with torch.inference_mode():
            out = self._network(*inputs, masks).numpy().astype(np.float64)
        picked = [self._read_columns().index(name) for name in self.targets]
        forecast: Floats = out * self._scale[picked] + self._mean[picked]
        return forecast

    def learned(self) -> State:
        """Return the scaling, the best weights, and the course of the training."""
        return self._learned

    def relearn(self, state: State) -> None:
        """Rebuild the network from its weights."""
        import torch

        from training.models.lstm_network import LSTMNetwork

        self._learned = state
        self._mean, self._scale = np.asarray(state["mean"]), np.asarray(state["scale"])
        self._network: LSTMNetwork = LSTMNetwork(**self._network_spec())
        self._network.load_state_dict({name: torch.tensor(value) for name, value in state["weights"].items()})
        self._network.eval()

    def _read_columns(self) -> tuple[str, ...]:
        """Return the table's columns: what is read, then targets that are only forecast, then what is known."""
        return tuple(dict.fromkeys((*(self.channels or self.columns), *self.targets, *self.known)))

    def _network_spec(self) -> dict[str, Any]:
        columns = self._read_columns()
        return {
            "inputs": list(range(len(self.channels or self.columns))),
            "targets": [columns.index(name) for name in self.targets],
            "known": len(self.known),
            "horizon": self.horizon,
            "hidden": list(self.hidden),
            **{name: getattr(self, name) for name in ("window", "dense", "dropout", "anchor")},
            **{name: getattr(self, name) for name in ("rescale", "shared", "segment", "skip")},
        }

    def _scaling(self, train: Windows, columns: tuple[str, ...]) -> tuple[Floats, Floats]:
        """Return (K,) means and scales from the rows of the training windows alone.

        A target's scale is the spread of what is forecast, its difference from the anchor.
        """
        rows = train.rows[_covered(train)][:, train.positions(columns)]
        mean, scale = rows.mean(axis=0), rows.std(axis=0)
        picked = [columns.index(name) for name in self.targets]
        if self.anchor != "none":
            squares = sum(self._squares(chunk) for _, chunk in train.chunks(CHUNK_WINDOWS))
            scale[picked] = np.sqrt(squares / len(train))
        still = scale < 1e-9 * np.maximum(1.0, np.abs(mean))
        scale[still] = np.inf  # what never moved taught nothing: should it move one day, it is not looked at
        scale[picked] = np.where(still[picked], 1.0, scale[picked])
        return mean, scale

    def _squares(self, windows: Windows) -> Floats:
        """Return (T,) the squared differences between future and anchor: mean over steps, sum over windows."""
        past, future = (part.select(self.targets) for part in windows.split(self.horizon))
        anchor = past[:, -1:] if self.anchor == "last" else past.mean(axis=1, keepdims=True)
        squares: Floats = np.square(future - anchor).mean(axis=1).sum(axis=0)
        return squares


def train_lstm(run: Run, job: dict[str, Any]) -> State:
    """Train the network of `job["network"]`; see `train_network`."""
    from training.distributed.loop import train_network
    from training.models.lstm_network import build_network

    return train_network(run, job, build_network)


def _singles(values: Floats) -> npt.NDArray[np.float32]:
    return values.astype(np.float32, order="C")


def _masks(seed: int, draw: int) -> Masks:
    """Return the masks of one draw, the same at each call."""
    import torch

    from training.distributed.loop import Masks

    own = int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])
    return Masks(generator=torch.Generator().manual_seed(own), common=True)


def _covered(windows: Windows) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return (R,) whether a row belongs to any of the windows."""
    edges = np.zeros(len(windows.rows) + 1, dtype=np.int64)
    np.add.at(edges, windows.starts, 1)
    np.add.at(edges, windows.starts + windows.length, -1)
    return np.cumsum(edges[:-1]) > 0


def _one_of(name: str, got: str, known: tuple[str, ...]) -> str:
    if got not in known:
        raise ConfigError(
            f"parameter '{name}': got {got!r}, expected one of {', '.join(known)}", parameter=name, got=got
        )
    return got
