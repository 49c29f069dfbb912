import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from switchboard.v1 import common_pb2 as _common_pb2
from switchboard.v1 import integrations_pb2 as _integrations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UncertainPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNCERTAIN_POLICY_UNSPECIFIED: _ClassVar[UncertainPolicy]
    UNCERTAIN_POLICY_RESEND: _ClassVar[UncertainPolicy]
    UNCERTAIN_POLICY_HOLD: _ClassVar[UncertainPolicy]
UNCERTAIN_POLICY_UNSPECIFIED: UncertainPolicy
UNCERTAIN_POLICY_RESEND: UncertainPolicy
UNCERTAIN_POLICY_HOLD: UncertainPolicy

class Channel(_message.Message):
    __slots__ = ("id", "display_name", "agent_id", "vendor", "url", "active", "token_suffix", "create_time", "update_time", "delivery_policy", "integration_id", "settings", "mirror")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    VENDOR_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_SUFFIX_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_POLICY_FIELD_NUMBER: _ClassVar[int]
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MIRROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    agent_id: str
    vendor: str
    url: str
    active: bool
    token_suffix: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    delivery_policy: DeliveryPolicy
    integration_id: str
    settings: _struct_pb2.Struct
    mirror: ChannelMirror
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., agent_id: _Optional[str] = ..., vendor: _Optional[str] = ..., url: _Optional[str] = ..., active: _Optional[bool] = ..., token_suffix: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delivery_policy: _Optional[_Union[DeliveryPolicy, _Mapping]] = ..., integration_id: _Optional[str] = ..., settings: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., mirror: _Optional[_Union[ChannelMirror, _Mapping]] = ...) -> None: ...

class ChannelMirror(_message.Message):
    __slots__ = ("channel_id", "source_external_id")
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    channel_id: str
    source_external_id: str
    def __init__(self, channel_id: _Optional[str] = ..., source_external_id: _Optional[str] = ...) -> None: ...

class DeliveryPolicy(_message.Message):
    __slots__ = ("uncertain", "max_per_second", "loop_limit", "hourly_limit", "quiet_hours", "max_text_chars")
    UNCERTAIN_FIELD_NUMBER: _ClassVar[int]
    MAX_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    LOOP_LIMIT_FIELD_NUMBER: _ClassVar[int]
    HOURLY_LIMIT_FIELD_NUMBER: _ClassVar[int]
    QUIET_HOURS_FIELD_NUMBER: _ClassVar[int]
    MAX_TEXT_CHARS_FIELD_NUMBER: _ClassVar[int]
    uncertain: UncertainPolicy
    max_per_second: float
    loop_limit: int
    hourly_limit: int
    quiet_hours: QuietHours
    max_text_chars: int
    def __init__(self, uncertain: _Optional[_Union[UncertainPolicy, str]] = ..., max_per_second: _Optional[float] = ..., loop_limit: _Optional[int] = ..., hourly_limit: _Optional[int] = ..., quiet_hours: _Optional[_Union[QuietHours, _Mapping]] = ..., max_text_chars: _Optional[int] = ...) -> None: ...

class QuietHours(_message.Message):
    __slots__ = ("start", "end", "time_zone")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    start: str
    end: str
    time_zone: str
    def __init__(self, start: _Optional[str] = ..., end: _Optional[str] = ..., time_zone: _Optional[str] = ...) -> None: ...

class CreateChannelRequest(_message.Message):
    __slots__ = ("channel", "request_id")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    request_id: str
    def __init__(self, channel: _Optional[_Union[Channel, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateChannelResponse(_message.Message):
    __slots__ = ("channel", "token", "signing_secret", "hook_secret")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SIGNING_SECRET_FIELD_NUMBER: _ClassVar[int]
    HOOK_SECRET_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    token: str
    signing_secret: str
    hook_secret: str
    def __init__(self, channel: _Optional[_Union[Channel, _Mapping]] = ..., token: _Optional[str] = ..., signing_secret: _Optional[str] = ..., hook_secret: _Optional[str] = ...) -> None: ...

class GetChannelRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetChannelResponse(_message.Message):
    __slots__ = ("channel",)
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    def __init__(self, channel: _Optional[_Union[Channel, _Mapping]] = ...) -> None: ...

class ListChannelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "agent_id", "active")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    agent_id: str
    active: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., agent_id: _Optional[str] = ..., active: _Optional[bool] = ...) -> None: ...

class ListChannelsResponse(_message.Message):
    __slots__ = ("channels", "next_page_token")
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    channels: _containers.RepeatedCompositeFieldContainer[Channel]
    next_page_token: str
    def __init__(self, channels: _Optional[_Iterable[_Union[Channel, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateChannelRequest(_message.Message):
    __slots__ = ("channel", "update_mask")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, channel: _Optional[_Union[Channel, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateChannelResponse(_message.Message):
    __slots__ = ("channel",)
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    def __init__(self, channel: _Optional[_Union[Channel, _Mapping]] = ...) -> None: ...

class DeleteChannelRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteChannelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RotateChannelTokenRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RotateChannelTokenResponse(_message.Message):
    __slots__ = ("channel", "token")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    token: str
    def __init__(self, channel: _Optional[_Union[Channel, _Mapping]] = ..., token: _Optional[str] = ...) -> None: ...

class RotateChannelSigningSecretRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RotateChannelSigningSecretResponse(_message.Message):
    __slots__ = ("channel", "signing_secret")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SIGNING_SECRET_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    signing_secret: str
    def __init__(self, channel: _Optional[_Union[Channel, _Mapping]] = ..., signing_secret: _Optional[str] = ...) -> None: ...

class RotateChannelHookSecretRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RotateChannelHookSecretResponse(_message.Message):
    __slots__ = ("channel", "hook_secret")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    HOOK_SECRET_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    hook_secret: str
    def __init__(self, channel: _Optional[_Union[Channel, _Mapping]] = ..., hook_secret: _Optional[str] = ...) -> None: ...

class ConnectChannelRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ConnectChannelResponse(_message.Message):
    __slots__ = ("channel", "steps")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    steps: _containers.RepeatedCompositeFieldContainer[_integrations_pb2.CheckStep]
    def __init__(self, channel: _Optional[_Union[Channel, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[_integrations_pb2.CheckStep, _Mapping]]] = ...) -> None: ...

class DisconnectChannelRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DisconnectChannelResponse(_message.Message):
    __slots__ = ("channel", "steps")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    steps: _containers.RepeatedCompositeFieldContainer[_integrations_pb2.CheckStep]
    def __init__(self, channel: _Optional[_Union[Channel, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[_integrations_pb2.CheckStep, _Mapping]]] = ...) -> None: ...

class GetChannelDialogueRequest(_message.Message):
    __slots__ = ("id", "page_size", "page_token")
    ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    id: str
    page_size: int
    page_token: str
    def __init__(self, id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetChannelDialogueResponse(_message.Message):
    __slots__ = ("messages", "next_page_token")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[_common_pb2.Message]
    next_page_token: str
    def __init__(self, messages: _Optional[_Iterable[_Union[_common_pb2.Message, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
