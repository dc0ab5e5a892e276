"""Actors that are found by name and outlive who asks for them first. Imported only where Ray runs."""

from __future__ import annotations

from typing import Any

import ray

NAMESPACE = "heliotrope"


def get_or_create(kind: type, name: str, *arguments: Any, **options: Any) -> Any:
    """Return the handle of the actor of that name; a new one, restarted for ever, where there is none.

    Parameters
    ----------
    kind
        A plain class.
    name
        In the platform's namespace.
    arguments
        Of the class.
    options
        Of Ray, besides the usual ones.
    """
    return (
        ray.remote(kind)
        .options(
            name=name,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            enable_task_events=False,
            **options,
        )
        .remote(*arguments)
    )


def names() -> list[str]:
    """Return the names of the actors that live in the platform's namespace."""
    found = ray.util.list_named_actors(all_namespaces=True)
    return [each["name"] for each in found if each["namespace"] == NAMESPACE]


def remove(name: str) -> None:
    """End the actor of that name, if there is one."""
    try:
        handle = ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        # Ray's way to say that no actor has this name.
        return
    ray.kill(handle)
