"""What is kept of answers, as data."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.errors import ConfigError
from cluster.settings import CACHE_WHERES, CacheWhere


@dataclass(frozen=True, kw_only=True)
class CacheSpec:
    """The prediction cache of a graph.

    Parameters
    ----------
    where
        `off`; `memory`, each replica for itself; `redis`, one for all replicas.
    max_bytes
        Bound of a replica's answers in memory.
    ttl_s
        An answer's life. It is right for ever, for its version and its input; features and the world change.
    redis_url
        The Redis.
    """

    where: CacheWhere = "off"
    max_bytes: int = 64 * 2**20
    ttl_s: float = 300.0
    redis_url: str | None = None

    def __post_init__(self) -> None:
        if self.where not in CACHE_WHERES:
            raise ConfigError(
                f"prediction cache: got '{self.where}', expected one of {', '.join(CACHE_WHERES)}; "
                "set ML_PREDICTION_CACHE"
            )
        if self.where == "redis" and not self.redis_url:
            raise ConfigError("prediction cache: got redis without its address; set ML_REDIS_URL")
