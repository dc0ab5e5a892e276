"""What keeps a graph answering, as data: what is kept of answers, and who answers when a model cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from cluster.errors import ConfigError
from cluster.settings import Settings
from serve_deployments.cache.spec import CacheSpec
from serve_deployments.resilience.spec import FallbackSpec


@dataclass(frozen=True, kw_only=True)
class SafetySpec:
    """Cache and fallback of a graph; by default neither.

    Parameters
    ----------
    cache
        What is kept of answers.
    fallback
        Who answers when a model cannot.
    """

    cache: CacheSpec = field(default_factory=CacheSpec)
    fallback: FallbackSpec = field(default_factory=FallbackSpec)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return what the settings ask for."""
        return cls(
            cache=CacheSpec(
                where=settings.prediction_cache,
                max_bytes=settings.prediction_cache_bytes,
                ttl_s=settings.prediction_cache_ttl_s,
                redis_url=settings.redis_url,
            ),
            fallback=FallbackSpec(
                enabled=settings.enable_fallback,
                defaults=_defaults(settings.fallback_defaults),
                # Half of the time-out at most: the rungs below need some of it.
                patience_s=min(settings.answer_patience_s, settings.request_timeout_s / 2),
            ),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the spec from its fields as plain data."""
        return cls(cache=CacheSpec(**data["cache"]), fallback=FallbackSpec(**data["fallback"]))


def _defaults(text: str | None) -> Mapping[str, Mapping[str, float]]:
    """Return the stated values: model -> target -> number."""
    if text is None:
        return {}
    try:
        return {
            str(model): {str(target): float(value) for target, value in targets.items()}
            for model, targets in orjson.loads(text).items()
        }
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"ML_FALLBACK_DEFAULTS: got {text[:200]}, expected JSON of model -> target -> number, such as "
            '{"nox": {"NOX": 60}}'
        ) from error
