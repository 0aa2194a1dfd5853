"""Summaries told briefly: their vectors as differences from what both ends of a link know anyway.

What a node says of itself on a link (its context in the greeting, and each head since) is known at both ends at each
place in the stream. The context of a member that is level differs from that in nothing, and what it has on its disk
does not differ from its context; so a word about progress costs the same in a pool of any size.
"""

from msgspec.structs import replace

from meerkat.model.dot import Vector, difference, restored
from meerkat.model.member import Summary


def shortened(summary: Summary, said: Vector) -> Summary:
    """The summary with differences for vectors. `said`: what the teller has said of itself on the link."""
    context, complete = difference(summary.context, said), difference(summary.complete, summary.context)
    return replace(summary, context=context, complete=complete)


def whole(brief: Summary, said: Vector) -> Summary:
    """The summary that `shortened` was given."""
    context = restored(brief.context, said)
    return replace(brief, context=context, complete=restored(brief.complete, context))


def weight(brief: Summary) -> int:
    """About how many bytes it takes in a message."""
    reasons = sum(len(path) + len(reason) + len(text) + 16 for path, reason, text in brief.reasons)
    return 64 + 40 * (len(brief.context) + len(brief.complete)) + 4 * reasons
