import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MessageSender(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESSAGE_SENDER_UNSPECIFIED: _ClassVar[MessageSender]
    MESSAGE_SENDER_CUSTOMER: _ClassVar[MessageSender]
    MESSAGE_SENDER_EMPLOYEE: _ClassVar[MessageSender]

class InboundOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INBOUND_OUTCOME_UNSPECIFIED: _ClassVar[InboundOutcome]
    INBOUND_OUTCOME_RECORDED: _ClassVar[InboundOutcome]
    INBOUND_OUTCOME_DUPLICATE: _ClassVar[InboundOutcome]
    INBOUND_OUTCOME_CONFLICT: _ClassVar[InboundOutcome]
    INBOUND_OUTCOME_QUARANTINED: _ClassVar[InboundOutcome]
MESSAGE_SENDER_UNSPECIFIED: MessageSender
MESSAGE_SENDER_CUSTOMER: MessageSender
MESSAGE_SENDER_EMPLOYEE: MessageSender
INBOUND_OUTCOME_UNSPECIFIED: InboundOutcome
INBOUND_OUTCOME_RECORDED: InboundOutcome
INBOUND_OUTCOME_DUPLICATE: InboundOutcome
INBOUND_OUTCOME_CONFLICT: InboundOutcome
INBOUND_OUTCOME_QUARANTINED: InboundOutcome

class InboundWebhook(_message.Message):
    __slots__ = ("id", "channel_id", "route", "headers", "body", "outcome", "reason", "message_id", "dialogue_id", "receive_time")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    channel_id: str
    route: str
    headers: _containers.ScalarMap[str, str]
    body: bytes
    outcome: InboundOutcome
    reason: str
    message_id: str
    dialogue_id: str
    receive_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., channel_id: _Optional[str] = ..., route: _Optional[str] = ..., headers: _Optional[_Mapping[str, str]] = ..., body: _Optional[bytes] = ..., outcome: _Optional[_Union[InboundOutcome, str]] = ..., reason: _Optional[str] = ..., message_id: _Optional[str] = ..., dialogue_id: _Optional[str] = ..., receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReceiveMessageRequest(_message.Message):
    __slots__ = ("channel_id", "chat", "message_id", "text", "sender")
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    channel_id: str
    chat: str
    message_id: str
    text: str
    sender: MessageSender
    def __init__(self, channel_id: _Optional[str] = ..., chat: _Optional[str] = ..., message_id: _Optional[str] = ..., text: _Optional[str] = ..., sender: _Optional[_Union[MessageSender, str]] = ...) -> None: ...

class ReceiveMessageResponse(_message.Message):
    __slots__ = ("message_id", "dialogue_id", "outcome", "external_id")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    dialogue_id: str
    outcome: InboundOutcome
    external_id: str
    def __init__(self, message_id: _Optional[str] = ..., dialogue_id: _Optional[str] = ..., outcome: _Optional[_Union[InboundOutcome, str]] = ..., external_id: _Optional[str] = ...) -> None: ...

class ListInboundWebhooksRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "channel_id", "outcome")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    channel_id: str
    outcome: InboundOutcome
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., channel_id: _Optional[str] = ..., outcome: _Optional[_Union[InboundOutcome, str]] = ...) -> None: ...

class ListInboundWebhooksResponse(_message.Message):
    __slots__ = ("inbound_webhooks", "next_page_token")
    INBOUND_WEBHOOKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    inbound_webhooks: _containers.RepeatedCompositeFieldContainer[InboundWebhook]
    next_page_token: str
    def __init__(self, inbound_webhooks: _Optional[_Iterable[_Union[InboundWebhook, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetInboundWebhookRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetInboundWebhookResponse(_message.Message):
    __slots__ = ("inbound_webhook",)
    INBOUND_WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    inbound_webhook: InboundWebhook
    def __init__(self, inbound_webhook: _Optional[_Union[InboundWebhook, _Mapping]] = ...) -> None: ...

class ReplayInboundWebhookRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ReplayInboundWebhookResponse(_message.Message):
    __slots__ = ("inbound_webhook",)
    INBOUND_WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    inbound_webhook: InboundWebhook
    def __init__(self, inbound_webhook: _Optional[_Union[InboundWebhook, _Mapping]] = ...) -> None: ...
