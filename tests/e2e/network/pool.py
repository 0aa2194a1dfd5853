"""A pool whose nodes live on the hosts of a lab, one on each."""

import re
from pathlib import Path

from e2e.network.lab import Host, Lab
from e2e.pool import Node, Pool

PORT = 4747
MISSED = re.compile(r"([\w-]+) \([a-z2-7]{32}\) is not within reach any more")


class LabPool(Pool):
    """Real nodes on hosts of their own."""

    def __init__(self, base: Path, lab: Lab) -> None:
        super().__init__(base)
        self.lab = lab
        self._hosts: dict[str, Host] = {}

    def on(self, name: str, host: Host | None = None) -> Node:
        """A folder for a node on a host of its own, or on that one; it is not started yet."""
        self._hosts[name] = host or self.lab.host(name)
        node = self.node(name)
        node.within, node.listen = self._hosts[name].words, f"0.0.0.0:{PORT}"
        return node

    def linked(self, *names: str) -> list[Node]:
        """Nodes on hosts of their own, each of which joined through the first, all linked."""
        first, *others = names
        nodes = [self.found(self.on(first))]
        nodes += [self.admit(self.on(name), nodes[0]) for name in others]
        self.wait_linked(*nodes)
        return nodes

    def host(self, node: Node) -> Host:
        return self._hosts[node.name]

    def link(self, one: Node, other: Node) -> str | None:
        """How the one is linked with the other, as it says itself: dialled, accepted or not at all."""
        link: str | None = self.roster(one)[other.name]["link"]
        return link

    def await_offline(self, node: Node, by: Node) -> None:
        """Wait until the one says that the other is not there."""
        self.until(f"{by.name} misses {node.name}", lambda: self.roster(by)[node.name]["state"] == "offline")

    def await_there(self, node: Node, by: Node) -> None:
        """Wait until the one says that the other is there and has everything."""
        self.until(f"{by.name} sees {node.name}", lambda: self.roster(by)[node.name]["state"] == "up_to_date")

    def missed(self, by: Node) -> list[str]:
        """Whom a node has ever told to be out of reach, in order."""
        return MISSED.findall((by.folder / ".meerkat" / "log" / "meerkat.log").read_text("utf-8", "replace"))
