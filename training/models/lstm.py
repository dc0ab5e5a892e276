"""Two LSTM layers and a dense one, trained on all workers of a cluster or in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cluster.errors import ConfigError
from training.core.component import State
from training.core.estimator import Forecaster, Tags
from training.core.parameters import real, whole
from training.core.runner import Run, Runner
from training.core.space import Choice, Real, Space, Whole
from training.core.windows import Floats, Windows
from training.distributed.local import LocalRunner

if TYPE_CHECKING:
    from training.models.lstm_network import LSTMNetwork

ANCHORS = ("none", "last", "mean")
PRECISIONS = ("auto", "float32", "bfloat16")
CHUNK_WINDOWS = 1024
"""Windows gathered or forecast at a time: some tens of megabytes, however many are asked for."""


class LSTM(Forecaster):
    """LSTM(128) -> dropout -> LSTM(64) -> dropout -> dense 32 -> horizon x targets, read from the newest rows.

    Columns are standardised by the rows of the training windows. With an anchor the targets enter as differences
    from their window's mean or last value and the forecast is such a difference, in units of its own spread: the
    level of a series, which drifts, needs no learning. Adam minimises the mean squared error; training stops when
    the validation loss has not improved for `patience` epochs, and the best weights are kept.

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
    anchor
        `mean` or `last` of the window, or `none`.
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
    (2015), Adam; Kim et al. (2022), Reversible Instance Normalization, for the mean as anchor. Ours subtracts the
    window's level from targets alone and leaves their spread, which is information here.
    """

    name: ClassVar[str] = "lstm"
    tags: ClassVar[Tags] = Tags(backend="torch", seeded=True)

    def __init__(
        self,
        *,
        window: int = 30,
        hidden: Sequence[int] = (128, 64),
        dense: int = 32,
        dropout: float = 0.2,
        channels: Sequence[str] | None = None,
        anchor: str = "mean",
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
        self.anchor = _one_of("anchor", anchor, ANCHORS)
        self.learning_rate = real("learning_rate", learning_rate, low=0, above=True)
        self.batch_size = whole("batch_size", batch_size, low=1)
        self.stride = whole("stride", stride, low=1)
        self.max_epochs = whole("max_epochs", max_epochs, low=1)
        self.patience = whole("patience", patience, low=1)
        self.precision = _one_of("precision", precision, PRECISIONS)
        self.seed = whole("seed", seed, low=0)
        if not self.hidden or self.channels == ():
            empty = "hidden" if not self.hidden else "channels"
            raise ConfigError(f"parameter '{empty}': got none, expected one or more", parameter=empty)

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
            "network": self._network_spec(),
            **{name: getattr(self, name) for name in ("batch_size", "stride", "max_epochs", "patience")},
            **{name: getattr(self, name) for name in ("learning_rate", "precision", "seed")},
        }
        learned = (runner or LocalRunner()).run(train_lstm, job, backend="torch")
        self.relearn({"mean": mean, "scale": scale, **learned})

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T), computed in chunks."""
        import torch

        columns = self._read_columns()
        picked = [columns.index(name) for name in self.targets]
        out = np.empty((len(context), self.horizon, len(self.targets)))
        with torch.inference_mode():
            for rows, chunk in _chunks(context):
                values = (chunk.select(columns) - self._mean) / self._scale
                out[rows] = self._network(torch.from_numpy(values.astype(np.float32))).numpy()
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
        """Return the table's columns: what is read, then targets that are only forecast."""
        channels = self.channels or self.columns
        return channels + tuple(name for name in self.targets if name not in channels)

    def _network_spec(self) -> dict[str, Any]:
        columns = self._read_columns()
        return {
            "inputs": list(range(len(self.channels or self.columns))),
            "targets": [columns.index(name) for name in self.targets],
            "horizon": self.horizon,
            "hidden": list(self.hidden),
            "dense": self.dense,
            "dropout": self.dropout,
            "anchor": self.anchor,
        }

    def _scaling(self, train: Windows, columns: tuple[str, ...]) -> tuple[Floats, Floats]:
        """Return (K,) means and scales from the rows of the training windows alone.

        A target's scale is the spread of what is forecast, its difference from the anchor.
        """
        rows = train.rows[_covered(train)][:, train.positions(columns)]
        mean, scale = rows.mean(axis=0), rows.std(axis=0)
        if self.anchor != "none":
            picked = [columns.index(name) for name in self.targets]
            scale[picked] = np.sqrt(sum(self._squares(chunk) for _, chunk in _chunks(train)) / len(train))
        scale[scale < 1e-9 * np.maximum(1.0, np.abs(mean))] = 1.0  # a constant column says nothing
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


def _covered(windows: Windows) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return (R,) whether a row belongs to any of the windows."""
    edges = np.zeros(len(windows.rows) + 1, dtype=np.int64)
    np.add.at(edges, windows.starts, 1)
    np.add.at(edges, windows.starts + windows.length, -1)
    return np.cumsum(edges[:-1]) > 0


def _chunks(windows: Windows) -> Iterator[tuple[slice, Windows]]:
    for start in range(0, len(windows), CHUNK_WINDOWS):
        rows = slice(start, start + CHUNK_WINDOWS)
        yield rows, windows[rows]


def _one_of(name: str, got: str, known: tuple[str, ...]) -> str:
    if got not in known:
        raise ConfigError(
            f"parameter '{name}': got {got!r}, expected one of {', '.join(known)}", parameter=name, got=got
        )
    return got
