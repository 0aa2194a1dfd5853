"""The command line: parse, ask the node, show.

Nothing in this room decides anything about files; it starts the engine (`up`, `join`) or asks a running one over the
control socket. Modules here import gRPC, rich and the engine inside the functions that need them, because
`meerkat --help` and the shell's completion load them all but use none of that.
"""
