"""The connection to a server, and the clients of its services."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

import grpc

from switchboard.v1 import (
    agents_pb2_grpc,
    channels_pb2_grpc,
    crm_pb2_grpc,
    dialogues_pb2_grpc,
    events_pb2_grpc,
    integrations_pb2_grpc,
    sources_pb2_grpc,
    webhooks_pb2_grpc,
    workspaces_pb2_grpc,
)


class Client:
    """A connection that any number of threads may share.

    Each attribute is the generated client of a service, whose methods take a request and give the answer, or an iterator
    over the answers of a stream.

    ``endpoint`` is ``https://host:port``, or ``http://host:port`` for a connection without encryption. ``timeout`` is the
    deadline in seconds of unary calls that name none; ``None`` leaves them without one. Streams have none by default.
    """

    def __init__(self, endpoint: str, api_key: str, timeout: float | None = 30) -> None:
        target, encrypted = _target(endpoint)
        if not api_key or not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("the API key is empty or holds characters that a header can't")
        if encrypted:
            self._channel = grpc.secure_channel(target, grpc.ssl_channel_credentials())
        else:
            self._channel = grpc.insecure_channel(target)
        channel = grpc.intercept_channel(self._channel, _Defaults(api_key, timeout))
        self.agents = agents_pb2_grpc.AgentsServiceStub(channel)
        self.channels = channels_pb2_grpc.ChannelsServiceStub(channel)
        self.dialogues = dialogues_pb2_grpc.DialoguesServiceStub(channel)
        self.webhooks = webhooks_pb2_grpc.WebhooksServiceStub(channel)
        self.events = events_pb2_grpc.EventsServiceStub(channel)
        self.integrations = integrations_pb2_grpc.IntegrationsServiceStub(channel)
        self.crm = crm_pb2_grpc.CrmServiceStub(channel)
        self.sources = sources_pb2_grpc.SourcesServiceStub(channel)
        self.workspaces = workspaces_pb2_grpc.WorkspacesServiceStub(channel)

    def close(self) -> None:
        """Ends the connection and every call that is under way."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: list[tuple[str, str | bytes]]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _CallDetails(_Details, grpc.ClientCallDetails):
    pass


class _Defaults(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Sends the API key with every call, and gives unary calls a deadline."""

    def __init__(self, api_key: str, timeout: float | None) -> None:
        self._header = ("authorization", f"Bearer {api_key}")
        self._timeout = timeout

    def _details(self, details: grpc.ClientCallDetails, timeout: float | None) -> _CallDetails:
        return _CallDetails(
            method=details.method,
            timeout=timeout if details.timeout is None else details.timeout,
            metadata=[*(details.metadata or ()), self._header],
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
            compression=details.compression,
        )

    def intercept_unary_unary(self, continuation, client_call_details, request):
        return continuation(self._details(client_call_details, self._timeout), request)

    def intercept_unary_stream(self, continuation, client_call_details, request):
        return continuation(self._details(client_call_details, None), request)

    def intercept_stream_unary(self, continuation, client_call_details, request_iterator):
        return continuation(self._details(client_call_details, None), request_iterator)

    def intercept_stream_stream(self, continuation, client_call_details, request_iterator):
        return continuation(self._details(client_call_details, None), request_iterator)


def _target(endpoint: str) -> tuple[str, bool]:
    """What gRPC calls the endpoint, and whether it is encrypted."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"the endpoint {endpoint!r} must begin with http:// or https://")
    if not parts.hostname:
        raise ValueError(f"the endpoint {endpoint!r} names no host")
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("the endpoint may hold only a scheme, a host and a port")
    encrypted = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port if parts.port is not None else (443 if encrypted else 80)
    return f"{host}:{port}", encrypted
