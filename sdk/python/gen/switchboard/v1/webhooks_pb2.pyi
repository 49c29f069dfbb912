import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from switchboard.v1 import common_pb2 as _common_pb2
from switchboard.v1 import contacts_pb2 as _contacts_pb2
from switchboard.v1 import dialogues_pb2 as _dialogues_pb2
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
    INBOUND_OUTCOME_IGNORED: _ClassVar[InboundOutcome]

class EndpointSchedule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENDPOINT_SCHEDULE_UNSPECIFIED: _ClassVar[EndpointSchedule]
    ENDPOINT_SCHEDULE_STANDARD: _ClassVar[EndpointSchedule]
    ENDPOINT_SCHEDULE_SANDBOX: _ClassVar[EndpointSchedule]

class DispatchState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DISPATCH_STATE_UNSPECIFIED: _ClassVar[DispatchState]
    DISPATCH_STATE_PENDING: _ClassVar[DispatchState]
    DISPATCH_STATE_STARTED: _ClassVar[DispatchState]
    DISPATCH_STATE_DELIVERED: _ClassVar[DispatchState]
    DISPATCH_STATE_DEAD: _ClassVar[DispatchState]
MESSAGE_SENDER_UNSPECIFIED: MessageSender
MESSAGE_SENDER_CUSTOMER: MessageSender
MESSAGE_SENDER_EMPLOYEE: MessageSender
INBOUND_OUTCOME_UNSPECIFIED: InboundOutcome
INBOUND_OUTCOME_RECORDED: InboundOutcome
INBOUND_OUTCOME_DUPLICATE: InboundOutcome
INBOUND_OUTCOME_CONFLICT: InboundOutcome
INBOUND_OUTCOME_QUARANTINED: InboundOutcome
INBOUND_OUTCOME_IGNORED: InboundOutcome
ENDPOINT_SCHEDULE_UNSPECIFIED: EndpointSchedule
ENDPOINT_SCHEDULE_STANDARD: EndpointSchedule
ENDPOINT_SCHEDULE_SANDBOX: EndpointSchedule
DISPATCH_STATE_UNSPECIFIED: DispatchState
DISPATCH_STATE_PENDING: DispatchState
DISPATCH_STATE_STARTED: DispatchState
DISPATCH_STATE_DELIVERED: DispatchState
DISPATCH_STATE_DEAD: DispatchState

class InboundWebhook(_message.Message):
    __slots__ = ("id", "channel_id", "route", "headers", "body", "outcome", "reason", "message_id", "dialogue_id", "receive_time", "integration_id")
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
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
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
    integration_id: str
    def __init__(self, id: _Optional[str] = ..., channel_id: _Optional[str] = ..., route: _Optional[str] = ..., headers: _Optional[_Mapping[str, str]] = ..., body: _Optional[bytes] = ..., outcome: _Optional[_Union[InboundOutcome, str]] = ..., reason: _Optional[str] = ..., message_id: _Optional[str] = ..., dialogue_id: _Optional[str] = ..., receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., integration_id: _Optional[str] = ...) -> None: ...

class ReceiveMessageRequest(_message.Message):
    __slots__ = ("channel_id", "chat", "message_id", "text", "sender", "parts", "contact", "crm", "metadata", "send_time")
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    CRM_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SEND_TIME_FIELD_NUMBER: _ClassVar[int]
    channel_id: str
    chat: str
    message_id: str
    text: str
    sender: MessageSender
    parts: _containers.RepeatedCompositeFieldContainer[_common_pb2.MessagePart]
    contact: _contacts_pb2.ToldContact
    crm: _common_pb2.CrmReferences
    metadata: _struct_pb2.Struct
    send_time: _timestamp_pb2.Timestamp
    def __init__(self, channel_id: _Optional[str] = ..., chat: _Optional[str] = ..., message_id: _Optional[str] = ..., text: _Optional[str] = ..., sender: _Optional[_Union[MessageSender, str]] = ..., parts: _Optional[_Iterable[_Union[_common_pb2.MessagePart, _Mapping]]] = ..., contact: _Optional[_Union[_contacts_pb2.ToldContact, _Mapping]] = ..., crm: _Optional[_Union[_common_pb2.CrmReferences, _Mapping]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., send_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("page_size", "page_token", "channel_id", "outcome", "integration_id")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    channel_id: str
    outcome: InboundOutcome
    integration_id: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., channel_id: _Optional[str] = ..., outcome: _Optional[_Union[InboundOutcome, str]] = ..., integration_id: _Optional[str] = ...) -> None: ...

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

class Endpoint(_message.Message):
    __slots__ = ("id", "display_name", "url", "event_types", "channel_id", "schedule", "active", "disabled_reason", "failing_since_time", "previous_secret_expire_time", "create_time", "update_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    DISABLED_REASON_FIELD_NUMBER: _ClassVar[int]
    FAILING_SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SECRET_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    url: str
    event_types: _containers.RepeatedScalarFieldContainer[str]
    channel_id: str
    schedule: EndpointSchedule
    active: bool
    disabled_reason: str
    failing_since_time: _timestamp_pb2.Timestamp
    previous_secret_expire_time: _timestamp_pb2.Timestamp
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., url: _Optional[str] = ..., event_types: _Optional[_Iterable[str]] = ..., channel_id: _Optional[str] = ..., schedule: _Optional[_Union[EndpointSchedule, str]] = ..., active: _Optional[bool] = ..., disabled_reason: _Optional[str] = ..., failing_since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., previous_secret_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Dispatch(_message.Message):
    __slots__ = ("id", "endpoint_id", "event_id", "event_type", "dialogue_id", "state", "reason", "attempt_count", "next_attempt_time", "replay", "attempts", "create_time", "settle_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_TIME_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SETTLE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    dialogue_id: str
    state: DispatchState
    reason: str
    attempt_count: int
    next_attempt_time: _timestamp_pb2.Timestamp
    replay: bool
    attempts: _containers.RepeatedCompositeFieldContainer[_dialogues_pb2.Attempt]
    create_time: _timestamp_pb2.Timestamp
    settle_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., endpoint_id: _Optional[str] = ..., event_id: _Optional[str] = ..., event_type: _Optional[str] = ..., dialogue_id: _Optional[str] = ..., state: _Optional[_Union[DispatchState, str]] = ..., reason: _Optional[str] = ..., attempt_count: _Optional[int] = ..., next_attempt_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., replay: _Optional[bool] = ..., attempts: _Optional[_Iterable[_Union[_dialogues_pb2.Attempt, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., settle_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateEndpointRequest(_message.Message):
    __slots__ = ("endpoint", "request_id")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    endpoint: Endpoint
    request_id: str
    def __init__(self, endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateEndpointResponse(_message.Message):
    __slots__ = ("endpoint", "secret")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    endpoint: Endpoint
    secret: str
    def __init__(self, endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class GetEndpointRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetEndpointResponse(_message.Message):
    __slots__ = ("endpoint",)
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    endpoint: Endpoint
    def __init__(self, endpoint: _Optional[_Union[Endpoint, _Mapping]] = ...) -> None: ...

class ListEndpointsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "active")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    active: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., active: _Optional[bool] = ...) -> None: ...

class ListEndpointsResponse(_message.Message):
    __slots__ = ("endpoints", "next_page_token")
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    endpoints: _containers.RepeatedCompositeFieldContainer[Endpoint]
    next_page_token: str
    def __init__(self, endpoints: _Optional[_Iterable[_Union[Endpoint, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateEndpointRequest(_message.Message):
    __slots__ = ("endpoint", "update_mask")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    endpoint: Endpoint
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateEndpointResponse(_message.Message):
    __slots__ = ("endpoint",)
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    endpoint: Endpoint
    def __init__(self, endpoint: _Optional[_Union[Endpoint, _Mapping]] = ...) -> None: ...

class DeleteEndpointRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteEndpointResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RotateEndpointSecretRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RotateEndpointSecretResponse(_message.Message):
    __slots__ = ("endpoint", "secret")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    endpoint: Endpoint
    secret: str
    def __init__(self, endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class TestEndpointRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class TestEndpointResponse(_message.Message):
    __slots__ = ("attempt",)
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    attempt: _dialogues_pb2.Attempt
    def __init__(self, attempt: _Optional[_Union[_dialogues_pb2.Attempt, _Mapping]] = ...) -> None: ...

class ListDispatchesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "endpoint_id", "state")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    endpoint_id: str
    state: DispatchState
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., endpoint_id: _Optional[str] = ..., state: _Optional[_Union[DispatchState, str]] = ...) -> None: ...

class ListDispatchesResponse(_message.Message):
    __slots__ = ("dispatches", "next_page_token")
    DISPATCHES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dispatches: _containers.RepeatedCompositeFieldContainer[Dispatch]
    next_page_token: str
    def __init__(self, dispatches: _Optional[_Iterable[_Union[Dispatch, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetDispatchRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetDispatchResponse(_message.Message):
    __slots__ = ("dispatch",)
    DISPATCH_FIELD_NUMBER: _ClassVar[int]
    dispatch: Dispatch
    def __init__(self, dispatch: _Optional[_Union[Dispatch, _Mapping]] = ...) -> None: ...

class RetryDispatchRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RetryDispatchResponse(_message.Message):
    __slots__ = ("dispatch",)
    DISPATCH_FIELD_NUMBER: _ClassVar[int]
    dispatch: Dispatch
    def __init__(self, dispatch: _Optional[_Union[Dispatch, _Mapping]] = ...) -> None: ...

class ReplayEventsRequest(_message.Message):
    __slots__ = ("endpoint_id", "event_ids", "start_cursor", "end_cursor", "event_types")
    ENDPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    START_CURSOR_FIELD_NUMBER: _ClassVar[int]
    END_CURSOR_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    endpoint_id: str
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    start_cursor: str
    end_cursor: str
    event_types: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, endpoint_id: _Optional[str] = ..., event_ids: _Optional[_Iterable[str]] = ..., start_cursor: _Optional[str] = ..., end_cursor: _Optional[str] = ..., event_types: _Optional[_Iterable[str]] = ...) -> None: ...

class ReplayEventsResponse(_message.Message):
    __slots__ = ("dispatch_count", "next_cursor", "more")
    DISPATCH_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    dispatch_count: int
    next_cursor: str
    more: bool
    def __init__(self, dispatch_count: _Optional[int] = ..., next_cursor: _Optional[str] = ..., more: _Optional[bool] = ...) -> None: ...
