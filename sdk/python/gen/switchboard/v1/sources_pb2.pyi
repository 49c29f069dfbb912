import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from switchboard.v1 import integrations_pb2 as _integrations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Source(_message.Message):
    __slots__ = ("id", "display_name", "external_id", "pipeline_id", "default", "origin_code")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_CODE_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    external_id: str
    pipeline_id: str
    default: bool
    origin_code: str
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., external_id: _Optional[str] = ..., pipeline_id: _Optional[str] = ..., default: _Optional[bool] = ..., origin_code: _Optional[str] = ...) -> None: ...

class ListSourcesRequest(_message.Message):
    __slots__ = ("integration_id", "refresh")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    refresh: bool
    def __init__(self, integration_id: _Optional[str] = ..., refresh: _Optional[bool] = ...) -> None: ...

class ListSourcesResponse(_message.Message):
    __slots__ = ("sources", "fetch_time")
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    FETCH_TIME_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    fetch_time: _timestamp_pb2.Timestamp
    def __init__(self, sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ..., fetch_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetSourceRequest(_message.Message):
    __slots__ = ("integration_id", "id", "external_id", "display_name", "refresh")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    id: str
    external_id: str
    display_name: str
    refresh: bool
    def __init__(self, integration_id: _Optional[str] = ..., id: _Optional[str] = ..., external_id: _Optional[str] = ..., display_name: _Optional[str] = ..., refresh: _Optional[bool] = ...) -> None: ...

class GetSourceResponse(_message.Message):
    __slots__ = ("source",)
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    source: Source
    def __init__(self, source: _Optional[_Union[Source, _Mapping]] = ...) -> None: ...

class CreateSourceRequest(_message.Message):
    __slots__ = ("integration_id", "source")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    source: Source
    def __init__(self, integration_id: _Optional[str] = ..., source: _Optional[_Union[Source, _Mapping]] = ...) -> None: ...

class CreateSourceResponse(_message.Message):
    __slots__ = ("source",)
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    source: Source
    def __init__(self, source: _Optional[_Union[Source, _Mapping]] = ...) -> None: ...

class UpdateSourceRequest(_message.Message):
    __slots__ = ("integration_id", "source", "update_mask")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    source: Source
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, integration_id: _Optional[str] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateSourceResponse(_message.Message):
    __slots__ = ("source",)
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    source: Source
    def __init__(self, source: _Optional[_Union[Source, _Mapping]] = ...) -> None: ...

class DeleteSourceRequest(_message.Message):
    __slots__ = ("integration_id", "id")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    id: str
    def __init__(self, integration_id: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class DeleteSourceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EnsureSourceRequest(_message.Message):
    __slots__ = ("integration_id", "display_name", "external_id", "pipeline_id")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    display_name: str
    external_id: str
    pipeline_id: str
    def __init__(self, integration_id: _Optional[str] = ..., display_name: _Optional[str] = ..., external_id: _Optional[str] = ..., pipeline_id: _Optional[str] = ...) -> None: ...

class EnsureSourceResponse(_message.Message):
    __slots__ = ("source", "created", "warning")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    source: Source
    created: bool
    warning: str
    def __init__(self, source: _Optional[_Union[Source, _Mapping]] = ..., created: _Optional[bool] = ..., warning: _Optional[str] = ...) -> None: ...

class CheckSourcesRequest(_message.Message):
    __slots__ = ("integration_id", "trial")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    trial: bool
    def __init__(self, integration_id: _Optional[str] = ..., trial: _Optional[bool] = ...) -> None: ...

class CheckSourcesResponse(_message.Message):
    __slots__ = ("integration", "steps", "sources")
    INTEGRATION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    integration: _integrations_pb2.Integration
    steps: _containers.RepeatedCompositeFieldContainer[_integrations_pb2.CheckStep]
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    def __init__(self, integration: _Optional[_Union[_integrations_pb2.Integration, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[_integrations_pb2.CheckStep, _Mapping]]] = ..., sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ...) -> None: ...

class ClearSourceCacheRequest(_message.Message):
    __slots__ = ("integration_id",)
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    def __init__(self, integration_id: _Optional[str] = ...) -> None: ...

class ClearSourceCacheResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
