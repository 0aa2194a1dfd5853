"""Protobuf messages of any shape, built from their own description: the fields are real, what is in them is not.

Random bytes seldom get past the parser; these always do, and so try what comes behind it.
"""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

DEPTH_MAX = 5
REPEATED_MAX = 4

_INTEGERS = {
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: (-(2**63), 2**63 - 1),
}
_EDGES = [0, 1, 2, 0o644, 0o4755, 2**31, 2**32 - 1, 2**44, 2**44 + 1, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]

_TEXTS = st.sampled_from(
    ["", "a", "a/b", "../x", "/x", "a//b", ".meerkat/x", "a/.MEERKAT", "a\0b", "é", "a" * 32, "127.0.0.1:1", "x" * 300]
) | st.text(max_size=40)
_BYTES = st.one_of(
    st.sampled_from([b"", bytes(8), bytes(16), bytes(20), b"\1" * 20, bytes(32), b"\2" * 32, b"d" * 32, bytes(31)]),
    st.binary(max_size=80),
)


def integers(low: int, high: int) -> st.SearchStrategy[int]:
    edges = [edge for edge in (*_EDGES, *(-edge for edge in _EDGES)) if low <= edge <= high]
    return st.sampled_from(edges) | st.integers(low, high)


def values_of(field: Any, depth: int) -> st.SearchStrategy[Any]:
    """Anything that the field can hold."""
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return messages(field.message_type._concrete_class, depth + 1)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return st.sampled_from([0, 1, 2, 3, 4, 5, 99])
    if field.type == FieldDescriptor.TYPE_STRING:
        return _TEXTS
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _BYTES
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    return integers(*_INTEGERS[field.type])


@st.composite
def messages(draw: st.DrawFn, kind: type[Message], depth: int = 0) -> Message:
    """A message of that kind with any of its fields."""
    message = kind()
    fields: list[Any] = list(kind.DESCRIPTOR.fields)
    if kind.DESCRIPTOR.oneofs:
        chosen = {draw(st.sampled_from(list(oneof.fields))) for oneof in kind.DESCRIPTOR.oneofs}
        fields = [field for field in fields if field.containing_oneof is None or field in chosen]
    for field in fields:
        if depth >= DEPTH_MAX and field.type == FieldDescriptor.TYPE_MESSAGE:
            continue
        if field.containing_oneof is None and not draw(st.integers(0, 7)):
            continue
        if field.is_repeated:
            items = draw(st.lists(values_of(field, depth), max_size=REPEATED_MAX))
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                for item in items:
                    getattr(message, field.name).add().CopyFrom(item)
            else:
                getattr(message, field.name).extend(items)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).CopyFrom(draw(values_of(field, depth)))
        else:
            setattr(message, field.name, draw(values_of(field, depth)))
    return message
