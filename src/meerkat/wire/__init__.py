"""The wire: protobuf and gRPC end here. Importing the room keeps gRPC's own log quiet (it must be told before it is
loaded): it prints a line to stderr for every stranger who knocks, and what matters reaches us as exceptions."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
