"""What the server says about a call that failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# What the server's ErrorInfo names as its own.
_DOMAIN = "switchboard"

_Detail = TypeVar("_Detail", bound=Message)


@dataclass(frozen=True)
class FieldViolation:
    """A field of a request that the server would not take."""

    field: str
    """Its path in the request, such as ``agent.display_name``."""
    description: str
    """What is wrong with it, for people."""


def reason(error: BaseException) -> str:
    """Why a call failed, such as ``AGENT_NOT_FOUND``: a name of the contract's ``ErrorReason`` without its prefix.

    Empty: the error has none, as when the server was not reached.
    """
    info = _info(error)
    return info.reason if info else ""


def metadata(error: BaseException) -> dict[str, str]:
    """The error's further facts by name; which there are depends on the reason."""
    info = _info(error)
    return dict(info.metadata) if info else {}


def field_violations(error: BaseException) -> list[FieldViolation]:
    """The fields that were not valid, all at once. Empty: it wasn't about fields."""
    bad = _detail(error, error_details_pb2.BadRequest)
    return [FieldViolation(each.field, each.description) for each in bad.field_violations] if bad else []


def retry_after(error: BaseException) -> timedelta | None:
    """How long the server asks to wait before another try, if it asks."""
    retry = _detail(error, error_details_pb2.RetryInfo)
    return retry.retry_delay.ToTimedelta() if retry and retry.HasField("retry_delay") else None


def _info(error: BaseException) -> error_details_pb2.ErrorInfo | None:
    info = _detail(error, error_details_pb2.ErrorInfo)
    return info if info and info.domain == _DOMAIN else None


def _detail(error: BaseException, kind: type[_Detail]) -> _Detail | None:
    """The status's first detail of a kind. What is no status of a call, or can't be read, has none."""
    if not (isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call)):
        return None
    try:
        status = rpc_status.from_call(error)
        for each in status.details if status else ():
            detail = kind()
            if each.Unpack(detail):
                return detail
    except (DecodeError, ValueError):
        pass
    return None
