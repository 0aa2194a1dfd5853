"""Meerkat keeps a folder the same on every machine that shares it: peer to peer, no server, no leader, no account.

Importing this package costs next to nothing: the command line's help must be quick, so nothing here loads gRPC.
"""

__version__ = "0.1.0"
