"""How this machine's doors ask a running node: gRPC over a Unix socket that only this user can reach.

Invariants: the socket lies in a folder of mode 0700 that belongs to this user, checked by both sides (somebody else
could have made a folder of that name in a shared temporary directory); a socket that answers is never replaced; a call
ends with exactly one result or one failure. The payloads are the JSON objects of the command line's contract.
"""

import asyncio
import hashlib
import json
import logging
import os
import socket
import stat
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from msgspec import Struct, field

from meerkat.model.limits import CONTROL_ANSWER_BYTES_MAX, CONTROL_CALLS_MAX, CONTROL_MESSAGE_BYTES_MAX
from meerkat.wire.v1 import control_pb2 as pb

logger = logging.getLogger(__name__)

Json = dict[str, Any]
"""A JSON object, as INTERFACE names its fields."""

_SERVICE = "meerkat.v1.Control"
_METHOD = f"/{_SERVICE}/Call"
_SOCKET_PATH_BYTES_MAX = 107  # sun_path of Linux, without its end
_CONNECT_TIMEOUT_S = 2.0
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", CONTROL_ANSWER_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.default_authority", "localhost"),
]


class ControlFault(Exception):
    """A call failed; the fields are those of the command line's error object, and its exit code."""

    def __init__(self, code: str, message: str, cause: str = "", hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.cause = cause
        self.hint = hint
        self.exit_code = exit_code


class NotRunning(Exception):
    """No node serves this socket."""


class AlreadyRunning(Exception):
    """A node serves this socket already."""


class UnsafeSocket(Exception):
    """The folder of the socket belongs to somebody else, or others may enter it."""


class Result(Struct, frozen=True):
    """The last thing that a handler yields: the call's answer."""

    value: Json = field(default_factory=dict)


Handle = Callable[[str, Json], AsyncIterator[Json | Result]]
"""(verb, arguments) -> any number of progress objects, then one `Result`; raises `ControlFault`."""


# ---- where the socket is


def _candidates(folder: Path) -> list[Path]:
    """Where a node of this folder may have its socket, the preferred place first. A node started by a service manager
    and a shell need not agree on the environment, so a client looks at all of them."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:24] + ".sock"
    user = os.getuid()
    places = []
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(Path(runtime) / "meerkat")
    usual = Path(f"/run/user/{user}")
    if usual.is_dir() and os.access(usual, os.W_OK):
        places.append(usual / "meerkat")
    places += [Path(tempfile.gettempdir()) / f"meerkat-{user}", Path("/tmp") / f"meerkat-{user}"]
    short = [place / name for place in places if len(os.fsencode(place / name)) <= _SOCKET_PATH_BYTES_MAX]
    return list(dict.fromkeys(short))


def socket_path(folder: Path) -> Path:
    """Where the node of `folder` listens when started from here."""
    return _candidates(folder)[0]


def find_socket(folder: Path) -> Path:
    """Where the node of `folder` listens: the first likely place that has a socket, else `socket_path`."""
    places = _candidates(folder)
    return next((place for place in places if place.is_socket()), places[0])


def _check_folder(folder: Path) -> None:
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise UnsafeSocket(f"{folder} must be a folder of this user alone (mode 0700)")


def _answers(path: Path) -> bool:
    """True when a process accepts connections on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return path.is_socket()  # busy is not dead
    return True


# ---- the node's side


class ControlServer:
    """Serves the socket at `path`, answering with `handle`."""

    def __init__(self, path: Path, handle: Handle) -> None:
        self._path = path
        self._handle = handle
        self._server: grpc.aio.Server | None = None
        self._inode = 0

    async def start(self) -> None:
        """Begin to serve.

        Raises:
            AlreadyRunning: another process answers on the socket.
            UnsafeSocket: the folder is not ours alone.
            OSError: the folder cannot be made.
        """
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_folder(folder)
        if await asyncio.to_thread(_answers, self._path):
            raise AlreadyRunning(f"a node serves {self._path} already")
        self._path.unlink(missing_ok=True)
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", CONTROL_MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", CONTROL_ANSWER_BYTES_MAX),
            ],
            maximum_concurrent_rpcs=CONTROL_CALLS_MAX,
        )
        handler = grpc.unary_stream_rpc_method_handler(
            self._call,
            request_deserializer=pb.CallRequest.FromString,
            response_serializer=pb.CallReply.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Call": handler}),))
        try:
            server.add_insecure_port(f"unix:{self._path}")
        except RuntimeError as fault:
            raise OSError(f"cannot listen on {self._path}: {fault}") from None
        self._path.chmod(0o600)
        self._inode = self._path.lstat().st_ino
        await server.start()
        self._server = server

    async def stop(self, grace_s: float = 0.5) -> None:
        """End all calls after `grace_s` and take the socket away, unless another has replaced it."""
        if self._server is None:
            return
        server, self._server = self._server, None
        await server.stop(grace_s)
        try:
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            pass  # gRPC may have done it

    async def _call(
        self, request: pb.CallRequest, context: grpc.aio.ServicerContext[pb.CallRequest, pb.CallReply]
    ) -> None:
        try:
            last = await self._answer(request, context)
        except ControlFault as fault:
            last = pb.CallReply(
                failure=pb.Failure(
                    code=fault.code,
                    message=fault.message,
                    cause=fault.cause,
                    hint=fault.hint,
                    exit_code=fault.exit_code,
                )
            )
        except Exception as fault:  # the driver's edge: a bug in one verb is told and logged, the node goes on
            logger.exception("control: %s failed", request.verb)
            failure = pb.Failure(code="internal", message=f"{request.verb} failed: {fault}", exit_code=1)
            failure.hint = "meerkat logs shows more"
            last = pb.CallReply(failure=failure)
        await context.write(last)

    async def _answer(
        self, request: pb.CallRequest, context: grpc.aio.ServicerContext[pb.CallRequest, pb.CallReply]
    ) -> pb.CallReply:
        answers = self._handle(request.verb, _arguments(request.arguments))
        try:
            async for answer in answers:
                if isinstance(answer, Result):
                    return pb.CallReply(result=json.dumps(answer.value))
                await context.write(pb.CallReply(progress=json.dumps(answer)))
        finally:
            if isinstance(answers, AsyncGenerator):
                await answers.aclose()
        return pb.CallReply(result="{}")


def _arguments(text: str) -> Json:
    try:
        arguments = json.loads(text or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise ControlFault("usage", "the arguments are not a JSON object", exit_code=2)
    return arguments


# ---- the doors' side


class ControlClient:
    """Asks the node behind the socket at `path`. Blocking; close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the channel back; calls under way are cut."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def call(
        self,
        verb: str,
        args: Mapping[str, object] | None = None,
        on_progress: Callable[[Json], None] | None = None,
        timeout_s: float | None = None,
    ) -> Json:
        """Ask, and wait for the answer.

        Raises:
            NotRunning: no node serves the socket.
            ControlFault: the node refused or failed, or took longer than `timeout_s`.
            UnsafeSocket: the socket's folder is not ours alone.
        """
        for reply in self._replies(verb, args, timeout_s):
            if isinstance(reply, Result):
                return reply.value
            if on_progress is not None:
                on_progress(reply)
        raise ControlFault("internal", f"the node broke off while it answered {verb}")

    def stream(
        self, verb: str, args: Mapping[str, object] | None = None, timeout_s: float | None = None
    ) -> Iterator[Json]:
        """What the node tells while a verb goes on ("events": each event), until it ends. Raises as `call` does."""
        for reply in self._replies(verb, args, timeout_s):
            if isinstance(reply, Result):
                return
            yield reply

    def _replies(
        self, verb: str, args: Mapping[str, object] | None, timeout_s: float | None
    ) -> Iterator[Json | Result]:
        request = pb.CallRequest(verb=verb, arguments=json.dumps(dict(args or {})))
        method: grpc.UnaryStreamMultiCallable[pb.CallRequest, pb.CallReply] = self._opened().unary_stream(
            _METHOD,
            request_serializer=pb.CallRequest.SerializeToString,
            response_deserializer=pb.CallReply.FromString,
        )
        call = method(request, timeout=timeout_s)
        try:
            for reply in call:
                match reply.WhichOneof("body"):
                    case "progress":
                        yield json.loads(reply.progress)
                    case "result":
                        yield Result(json.loads(reply.result))
                    case "failure":
                        failure = reply.failure
                        raise ControlFault(
                            failure.code, failure.message, failure.cause, failure.hint, failure.exit_code
                        )
                    case None:
                        pass  # a kind of a later version
        except grpc.RpcError as fault:
            raise self._why(verb, fault) from None
        finally:
            call.cancel()

    def _opened(self) -> grpc.Channel:
        if self._channel is None:
            try:
                _check_folder(self._path.parent)
            except (FileNotFoundError, NotADirectoryError):
                raise NotRunning(f"nothing serves {self._path}") from None
            if not _answers(self._path):
                raise NotRunning(f"nothing serves {self._path}")
            self._channel = grpc.insecure_channel(f"unix:{self._path}", options=_CHANNEL_OPTIONS)
        return self._channel

    def _why(self, verb: str, fault: grpc.RpcError) -> Exception:
        code = fault.code() if isinstance(fault, grpc.Call) else None
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ControlFault("timed_out", f"the node did not answer {verb} in time", exit_code=6)
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) and not _answers(self._path):
            return NotRunning(f"the node behind {self._path} has stopped")
        details = fault.details() if isinstance(fault, grpc.Call) else str(fault)
        return ControlFault("internal", f"the node did not answer {verb}", cause=str(details or code))
