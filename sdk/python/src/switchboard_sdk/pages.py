"""Lists of any length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import Message


def pages(method: Callable[..., Any], request: Message, **options: Any) -> Iterator[Any]:
    """Every item of a list, from the request's page on, asking for the next page when it is needed.

    ``method`` is one like ``client.agents.ListAgents``; ``options`` such as ``timeout`` go to each call. The request
    stays as it is. A call that fails raises ``grpc.RpcError`` where the iterator is.
    """
    copy = type(request)()
    copy.CopyFrom(request)
    if "page_token" not in copy.DESCRIPTOR.fields_by_name:
        raise TypeError(f"{copy.DESCRIPTOR.name} asks for no pages")
    return _items(method, copy, options)


def _items(method: Callable[..., Any], request: Any, options: dict[str, Any]) -> Iterator[Any]:
    while True:
        response = method(request, **options)
        # An answer with pages holds one list and the token of the next page.
        (items,) = (field.name for field in response.DESCRIPTOR.fields if field.is_repeated)
        yield from getattr(response, items)
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token
