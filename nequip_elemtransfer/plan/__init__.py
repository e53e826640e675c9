"""What a transfer will do, before any training: the command ``nequip-elemtransfer plan``."""
