import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from switchboard.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Weekday(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WEEKDAY_UNSPECIFIED: _ClassVar[Weekday]
    WEEKDAY_MONDAY: _ClassVar[Weekday]
    WEEKDAY_TUESDAY: _ClassVar[Weekday]
    WEEKDAY_WEDNESDAY: _ClassVar[Weekday]
    WEEKDAY_THURSDAY: _ClassVar[Weekday]
    WEEKDAY_FRIDAY: _ClassVar[Weekday]
    WEEKDAY_SATURDAY: _ClassVar[Weekday]
    WEEKDAY_SUNDAY: _ClassVar[Weekday]

class OutsideHours(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTSIDE_HOURS_UNSPECIFIED: _ClassVar[OutsideHours]
    OUTSIDE_HOURS_ANSWER_TEXT: _ClassVar[OutsideHours]
    OUTSIDE_HOURS_STAY_SILENT: _ClassVar[OutsideHours]
    OUTSIDE_HOURS_HAND_OVER: _ClassVar[OutsideHours]
    OUTSIDE_HOURS_WAIT: _ClassVar[OutsideHours]

class NewerMessage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NEWER_MESSAGE_UNSPECIFIED: _ClassVar[NewerMessage]
    NEWER_MESSAGE_NEXT_TURN: _ClassVar[NewerMessage]
    NEWER_MESSAGE_RESTART: _ClassVar[NewerMessage]

class OnFailure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_FAILURE_UNSPECIFIED: _ClassVar[OnFailure]
    ON_FAILURE_STAY_SILENT: _ClassVar[OnFailure]
    ON_FAILURE_FALLBACK_TEXT: _ClassVar[OnFailure]
    ON_FAILURE_HAND_OVER: _ClassVar[OnFailure]

class OnLate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_LATE_UNSPECIFIED: _ClassVar[OnLate]
    ON_LATE_ANSWER: _ClassVar[OnLate]
    ON_LATE_APOLOGISE: _ClassVar[OnLate]
    ON_LATE_HAND_OVER: _ClassVar[OnLate]

class Takeover(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TAKEOVER_UNSPECIFIED: _ClassVar[Takeover]
    TAKEOVER_BY_DOOR: _ClassVar[Takeover]
    TAKEOVER_TAKE_CONTROL: _ClassVar[Takeover]
    TAKEOVER_RECORD_ONLY: _ClassVar[Takeover]

class UsagePurpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USAGE_PURPOSE_UNSPECIFIED: _ClassVar[UsagePurpose]
    USAGE_PURPOSE_TURN: _ClassVar[UsagePurpose]
    USAGE_PURPOSE_PREVIEW: _ClassVar[UsagePurpose]
    USAGE_PURPOSE_REPLAY: _ClassVar[UsagePurpose]
WEEKDAY_UNSPECIFIED: Weekday
WEEKDAY_MONDAY: Weekday
WEEKDAY_TUESDAY: Weekday
WEEKDAY_WEDNESDAY: Weekday
WEEKDAY_THURSDAY: Weekday
WEEKDAY_FRIDAY: Weekday
WEEKDAY_SATURDAY: Weekday
WEEKDAY_SUNDAY: Weekday
OUTSIDE_HOURS_UNSPECIFIED: OutsideHours
OUTSIDE_HOURS_ANSWER_TEXT: OutsideHours
OUTSIDE_HOURS_STAY_SILENT: OutsideHours
OUTSIDE_HOURS_HAND_OVER: OutsideHours
OUTSIDE_HOURS_WAIT: OutsideHours
NEWER_MESSAGE_UNSPECIFIED: NewerMessage
NEWER_MESSAGE_NEXT_TURN: NewerMessage
NEWER_MESSAGE_RESTART: NewerMessage
ON_FAILURE_UNSPECIFIED: OnFailure
ON_FAILURE_STAY_SILENT: OnFailure
ON_FAILURE_FALLBACK_TEXT: OnFailure
ON_FAILURE_HAND_OVER: OnFailure
ON_LATE_UNSPECIFIED: OnLate
ON_LATE_ANSWER: OnLate
ON_LATE_APOLOGISE: OnLate
ON_LATE_HAND_OVER: OnLate
TAKEOVER_UNSPECIFIED: Takeover
TAKEOVER_BY_DOOR: Takeover
TAKEOVER_TAKE_CONTROL: Takeover
TAKEOVER_RECORD_ONLY: Takeover
USAGE_PURPOSE_UNSPECIFIED: UsagePurpose
USAGE_PURPOSE_TURN: UsagePurpose
USAGE_PURPOSE_PREVIEW: UsagePurpose
USAGE_PURPOSE_REPLAY: UsagePurpose

class Agent(_message.Message):
    __slots__ = ("id", "display_name", "instructions", "engine", "active", "token_suffix", "create_time", "update_time", "reply_policy", "time_zone", "history", "languages", "schedule", "toolbox", "fallback_engine", "budgets", "on_budget_exhausted", "crm_context")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_SUFFIX_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    REPLY_POLICY_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    TOOLBOX_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_ENGINE_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    ON_BUDGET_EXHAUSTED_FIELD_NUMBER: _ClassVar[int]
    CRM_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    instructions: str
    engine: Engine
    active: bool
    token_suffix: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    reply_policy: ReplyPolicy
    time_zone: str
    history: HistoryWindow
    languages: Languages
    schedule: Schedule
    toolbox: Toolbox
    fallback_engine: Engine
    budgets: _containers.RepeatedCompositeFieldContainer[_common_pb2.Budget]
    on_budget_exhausted: OnFailure
    crm_context: CrmContext
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., instructions: _Optional[str] = ..., engine: _Optional[_Union[Engine, _Mapping]] = ..., active: _Optional[bool] = ..., token_suffix: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reply_policy: _Optional[_Union[ReplyPolicy, _Mapping]] = ..., time_zone: _Optional[str] = ..., history: _Optional[_Union[HistoryWindow, _Mapping]] = ..., languages: _Optional[_Union[Languages, _Mapping]] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ..., toolbox: _Optional[_Union[Toolbox, _Mapping]] = ..., fallback_engine: _Optional[_Union[Engine, _Mapping]] = ..., budgets: _Optional[_Iterable[_Union[_common_pb2.Budget, _Mapping]]] = ..., on_budget_exhausted: _Optional[_Union[OnFailure, str]] = ..., crm_context: _Optional[_Union[CrmContext, _Mapping]] = ...) -> None: ...

class CrmContext(_message.Message):
    __slots__ = ("integration_id", "lead_fields", "contact_fields")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    LEAD_FIELDS_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELDS_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    lead_fields: _containers.RepeatedScalarFieldContainer[str]
    contact_fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, integration_id: _Optional[str] = ..., lead_fields: _Optional[_Iterable[str]] = ..., contact_fields: _Optional[_Iterable[str]] = ...) -> None: ...

class HistoryWindow(_message.Message):
    __slots__ = ("max_messages", "max_tokens")
    MAX_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    max_messages: int
    max_tokens: int
    def __init__(self, max_messages: _Optional[int] = ..., max_tokens: _Optional[int] = ...) -> None: ...

class Languages(_message.Message):
    __slots__ = ("codes", "default_code")
    CODES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_CODE_FIELD_NUMBER: _ClassVar[int]
    codes: _containers.RepeatedScalarFieldContainer[str]
    default_code: str
    def __init__(self, codes: _Optional[_Iterable[str]] = ..., default_code: _Optional[str] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("hours", "holidays", "outside", "outside_text")
    HOURS_FIELD_NUMBER: _ClassVar[int]
    HOLIDAYS_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_TEXT_FIELD_NUMBER: _ClassVar[int]
    hours: _containers.RepeatedCompositeFieldContainer[WeeklyHours]
    holidays: _containers.RepeatedCompositeFieldContainer[Holiday]
    outside: OutsideHours
    outside_text: str
    def __init__(self, hours: _Optional[_Iterable[_Union[WeeklyHours, _Mapping]]] = ..., holidays: _Optional[_Iterable[_Union[Holiday, _Mapping]]] = ..., outside: _Optional[_Union[OutsideHours, str]] = ..., outside_text: _Optional[str] = ...) -> None: ...

class WeeklyHours(_message.Message):
    __slots__ = ("day", "start", "end")
    DAY_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    day: Weekday
    start: str
    end: str
    def __init__(self, day: _Optional[_Union[Weekday, str]] = ..., start: _Optional[str] = ..., end: _Optional[str] = ...) -> None: ...

class Holiday(_message.Message):
    __slots__ = ("date", "start", "end")
    DATE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    date: str
    start: str
    end: str
    def __init__(self, date: _Optional[str] = ..., start: _Optional[str] = ..., end: _Optional[str] = ...) -> None: ...

class Toolbox(_message.Message):
    __slots__ = ("tools", "http")
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    HTTP_FIELD_NUMBER: _ClassVar[int]
    tools: _containers.RepeatedCompositeFieldContainer[Tool]
    http: _containers.RepeatedCompositeFieldContainer[HttpTool]
    def __init__(self, tools: _Optional[_Iterable[_Union[Tool, _Mapping]]] = ..., http: _Optional[_Iterable[_Union[HttpTool, _Mapping]]] = ...) -> None: ...

class Tool(_message.Message):
    __slots__ = ("name", "settings")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    settings: _struct_pb2.Struct
    def __init__(self, name: _Optional[str] = ..., settings: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class HttpTool(_message.Message):
    __slots__ = ("name", "description", "parameters", "method", "url", "headers", "timeout", "max_response_bytes", "effect")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters: _struct_pb2.Struct
    method: str
    url: str
    headers: _containers.RepeatedCompositeFieldContainer[HttpToolHeader]
    timeout: _duration_pb2.Duration
    max_response_bytes: int
    effect: bool
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., method: _Optional[str] = ..., url: _Optional[str] = ..., headers: _Optional[_Iterable[_Union[HttpToolHeader, _Mapping]]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_response_bytes: _Optional[int] = ..., effect: _Optional[bool] = ...) -> None: ...

class HttpToolHeader(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class ReplyPolicy(_message.Message):
    __slots__ = ("quiet_window", "longest_wait", "newer_message", "max_restarts", "on_failure", "fallback_text", "late_after", "on_late", "apology_text", "takeover", "return_after", "hand_over_notice", "return_rules")
    QUIET_WINDOW_FIELD_NUMBER: _ClassVar[int]
    LONGEST_WAIT_FIELD_NUMBER: _ClassVar[int]
    NEWER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MAX_RESTARTS_FIELD_NUMBER: _ClassVar[int]
    ON_FAILURE_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_TEXT_FIELD_NUMBER: _ClassVar[int]
    LATE_AFTER_FIELD_NUMBER: _ClassVar[int]
    ON_LATE_FIELD_NUMBER: _ClassVar[int]
    APOLOGY_TEXT_FIELD_NUMBER: _ClassVar[int]
    TAKEOVER_FIELD_NUMBER: _ClassVar[int]
    RETURN_AFTER_FIELD_NUMBER: _ClassVar[int]
    HAND_OVER_NOTICE_FIELD_NUMBER: _ClassVar[int]
    RETURN_RULES_FIELD_NUMBER: _ClassVar[int]
    quiet_window: _duration_pb2.Duration
    longest_wait: _duration_pb2.Duration
    newer_message: NewerMessage
    max_restarts: int
    on_failure: OnFailure
    fallback_text: str
    late_after: _duration_pb2.Duration
    on_late: OnLate
    apology_text: str
    takeover: Takeover
    return_after: _duration_pb2.Duration
    hand_over_notice: str
    return_rules: ReturnRules
    def __init__(self, quiet_window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., longest_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., newer_message: _Optional[_Union[NewerMessage, str]] = ..., max_restarts: _Optional[int] = ..., on_failure: _Optional[_Union[OnFailure, str]] = ..., fallback_text: _Optional[str] = ..., late_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., on_late: _Optional[_Union[OnLate, str]] = ..., apology_text: _Optional[str] = ..., takeover: _Optional[_Union[Takeover, str]] = ..., return_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., hand_over_notice: _Optional[str] = ..., return_rules: _Optional[_Union[ReturnRules, _Mapping]] = ...) -> None: ...

class ReturnRules(_message.Message):
    __slots__ = ("unanswered_after", "phrases")
    UNANSWERED_AFTER_FIELD_NUMBER: _ClassVar[int]
    PHRASES_FIELD_NUMBER: _ClassVar[int]
    unanswered_after: _duration_pb2.Duration
    phrases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, unanswered_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., phrases: _Optional[_Iterable[str]] = ...) -> None: ...

class Engine(_message.Message):
    __slots__ = ("vendor", "model", "temperature", "max_output_tokens", "settings", "integration_id", "price")
    VENDOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    vendor: str
    model: str
    temperature: float
    max_output_tokens: int
    settings: _struct_pb2.Struct
    integration_id: str
    price: Price
    def __init__(self, vendor: _Optional[str] = ..., model: _Optional[str] = ..., temperature: _Optional[float] = ..., max_output_tokens: _Optional[int] = ..., settings: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., integration_id: _Optional[str] = ..., price: _Optional[_Union[Price, _Mapping]] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("currency", "input_micros", "cached_input_micros", "output_micros", "credit_micros")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    INPUT_MICROS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_MICROS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MICROS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_MICROS_FIELD_NUMBER: _ClassVar[int]
    currency: str
    input_micros: int
    cached_input_micros: int
    output_micros: int
    credit_micros: int
    def __init__(self, currency: _Optional[str] = ..., input_micros: _Optional[int] = ..., cached_input_micros: _Optional[int] = ..., output_micros: _Optional[int] = ..., credit_micros: _Optional[int] = ...) -> None: ...

class ListUsageRequest(_message.Message):
    __slots__ = ("agent_id", "start_time", "end_time")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, agent_id: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListUsageResponse(_message.Message):
    __slots__ = ("days",)
    DAYS_FIELD_NUMBER: _ClassVar[int]
    days: _containers.RepeatedCompositeFieldContainer[DailyUsage]
    def __init__(self, days: _Optional[_Iterable[_Union[DailyUsage, _Mapping]]] = ...) -> None: ...

class DailyUsage(_message.Message):
    __slots__ = ("day", "agent_id", "purpose", "count", "usage")
    DAY_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    day: _timestamp_pb2.Timestamp
    agent_id: str
    purpose: UsagePurpose
    count: int
    usage: _common_pb2.Usage
    def __init__(self, day: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., agent_id: _Optional[str] = ..., purpose: _Optional[_Union[UsagePurpose, str]] = ..., count: _Optional[int] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ...) -> None: ...

class CreateAgentRequest(_message.Message):
    __slots__ = ("agent", "request_id")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    request_id: str
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateAgentResponse(_message.Message):
    __slots__ = ("agent", "token")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    token: str
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ..., token: _Optional[str] = ...) -> None: ...

class GetAgentRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetAgentResponse(_message.Message):
    __slots__ = ("agent",)
    AGENT_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ...) -> None: ...

class ListAgentsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAgentsResponse(_message.Message):
    __slots__ = ("agents", "next_page_token")
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[Agent]
    next_page_token: str
    def __init__(self, agents: _Optional[_Iterable[_Union[Agent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateAgentRequest(_message.Message):
    __slots__ = ("agent", "update_mask")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateAgentResponse(_message.Message):
    __slots__ = ("agent",)
    AGENT_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ...) -> None: ...

class DeleteAgentRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteAgentResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RotateAgentTokenRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RotateAgentTokenResponse(_message.Message):
    __slots__ = ("agent", "token")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    token: str
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ..., token: _Optional[str] = ...) -> None: ...

class PreviewReplyRequest(_message.Message):
    __slots__ = ("agent_id", "agent", "messages", "timeout", "at_time")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    AT_TIME_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    agent: Agent
    messages: _containers.RepeatedCompositeFieldContainer[PreviewMessage]
    timeout: _duration_pb2.Duration
    at_time: _timestamp_pb2.Timestamp
    def __init__(self, agent_id: _Optional[str] = ..., agent: _Optional[_Union[Agent, _Mapping]] = ..., messages: _Optional[_Iterable[_Union[PreviewMessage, _Mapping]]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., at_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PreviewMessage(_message.Message):
    __slots__ = ("role", "text")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    role: _common_pb2.MessageRole
    text: str
    def __init__(self, role: _Optional[_Union[_common_pb2.MessageRole, str]] = ..., text: _Optional[str] = ...) -> None: ...

class PreviewReplyResponse(_message.Message):
    __slots__ = ("text", "reason", "error", "calls", "manifest", "prompt_hash", "usage")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PROMPT_HASH_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    text: str
    reason: str
    error: str
    calls: _containers.RepeatedCompositeFieldContainer[RehearsedCall]
    manifest: _struct_pb2.Struct
    prompt_hash: str
    usage: _common_pb2.Usage
    def __init__(self, text: _Optional[str] = ..., reason: _Optional[str] = ..., error: _Optional[str] = ..., calls: _Optional[_Iterable[_Union[RehearsedCall, _Mapping]]] = ..., manifest: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., prompt_hash: _Optional[str] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ...) -> None: ...

class RehearsedCall(_message.Message):
    __slots__ = ("tool", "arguments", "result", "would_do")
    TOOL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    WOULD_DO_FIELD_NUMBER: _ClassVar[int]
    tool: str
    arguments: _struct_pb2.Value
    result: _struct_pb2.Value
    would_do: bool
    def __init__(self, tool: _Optional[str] = ..., arguments: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., result: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., would_do: _Optional[bool] = ...) -> None: ...

class ReplayDialoguesRequest(_message.Message):
    __slots__ = ("agent_id", "agent", "dialogue_ids", "channel_id", "limit", "timeout")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    DIALOGUE_IDS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    agent: Agent
    dialogue_ids: _containers.RepeatedScalarFieldContainer[str]
    channel_id: str
    limit: int
    timeout: _duration_pb2.Duration
    def __init__(self, agent_id: _Optional[str] = ..., agent: _Optional[_Union[Agent, _Mapping]] = ..., dialogue_ids: _Optional[_Iterable[str]] = ..., channel_id: _Optional[str] = ..., limit: _Optional[int] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ReplayDialoguesResponse(_message.Message):
    __slots__ = ("turn", "summary")
    TURN_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    turn: ReplayedTurn
    summary: ReplaySummary
    def __init__(self, turn: _Optional[_Union[ReplayedTurn, _Mapping]] = ..., summary: _Optional[_Union[ReplaySummary, _Mapping]] = ...) -> None: ...

class ReplayedTurn(_message.Message):
    __slots__ = ("turn_id", "dialogue_id", "same", "asked", "before", "after", "divergences", "error")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    DIALOGUE_ID_FIELD_NUMBER: _ClassVar[int]
    SAME_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    DIVERGENCES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    dialogue_id: str
    same: bool
    asked: bool
    before: ReplayedAnswer
    after: ReplayedAnswer
    divergences: _containers.RepeatedScalarFieldContainer[str]
    error: str
    def __init__(self, turn_id: _Optional[str] = ..., dialogue_id: _Optional[str] = ..., same: _Optional[bool] = ..., asked: _Optional[bool] = ..., before: _Optional[_Union[ReplayedAnswer, _Mapping]] = ..., after: _Optional[_Union[ReplayedAnswer, _Mapping]] = ..., divergences: _Optional[_Iterable[str]] = ..., error: _Optional[str] = ...) -> None: ...

class ReplayedAnswer(_message.Message):
    __slots__ = ("text", "calls", "usage", "prompt_hash")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_HASH_FIELD_NUMBER: _ClassVar[int]
    text: str
    calls: _containers.RepeatedCompositeFieldContainer[RehearsedCall]
    usage: _common_pb2.Usage
    prompt_hash: str
    def __init__(self, text: _Optional[str] = ..., calls: _Optional[_Iterable[_Union[RehearsedCall, _Mapping]]] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., prompt_hash: _Optional[str] = ...) -> None: ...

class ReplaySummary(_message.Message):
    __slots__ = ("turns", "same", "diverged", "failed", "usage")
    TURNS_FIELD_NUMBER: _ClassVar[int]
    SAME_FIELD_NUMBER: _ClassVar[int]
    DIVERGED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    turns: int
    same: int
    diverged: int
    failed: int
    usage: _common_pb2.Usage
    def __init__(self, turns: _Optional[int] = ..., same: _Optional[int] = ..., diverged: _Optional[int] = ..., failed: _Optional[int] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("vendor", "integration_id", "refresh")
    VENDOR_FIELD_NUMBER: _ClassVar[int]
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    vendor: str
    integration_id: str
    refresh: bool
    def __init__(self, vendor: _Optional[str] = ..., integration_id: _Optional[str] = ..., refresh: _Optional[bool] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "fetch_time")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    FETCH_TIME_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    fetch_time: _timestamp_pb2.Timestamp
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., fetch_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("id", "display_name", "max_input_tokens", "max_output_tokens")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    MAX_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    max_input_tokens: int
    max_output_tokens: int
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., max_input_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ...) -> None: ...
