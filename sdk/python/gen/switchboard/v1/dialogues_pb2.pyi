import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from switchboard.v1 import common_pb2 as _common_pb2
from switchboard.v1 import contacts_pb2 as _contacts_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DialogueStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIALOGUE_STATUS_UNSPECIFIED: _ClassVar[DialogueStatus]
    DIALOGUE_STATUS_PENDING: _ClassVar[DialogueStatus]
    DIALOGUE_STATUS_OPEN: _ClassVar[DialogueStatus]
    DIALOGUE_STATUS_SNOOZED: _ClassVar[DialogueStatus]
    DIALOGUE_STATUS_RESOLVED: _ClassVar[DialogueStatus]

class TurnState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TURN_STATE_UNSPECIFIED: _ClassVar[TurnState]
    TURN_STATE_COLLECTING: _ClassVar[TurnState]
    TURN_STATE_RUNNING: _ClassVar[TurnState]
    TURN_STATE_REPLIED: _ClassVar[TurnState]
    TURN_STATE_SILENT: _ClassVar[TurnState]
    TURN_STATE_FAILED: _ClassVar[TurnState]

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_STARTED: _ClassVar[RunState]
    RUN_STATE_ANSWERED: _ClassVar[RunState]
    RUN_STATE_LOST: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_SUPERSEDED: _ClassVar[RunState]
    RUN_STATE_WAITING: _ClassVar[RunState]

class DeliveryState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_STATE_UNSPECIFIED: _ClassVar[DeliveryState]
    DELIVERY_STATE_PENDING: _ClassVar[DeliveryState]
    DELIVERY_STATE_STARTED: _ClassVar[DeliveryState]
    DELIVERY_STATE_DELIVERED: _ClassVar[DeliveryState]
    DELIVERY_STATE_WITHHELD: _ClassVar[DeliveryState]
    DELIVERY_STATE_DEAD: _ClassVar[DeliveryState]
    DELIVERY_STATE_UNCERTAIN: _ClassVar[DeliveryState]
    DELIVERY_STATE_HELD: _ClassVar[DeliveryState]

class AttemptState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTEMPT_STATE_UNSPECIFIED: _ClassVar[AttemptState]
    ATTEMPT_STATE_STARTED: _ClassVar[AttemptState]
    ATTEMPT_STATE_SUCCEEDED: _ClassVar[AttemptState]
    ATTEMPT_STATE_FAILED: _ClassVar[AttemptState]
    ATTEMPT_STATE_UNKNOWN: _ClassVar[AttemptState]

class ControlHolder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTROL_HOLDER_UNSPECIFIED: _ClassVar[ControlHolder]
    CONTROL_HOLDER_AGENT: _ClassVar[ControlHolder]
    CONTROL_HOLDER_HUMAN: _ClassVar[ControlHolder]
    CONTROL_HOLDER_NOBODY: _ClassVar[ControlHolder]

class DeliveryReceipt(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_RECEIPT_UNSPECIFIED: _ClassVar[DeliveryReceipt]
    DELIVERY_RECEIPT_SENT: _ClassVar[DeliveryReceipt]
    DELIVERY_RECEIPT_FAILED: _ClassVar[DeliveryReceipt]
    DELIVERY_RECEIPT_DELIVERED: _ClassVar[DeliveryReceipt]
    DELIVERY_RECEIPT_READ: _ClassVar[DeliveryReceipt]

class MessageAuthor(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESSAGE_AUTHOR_UNSPECIFIED: _ClassVar[MessageAuthor]
    MESSAGE_AUTHOR_AGENT: _ClassVar[MessageAuthor]
    MESSAGE_AUTHOR_OPERATOR: _ClassVar[MessageAuthor]
    MESSAGE_AUTHOR_AUTOMATION: _ClassVar[MessageAuthor]
    MESSAGE_AUTHOR_SYSTEM: _ClassVar[MessageAuthor]

class DeliveryResolution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_RESOLUTION_UNSPECIFIED: _ClassVar[DeliveryResolution]
    DELIVERY_RESOLUTION_DELIVERED: _ClassVar[DeliveryResolution]
    DELIVERY_RESOLUTION_RESEND: _ClassVar[DeliveryResolution]
    DELIVERY_RESOLUTION_DISCARD: _ClassVar[DeliveryResolution]
DIALOGUE_STATUS_UNSPECIFIED: DialogueStatus
DIALOGUE_STATUS_PENDING: DialogueStatus
DIALOGUE_STATUS_OPEN: DialogueStatus
DIALOGUE_STATUS_SNOOZED: DialogueStatus
DIALOGUE_STATUS_RESOLVED: DialogueStatus
TURN_STATE_UNSPECIFIED: TurnState
TURN_STATE_COLLECTING: TurnState
TURN_STATE_RUNNING: TurnState
TURN_STATE_REPLIED: TurnState
TURN_STATE_SILENT: TurnState
TURN_STATE_FAILED: TurnState
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_STARTED: RunState
RUN_STATE_ANSWERED: RunState
RUN_STATE_LOST: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_SUPERSEDED: RunState
RUN_STATE_WAITING: RunState
DELIVERY_STATE_UNSPECIFIED: DeliveryState
DELIVERY_STATE_PENDING: DeliveryState
DELIVERY_STATE_STARTED: DeliveryState
DELIVERY_STATE_DELIVERED: DeliveryState
DELIVERY_STATE_WITHHELD: DeliveryState
DELIVERY_STATE_DEAD: DeliveryState
DELIVERY_STATE_UNCERTAIN: DeliveryState
DELIVERY_STATE_HELD: DeliveryState
ATTEMPT_STATE_UNSPECIFIED: AttemptState
ATTEMPT_STATE_STARTED: AttemptState
ATTEMPT_STATE_SUCCEEDED: AttemptState
ATTEMPT_STATE_FAILED: AttemptState
ATTEMPT_STATE_UNKNOWN: AttemptState
CONTROL_HOLDER_UNSPECIFIED: ControlHolder
CONTROL_HOLDER_AGENT: ControlHolder
CONTROL_HOLDER_HUMAN: ControlHolder
CONTROL_HOLDER_NOBODY: ControlHolder
DELIVERY_RECEIPT_UNSPECIFIED: DeliveryReceipt
DELIVERY_RECEIPT_SENT: DeliveryReceipt
DELIVERY_RECEIPT_FAILED: DeliveryReceipt
DELIVERY_RECEIPT_DELIVERED: DeliveryReceipt
DELIVERY_RECEIPT_READ: DeliveryReceipt
MESSAGE_AUTHOR_UNSPECIFIED: MessageAuthor
MESSAGE_AUTHOR_AGENT: MessageAuthor
MESSAGE_AUTHOR_OPERATOR: MessageAuthor
MESSAGE_AUTHOR_AUTOMATION: MessageAuthor
MESSAGE_AUTHOR_SYSTEM: MessageAuthor
DELIVERY_RESOLUTION_UNSPECIFIED: DeliveryResolution
DELIVERY_RESOLUTION_DELIVERED: DeliveryResolution
DELIVERY_RESOLUTION_RESEND: DeliveryResolution
DELIVERY_RESOLUTION_DISCARD: DeliveryResolution

class Dialogue(_message.Message):
    __slots__ = ("id", "channel_id", "chat", "status", "message_count", "attributes", "version", "create_time", "update_time", "control", "contact_id", "crm", "opted_out")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    CONTACT_ID_FIELD_NUMBER: _ClassVar[int]
    CRM_FIELD_NUMBER: _ClassVar[int]
    OPTED_OUT_FIELD_NUMBER: _ClassVar[int]
    id: str
    channel_id: str
    chat: str
    status: DialogueStatus
    message_count: int
    attributes: _struct_pb2.Struct
    version: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    control: Control
    contact_id: str
    crm: _common_pb2.CrmReferences
    opted_out: bool
    def __init__(self, id: _Optional[str] = ..., channel_id: _Optional[str] = ..., chat: _Optional[str] = ..., status: _Optional[_Union[DialogueStatus, str]] = ..., message_count: _Optional[int] = ..., attributes: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., version: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., control: _Optional[_Union[Control, _Mapping]] = ..., contact_id: _Optional[str] = ..., crm: _Optional[_Union[_common_pb2.CrmReferences, _Mapping]] = ..., opted_out: _Optional[bool] = ...) -> None: ...

class Control(_message.Message):
    __slots__ = ("holder", "since_time", "reason", "by", "return_time")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    RETURN_TIME_FIELD_NUMBER: _ClassVar[int]
    holder: ControlHolder
    since_time: _timestamp_pb2.Timestamp
    reason: str
    by: str
    return_time: _timestamp_pb2.Timestamp
    def __init__(self, holder: _Optional[_Union[ControlHolder, str]] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., by: _Optional[str] = ..., return_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Turn(_message.Message):
    __slots__ = ("id", "dialogue_id", "agent_id", "state", "reason", "covered_through", "reply_message_id", "runs", "create_time", "close_time", "late", "usage")
    ID_FIELD_NUMBER: _ClassVar[int]
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COVERED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    REPLY_MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TIME_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    id: str
    dialogue_id: str
    agent_id: str
    state: TurnState
    reason: str
    covered_through: int
    reply_message_id: str
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    create_time: _timestamp_pb2.Timestamp
    close_time: _timestamp_pb2.Timestamp
    late: bool
    usage: _common_pb2.Usage
    def __init__(self, id: _Optional[str] = ..., dialogue_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., state: _Optional[_Union[TurnState, str]] = ..., reason: _Optional[str] = ..., covered_through: _Optional[int] = ..., reply_message_id: _Optional[str] = ..., runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., close_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., late: _Optional[bool] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("number", "state", "error", "manifest", "start_time", "end_time", "usage", "prompt_hash")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_HASH_FIELD_NUMBER: _ClassVar[int]
    number: int
    state: RunState
    error: str
    manifest: _struct_pb2.Struct
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    usage: _common_pb2.Usage
    prompt_hash: str
    def __init__(self, number: _Optional[int] = ..., state: _Optional[_Union[RunState, str]] = ..., error: _Optional[str] = ..., manifest: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., prompt_hash: _Optional[str] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("id", "dialogue_id", "message_id", "channel_id", "state", "reason", "attempt_count", "next_attempt_time", "attempts", "create_time", "settle_time", "author", "text_from", "text_chars", "vendor_message_id", "receipt", "receipt_time", "receipt_error", "template")
    ID_FIELD_NUMBER: _ClassVar[int]
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SETTLE_TIME_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FROM_FIELD_NUMBER: _ClassVar[int]
    TEXT_CHARS_FIELD_NUMBER: _ClassVar[int]
    VENDOR_MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_TIME_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_ERROR_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    dialogue_id: str
    message_id: str
    channel_id: str
    state: DeliveryState
    reason: str
    attempt_count: int
    next_attempt_time: _timestamp_pb2.Timestamp
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    create_time: _timestamp_pb2.Timestamp
    settle_time: _timestamp_pb2.Timestamp
    author: MessageAuthor
    text_from: int
    text_chars: int
    vendor_message_id: str
    receipt: DeliveryReceipt
    receipt_time: _timestamp_pb2.Timestamp
    receipt_error: str
    template: _struct_pb2.Struct
    def __init__(self, id: _Optional[str] = ..., dialogue_id: _Optional[str] = ..., message_id: _Optional[str] = ..., channel_id: _Optional[str] = ..., state: _Optional[_Union[DeliveryState, str]] = ..., reason: _Optional[str] = ..., attempt_count: _Optional[int] = ..., next_attempt_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., settle_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., author: _Optional[_Union[MessageAuthor, str]] = ..., text_from: _Optional[int] = ..., text_chars: _Optional[int] = ..., vendor_message_id: _Optional[str] = ..., receipt: _Optional[_Union[DeliveryReceipt, str]] = ..., receipt_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., receipt_error: _Optional[str] = ..., template: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("number", "state", "http_status", "error", "response_excerpt", "start_time", "end_time")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_EXCERPT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    number: int
    state: AttemptState
    http_status: int
    error: str
    response_excerpt: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, number: _Optional[int] = ..., state: _Optional[_Union[AttemptState, str]] = ..., http_status: _Optional[int] = ..., error: _Optional[str] = ..., response_excerpt: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetDialogueRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetDialogueResponse(_message.Message):
    __slots__ = ("dialogue",)
    DIALOGUE_FIELD_NUMBER: _ClassVar[int]
    dialogue: Dialogue
    def __init__(self, dialogue: _Optional[_Union[Dialogue, _Mapping]] = ...) -> None: ...

class ListDialoguesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "channel_id", "status", "lead_id", "contact_id")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LEAD_ID_FIELD_NUMBER: _ClassVar[int]
    CONTACT_ID_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    channel_id: str
    status: DialogueStatus
    lead_id: str
    contact_id: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., channel_id: _Optional[str] = ..., status: _Optional[_Union[DialogueStatus, str]] = ..., lead_id: _Optional[str] = ..., contact_id: _Optional[str] = ...) -> None: ...

class ListDialoguesResponse(_message.Message):
    __slots__ = ("dialogues", "next_page_token")
    DIALOGUES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dialogues: _containers.RepeatedCompositeFieldContainer[Dialogue]
    next_page_token: str
    def __init__(self, dialogues: _Optional[_Iterable[_Union[Dialogue, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListMessagesRequest(_message.Message):
    __slots__ = ("dialogue_id", "page_size", "page_token")
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dialogue_id: str
    page_size: int
    page_token: str
    def __init__(self, dialogue_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListMessagesResponse(_message.Message):
    __slots__ = ("messages", "next_page_token")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[_common_pb2.Message]
    next_page_token: str
    def __init__(self, messages: _Optional[_Iterable[_Union[_common_pb2.Message, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListTurnsRequest(_message.Message):
    __slots__ = ("dialogue_id", "page_size", "page_token")
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dialogue_id: str
    page_size: int
    page_token: str
    def __init__(self, dialogue_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTurnsResponse(_message.Message):
    __slots__ = ("turns", "next_page_token")
    TURNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    turns: _containers.RepeatedCompositeFieldContainer[Turn]
    next_page_token: str
    def __init__(self, turns: _Optional[_Iterable[_Union[Turn, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetTurnRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetTurnResponse(_message.Message):
    __slots__ = ("turn",)
    TURN_FIELD_NUMBER: _ClassVar[int]
    turn: Turn
    def __init__(self, turn: _Optional[_Union[Turn, _Mapping]] = ...) -> None: ...

class ListDeliveriesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "dialogue_id", "state")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    dialogue_id: str
    state: DeliveryState
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., dialogue_id: _Optional[str] = ..., state: _Optional[_Union[DeliveryState, str]] = ...) -> None: ...

class ListDeliveriesResponse(_message.Message):
    __slots__ = ("deliveries", "next_page_token")
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    next_page_token: str
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetDeliveryRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetDeliveryResponse(_message.Message):
    __slots__ = ("delivery",)
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    delivery: Delivery
    def __init__(self, delivery: _Optional[_Union[Delivery, _Mapping]] = ...) -> None: ...

class RetryDeliveryRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RetryDeliveryResponse(_message.Message):
    __slots__ = ("delivery",)
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    delivery: Delivery
    def __init__(self, delivery: _Optional[_Union[Delivery, _Mapping]] = ...) -> None: ...

class ResolveDeliveryRequest(_message.Message):
    __slots__ = ("id", "resolution")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    id: str
    resolution: DeliveryResolution
    def __init__(self, id: _Optional[str] = ..., resolution: _Optional[_Union[DeliveryResolution, str]] = ...) -> None: ...

class ResolveDeliveryResponse(_message.Message):
    __slots__ = ("delivery",)
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    delivery: Delivery
    def __init__(self, delivery: _Optional[_Union[Delivery, _Mapping]] = ...) -> None: ...

class SendMessageRequest(_message.Message):
    __slots__ = ("dialogue_id", "text", "author", "by", "request_id", "parts", "template")
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    dialogue_id: str
    text: str
    author: MessageAuthor
    by: str
    request_id: str
    parts: _containers.RepeatedCompositeFieldContainer[_common_pb2.MessagePart]
    template: _struct_pb2.Struct
    def __init__(self, dialogue_id: _Optional[str] = ..., text: _Optional[str] = ..., author: _Optional[_Union[MessageAuthor, str]] = ..., by: _Optional[str] = ..., request_id: _Optional[str] = ..., parts: _Optional[_Iterable[_Union[_common_pb2.MessagePart, _Mapping]]] = ..., template: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class SendMessageResponse(_message.Message):
    __slots__ = ("message", "delivery")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    message: _common_pb2.Message
    delivery: Delivery
    def __init__(self, message: _Optional[_Union[_common_pb2.Message, _Mapping]] = ..., delivery: _Optional[_Union[Delivery, _Mapping]] = ...) -> None: ...

class TakeControlRequest(_message.Message):
    __slots__ = ("dialogue_id", "by", "reason", "return_after")
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETURN_AFTER_FIELD_NUMBER: _ClassVar[int]
    dialogue_id: str
    by: str
    reason: str
    return_after: _duration_pb2.Duration
    def __init__(self, dialogue_id: _Optional[str] = ..., by: _Optional[str] = ..., reason: _Optional[str] = ..., return_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TakeControlResponse(_message.Message):
    __slots__ = ("dialogue",)
    DIALOGUE_FIELD_NUMBER: _ClassVar[int]
    dialogue: Dialogue
    def __init__(self, dialogue: _Optional[_Union[Dialogue, _Mapping]] = ...) -> None: ...

class ReleaseControlRequest(_message.Message):
    __slots__ = ("dialogue_id", "by", "reason")
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    dialogue_id: str
    by: str
    reason: str
    def __init__(self, dialogue_id: _Optional[str] = ..., by: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ReleaseControlResponse(_message.Message):
    __slots__ = ("dialogue",)
    DIALOGUE_FIELD_NUMBER: _ClassVar[int]
    dialogue: Dialogue
    def __init__(self, dialogue: _Optional[_Union[Dialogue, _Mapping]] = ...) -> None: ...

class DeleteDialogueRequest(_message.Message):
    __slots__ = ("dialogue_id",)
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    dialogue_id: str
    def __init__(self, dialogue_id: _Optional[str] = ...) -> None: ...

class DeleteDialogueResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UpdateDialogueRequest(_message.Message):
    __slots__ = ("dialogue", "update_mask")
    DIALOGUE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    dialogue: Dialogue
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, dialogue: _Optional[_Union[Dialogue, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateDialogueResponse(_message.Message):
    __slots__ = ("dialogue",)
    DIALOGUE_FIELD_NUMBER: _ClassVar[int]
    dialogue: Dialogue
    def __init__(self, dialogue: _Optional[_Union[Dialogue, _Mapping]] = ...) -> None: ...

class ListContactsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "contact_id", "external_id")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CONTACT_ID_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    contact_id: str
    external_id: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., contact_id: _Optional[str] = ..., external_id: _Optional[str] = ...) -> None: ...

class ListContactsResponse(_message.Message):
    __slots__ = ("contacts", "next_page_token")
    CONTACTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    contacts: _containers.RepeatedCompositeFieldContainer[_contacts_pb2.Contact]
    next_page_token: str
    def __init__(self, contacts: _Optional[_Iterable[_Union[_contacts_pb2.Contact, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ImportMessagesRequest(_message.Message):
    __slots__ = ("channel_id", "messages", "chats")
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    CHATS_FIELD_NUMBER: _ClassVar[int]
    channel_id: str
    messages: _containers.RepeatedCompositeFieldContainer[ImportedMessage]
    chats: _containers.RepeatedCompositeFieldContainer[ImportedChat]
    def __init__(self, channel_id: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[ImportedMessage, _Mapping]]] = ..., chats: _Optional[_Iterable[_Union[ImportedChat, _Mapping]]] = ...) -> None: ...

class ImportedChat(_message.Message):
    __slots__ = ("chat", "contact", "crm", "status")
    CHAT_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    CRM_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    chat: str
    contact: _contacts_pb2.ToldContact
    crm: _common_pb2.CrmReferences
    status: DialogueStatus
    def __init__(self, chat: _Optional[str] = ..., contact: _Optional[_Union[_contacts_pb2.ToldContact, _Mapping]] = ..., crm: _Optional[_Union[_common_pb2.CrmReferences, _Mapping]] = ..., status: _Optional[_Union[DialogueStatus, str]] = ...) -> None: ...

class ImportedMessage(_message.Message):
    __slots__ = ("chat", "message_id", "role", "text", "create_time", "metadata")
    CHAT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    chat: str
    message_id: str
    role: _common_pb2.MessageRole
    text: str
    create_time: _timestamp_pb2.Timestamp
    metadata: _struct_pb2.Struct
    def __init__(self, chat: _Optional[str] = ..., message_id: _Optional[str] = ..., role: _Optional[_Union[_common_pb2.MessageRole, str]] = ..., text: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class ImportMessagesResponse(_message.Message):
    __slots__ = ("imported_count", "known_count", "created_dialogue_count", "faults")
    IMPORTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    KNOWN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CREATED_DIALOGUE_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    imported_count: int
    known_count: int
    created_dialogue_count: int
    faults: _containers.RepeatedCompositeFieldContainer[ImportFault]
    def __init__(self, imported_count: _Optional[int] = ..., known_count: _Optional[int] = ..., created_dialogue_count: _Optional[int] = ..., faults: _Optional[_Iterable[_Union[ImportFault, _Mapping]]] = ...) -> None: ...

class ImportFault(_message.Message):
    __slots__ = ("chat", "index", "reason")
    CHAT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    chat: bool
    index: int
    reason: str
    def __init__(self, chat: _Optional[bool] = ..., index: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...
