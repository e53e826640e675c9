"""A transfer: what is done, in order, and what is kept of it."""

from typing import Any


def __getattr__(name: str) -> Any:
    """``Transfer`` and ``TransferResult`` at the package's own name, imported when they are used."""
    if name not in ("Transfer", "TransferResult"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nequip_elemtransfer.transfer import transfer

    return getattr(transfer, name)
