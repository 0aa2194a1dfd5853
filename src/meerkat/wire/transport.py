"""The settings that both ends of a connection share, each with its reason, and the bare look at a server's certificate.

Figures are gRPC's own where not said otherwise; keepalive below 10 s would cut links on lossy radio.
"""

import asyncio
import resource
import ssl

from meerkat.model.limits import (
    CONNECTION_IDLE_S,
    CONNECTIONS_FILES_SHARE,
    CONNECTIONS_MAX,
    DIAL_STAGGER_S,
    HANDSHAKE_TIMEOUT_S,
    MESSAGE_BYTES_MAX,
    METADATA_BYTES_MAX,
    STREAM_WINDOW_BYTES,
)
from meerkat.wire.address import parse_address

_MS = 1000

Options = list[tuple[str, str | int]]

NO_OPTIONS: Options = []

SHARED_OPTIONS: Options = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.keepalive_time_ms", 30 * _MS),
    ("grpc.keepalive_timeout_ms", 10 * _MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]

# gRPC measures the bandwidth by pings with every exchange, which is most of what an idle link sends. A fixed window
# makes that unnecessary; the measuring is kept where a dialler is given bulk, over lines of any length.
STEADY_OPTIONS: Options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES)]

CHANNEL_OPTIONS: Options = [
    *SHARED_OPTIONS,
    # A channel of its own for each purpose: bulk must not share a connection with what is urgent.
    ("grpc.use_local_subchannel_pool", 1),
    # Redialling is decided above; here a channel is used once.
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.min_reconnect_backoff_ms", 3 * _MS),
    ("grpc.max_reconnect_backoff_ms", 15 * _MS),
    ("grpc.enable_retries", 0),
    # Peers are dialled directly; a proxy in the environment is meant for browsers.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
]

SERVER_OPTIONS: Options = [
    *SHARED_OPTIONS,
    *STEADY_OPTIONS,
    # Whoever has got through TLS and asks for nothing (a removed member on its old connection, say) need not stay.
    ("grpc.max_connection_idle_ms", int(CONNECTION_IDLE_S * _MS)),
    # Two processes must not share a port unseen.
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 64),
    ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_TIMEOUT_S * _MS)),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10 * _MS),
    # gRPC's own probes of the bandwidth are pings as well, far more than one in 10 s where data flows towards the
    # server's peer and few frames go back: counted as strikes, they would cut a link that works ("too_many_pings").
    ("grpc.http2.max_ping_strikes", 0),
]


class Silent(TimeoutError):
    """Something accepted the connection, and did not answer in TLS within the time."""


def server_options(connections: int) -> Options:
    """The server's, with so many connections at once: the next one is closed as soon as it is accepted. Strangers need
    no certificate to make one, and each takes a file handle that the folder's work may need."""
    return [*SERVER_OPTIONS, ("grpc.max_allowed_incoming_connections", connections)]


def connections_max() -> int:
    """How many connections the port may hold, so that enough file handles stay for the disk."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, soft // CONNECTIONS_FILES_SHARE)


async def fetch_certificate(address: str, timeout_s: float) -> bytes:
    """The certificate (DER) that the server at HOST:PORT shows in a TLS 1.3 handshake. Nothing is trusted by this: in
    TLS 1.3 the server shows it before it looks at the client's.

    Raises:
        AddressFault: not HOST:PORT.
        OSError: nobody answers there, or not in TLS (`ssl.SSLError` is one).
        TimeoutError: not within `timeout_s`; `Silent` where the connection itself was accepted.
    """
    host, port = parse_address(address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=DIAL_STAGGER_S)
            await writer.start_tls(context)
            tls = writer.get_extra_info("ssl_object")
            certificate = tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) else None
    except ConnectionError as fault:
        if writer is not None:  # it was accepted, and then hung up on: TLS is not spoken there
            raise ssl.SSLError(f"{address} hung up: {fault}") from None
        raise
    except TimeoutError as fault:
        raise Silent(*fault.args) if writer is not None else fault from None
    finally:
        if writer is not None:
            writer.transport.abort()  # an orderly goodbye would wait for a server that has refused us
    if not certificate:
        raise ssl.SSLError(f"{address} shows no certificate")
    return certificate
