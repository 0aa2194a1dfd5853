"""Regenerates `src/meerkat/wire/v1/*_pb2*` from the .proto files beside them.

    python scripts/gen_wire.py [--out DIR]

Needs the `wire` dependency group (grpcio-tools and mypy-protobuf, pinned, so that the output is the same everywhere).
A test regenerates into a temporary folder and compares, so the generated code cannot drift from its source.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"
PROTOS = ("meerkat/wire/v1/pool.proto", "meerkat/wire/v1/control.proto")


def generate(out: Path) -> None:
    """Write the generated modules below `out` (as `meerkat/wire/v1/...`).

    Raises:
        subprocess.CalledProcessError: protoc refused; its message is on stderr.
    """
    # protoc finds its plugins on PATH; they live beside the interpreter, which need not be on it.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    kinds = ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")
    outs = [f"--{kind}={'quiet:' if kind.startswith('mypy') else ''}{out}" for kind in kinds]
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{SOURCE}",
        *outs,
        *(str(SOURCE / name) for name in PROTOS),
    ]
    subprocess.run(command, check=True, env={**os.environ, "PATH": path})


def main() -> None:
    parser = argparse.ArgumentParser(description="Regenerate the wire's protobuf and gRPC modules.")
    parser.add_argument("--out", type=Path, default=SOURCE, help="root to write into (default: src)")
    generate(parser.parse_args().out)


if __name__ == "__main__":
    main()
