import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MessageRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESSAGE_ROLE_UNSPECIFIED: _ClassVar[MessageRole]
    MESSAGE_ROLE_USER: _ClassVar[MessageRole]
    MESSAGE_ROLE_ASSISTANT: _ClassVar[MessageRole]
    MESSAGE_ROLE_EMPLOYEE: _ClassVar[MessageRole]
    MESSAGE_ROLE_SYSTEM: _ClassVar[MessageRole]

class PartKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PART_KIND_UNSPECIFIED: _ClassVar[PartKind]
    PART_KIND_IMAGE: _ClassVar[PartKind]
    PART_KIND_AUDIO: _ClassVar[PartKind]
    PART_KIND_VIDEO: _ClassVar[PartKind]
    PART_KIND_FILE: _ClassVar[PartKind]
    PART_KIND_LOCATION: _ClassVar[PartKind]

class BudgetScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUDGET_SCOPE_UNSPECIFIED: _ClassVar[BudgetScope]
    BUDGET_SCOPE_TURN: _ClassVar[BudgetScope]
    BUDGET_SCOPE_DIALOGUE: _ClassVar[BudgetScope]
    BUDGET_SCOPE_CONTACT: _ClassVar[BudgetScope]
    BUDGET_SCOPE_AGENT: _ClassVar[BudgetScope]
    BUDGET_SCOPE_WORKSPACE: _ClassVar[BudgetScope]

class BudgetPeriod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUDGET_PERIOD_UNSPECIFIED: _ClassVar[BudgetPeriod]
    BUDGET_PERIOD_DAY: _ClassVar[BudgetPeriod]
MESSAGE_ROLE_UNSPECIFIED: MessageRole
MESSAGE_ROLE_USER: MessageRole
MESSAGE_ROLE_ASSISTANT: MessageRole
MESSAGE_ROLE_EMPLOYEE: MessageRole
MESSAGE_ROLE_SYSTEM: MessageRole
PART_KIND_UNSPECIFIED: PartKind
PART_KIND_IMAGE: PartKind
PART_KIND_AUDIO: PartKind
PART_KIND_VIDEO: PartKind
PART_KIND_FILE: PartKind
PART_KIND_LOCATION: PartKind
BUDGET_SCOPE_UNSPECIFIED: BudgetScope
BUDGET_SCOPE_TURN: BudgetScope
BUDGET_SCOPE_DIALOGUE: BudgetScope
BUDGET_SCOPE_CONTACT: BudgetScope
BUDGET_SCOPE_AGENT: BudgetScope
BUDGET_SCOPE_WORKSPACE: BudgetScope
BUDGET_PERIOD_UNSPECIFIED: BudgetPeriod
BUDGET_PERIOD_DAY: BudgetPeriod

class Message(_message.Message):
    __slots__ = ("id", "dialogue_id", "seq", "role", "text", "external_id", "turn_id", "create_time", "parts", "metadata", "send_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SEND_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    dialogue_id: str
    seq: int
    role: MessageRole
    text: str
    external_id: str
    turn_id: str
    create_time: _timestamp_pb2.Timestamp
    parts: _containers.RepeatedCompositeFieldContainer[MessagePart]
    metadata: _struct_pb2.Struct
    send_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., dialogue_id: _Optional[str] = ..., seq: _Optional[int] = ..., role: _Optional[_Union[MessageRole, str]] = ..., text: _Optional[str] = ..., external_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., parts: _Optional[_Iterable[_Union[MessagePart, _Mapping]]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., send_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CrmReferences(_message.Message):
    __slots__ = ("integration_id", "lead_id", "contact_id", "source_external_id")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    LEAD_ID_FIELD_NUMBER: _ClassVar[int]
    CONTACT_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    lead_id: str
    contact_id: str
    source_external_id: str
    def __init__(self, integration_id: _Optional[str] = ..., lead_id: _Optional[str] = ..., contact_id: _Optional[str] = ..., source_external_id: _Optional[str] = ...) -> None: ...

class MessagePart(_message.Message):
    __slots__ = ("kind", "url", "media_type", "name")
    KIND_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    kind: PartKind
    url: str
    media_type: str
    name: str
    def __init__(self, kind: _Optional[_Union[PartKind, str]] = ..., url: _Optional[str] = ..., media_type: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("calls", "unknown_calls", "input_tokens", "cached_input_tokens", "output_tokens", "cost_micros", "currency")
    CALLS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CALLS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_MICROS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    calls: int
    unknown_calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_micros: int
    currency: str
    def __init__(self, calls: _Optional[int] = ..., unknown_calls: _Optional[int] = ..., input_tokens: _Optional[int] = ..., cached_input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cost_micros: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("scope", "period", "max_tokens", "max_cost_micros", "currency")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_MICROS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    scope: BudgetScope
    period: BudgetPeriod
    max_tokens: int
    max_cost_micros: int
    currency: str
    def __init__(self, scope: _Optional[_Union[BudgetScope, str]] = ..., period: _Optional[_Union[BudgetPeriod, str]] = ..., max_tokens: _Optional[int] = ..., max_cost_micros: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...
