"""What people are told of the roster: who came, who went, whose invite was in too many hands, and whether the others
still take this node for one of theirs.

A removed node cannot be told so: nobody talks with it. But whoever has its roster knows which certificate each member
shows; where that very certificate answers and refuses ours, the other side has made up its mind.
"""

import logging
from collections.abc import Set

from meerkat.model.ids import NodeId
from meerkat.node.hub import Hub
from meerkat.node.registry import MARKS_OF_INVITE, Registry

log = logging.getLogger("meerkat.census")


class Census:
    def __init__(self, self_id: NodeId, registry: Registry, hub: Hub) -> None:
        self._self_id = self_id
        self._registry = registry
        self._hub = hub
        self._members: dict[NodeId, str] | None = None
        self._told: set[NodeId | bytes] = set()
        self._refused_by: set[NodeId] = set()

    # ---- the others

    def look(self) -> None:
        """The roster was read for the first time, or has changed: tell what is different."""
        members = {node: member.name for node, member in self._registry.members().items()}
        before, self._members = self._members, members
        self._refused_by &= members.keys()
        for node, one in self._registry.suspended().items():
            if node not in self._told:
                self._told.add(node)
                cause = surplus_cause(one.signer_name)
                log.warning("%s (%s) is kept out: %s", one.name, node, cause)
                self._hub.tell("node.blocked", node=node, name=one.name, cause=cause)
        for invite in self._registry.invites():
            if invite.used > invite.uses and invite.id not in self._told:
                self._told.add(invite.id)
                marks = invite.id.hex()[:MARKS_OF_INVITE]
                cause = (
                    f"{invite.used} nodes joined by invite {marks} of {invite.signer_name}, which is for {invite.uses}"
                )
                log.warning("%s", cause)
                self._hub.tell("pool.state", state="attention", invite=marks, cause=cause)
        if before is None:
            return
        for node in members.keys() - before.keys() - {self._self_id}:
            self._hub.tell("node.joined", node=node, name=members[node])
        for node in before.keys() - members.keys():
            self._hub.tell("node.left", node=node, name=before[node])

    # ---- this node

    def refused(self, node: NodeId) -> None:
        """The member showed its certificate, and would not have ours. Whoever never had it may not have heard of us."""
        if node in self._refused_by or not self._registry.was_linked(node):
            return
        self._refused_by.add(node)
        log.warning("%s (%s): %s", self._registry.name_of(node), node, REFUSED)
        if len(self._refused_by) == 1:
            name = self._registry.name_of(self._self_id)
            self._hub.tell("node.blocked", node=self._self_id, name=name, cause=REFUSED)

    def linked(self, nodes: Set[NodeId]) -> None:
        """These take this node for a member; whatever one of them knows of it, it would have said."""
        for node in nodes:
            self._registry.linked(node)
            self._refused_by.clear()

    def refused_by(self) -> list[str]:
        """The names of the members that refused this node, while nobody takes it."""
        return sorted(self._registry.name_of(node) for node in self._refused_by)


REFUSED = "it had this node for a member before, and refuses it now: this node was taken off the pool"


def surplus_cause(signer_name: str) -> str:
    """Why a node is kept out that shows an invite which was for somebody else alone."""
    return (
        f"the invite of {signer_name} by which it joined was for one node, and another has it: used on both sides of a "
        "partition, or somebody has passed the code on"
    )
