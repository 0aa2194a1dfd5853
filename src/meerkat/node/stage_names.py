"""What things are called in the stage, and what a name says of the bytes that lie there.

Invariant: a download and a thing that was made have names that nothing else ever has, so that they alone may be dropped
by their names. Whatever has another name may be a person's: what an exchange brought out, first of all.
"""

import re
from typing import Final

from blake3 import blake3

from meerkat.model.ids import Digest
from meerkat.model.path import RelPath
from meerkat.model.version import Kind, Version

_CONTENT_CHARS: Final = 40
_TAG_CHARS: Final = 12
_DOWNLOAD: Final = re.compile(rf"([0-9a-f]{{{_CONTENT_CHARS}}})\.[0-9a-f]{{{_TAG_CHARS}}}")
_MADE: Final = re.compile(rf"(link|folder)\.[0-9a-f]{{{_TAG_CHARS}}}")
_OUT: Final = ".out"


def stage_name(path: RelPath, version: Version) -> str:
    """Where a file is assembled: found again by content and path after a restart, so downloads resume. A link, which is
    made in one go, has the name of any link that is made for the path."""
    if version.kind is Kind.SYMLINK:
        return made_name("link", path)
    return f"{_content_chars(version.content.ident) or 'nothing'}.{path_tag(path)}"


def made_name(what: str, path: RelPath) -> str:
    """Where a "link" or a "folder" is made for a path."""
    return f"{what}.{path_tag(path)}"


def path_tag(path: RelPath) -> str:
    """A path, in a few characters that any disk takes."""
    return blake3(path.encode()).hexdigest()[:_TAG_CHARS]


def out_name(name: str) -> str:
    """What a staged thing is called while it is exchanged for what stands at its path."""
    return name + _OUT


def is_out(name: str) -> bool:
    """Whether it is such a name."""
    return name.endswith(_OUT)


def own_name(name: str) -> str:
    """What it is called before that."""
    return name.removesuffix(_OUT)


def may_hold(name: str, content: Digest) -> bool:
    """Whether a download of that content has this name."""
    found = _DOWNLOAD.fullmatch(name)
    return found is not None and found[1] == _content_chars(content)


def is_download(name: str) -> bool:
    """Whether only what came from members, or was copied for them, can lie there."""
    return _DOWNLOAD.fullmatch(name) is not None


def is_made(name: str) -> bool:
    """Whether a link or folder lies there that was made for a path (or, once exchanged, stood there)."""
    return _MADE.fullmatch(name) is not None


def _content_chars(ident: bytes) -> str:
    return ident.hex()[:_CONTENT_CHARS]
