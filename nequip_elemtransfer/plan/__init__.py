"""What a transfer will do, before any training: the command ``nequip-elemtransfer plan``."""

from nequip_elemtransfer.plan.planning import Plan, plan

__all__ = ["Plan", "plan"]
