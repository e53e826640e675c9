"""What a transfer will do, before any training: the command ``nequip-elemtransfer plan``."""

from typing import Any

__all__ = ["Plan", "PlanOptions", "plan"]


def __getattr__(name: str) -> Any:
    """Import the plan when it is asked for: the command's arguments are declared without its libraries."""
    if name in __all__:
        from nequip_elemtransfer.plan import making

        return getattr(making, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
