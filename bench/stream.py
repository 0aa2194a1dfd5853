"""The bare gRPC stream beside which a transfer of ours stands (see `ceiling`)."""

import json
import subprocess
import sys
from pathlib import Path

from .ceiling import make_identities
from .network import Network
from .processes import end
from .usage import Cost, Gauge


def bare_stream(source: Path, base: Path, network: Network, into: Path | None = None) -> Cost:
    """Move a file's bytes over one gRPC stream.

    Raises:
        ValueError: not all bytes arrived.
    """
    identities = base / "ceiling"
    if not identities.exists():
        make_identities(identities)
    program = [*network.words, sys.executable, "-m", f"{__package__}.ceiling"]
    server = subprocess.Popen(
        [*program, "serve", str(source), str(identities)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        gauge = Gauge({"server": server.pid}, network)
        last = [] if into is None else [str(into)]
        done = subprocess.run(
            [*program, "fetch", address, str(identities), *last], capture_output=True, text=True, check=True
        )
        told = json.loads(done.stdout)
        cost = gauge.read(told["seconds"])
        cost.cpu_s["client"] = told["cpu_s"]
    finally:
        end(server)
    if told["bytes"] != source.stat().st_size:
        raise ValueError(f"{told['bytes']} bytes came of {source.stat().st_size}")
    return cost
