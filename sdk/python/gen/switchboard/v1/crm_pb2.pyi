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

class CrmEntity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRM_ENTITY_UNSPECIFIED: _ClassVar[CrmEntity]
    CRM_ENTITY_LEAD: _ClassVar[CrmEntity]
    CRM_ENTITY_CONTACT: _ClassVar[CrmEntity]

class CrmStageKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRM_STAGE_KIND_UNSPECIFIED: _ClassVar[CrmStageKind]
    CRM_STAGE_KIND_ORDINARY: _ClassVar[CrmStageKind]
    CRM_STAGE_KIND_INCOMING: _ClassVar[CrmStageKind]
    CRM_STAGE_KIND_WON: _ClassVar[CrmStageKind]
    CRM_STAGE_KIND_LOST: _ClassVar[CrmStageKind]
CRM_ENTITY_UNSPECIFIED: CrmEntity
CRM_ENTITY_LEAD: CrmEntity
CRM_ENTITY_CONTACT: CrmEntity
CRM_STAGE_KIND_UNSPECIFIED: CrmStageKind
CRM_STAGE_KIND_ORDINARY: CrmStageKind
CRM_STAGE_KIND_INCOMING: CrmStageKind
CRM_STAGE_KIND_WON: CrmStageKind
CRM_STAGE_KIND_LOST: CrmStageKind

class CrmField(_message.Message):
    __slots__ = ("id", "code", "display_name", "kind", "choices", "required", "computed")
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_FIELD_NUMBER: _ClassVar[int]
    id: str
    code: str
    display_name: str
    kind: str
    choices: _containers.RepeatedCompositeFieldContainer[CrmChoice]
    required: bool
    computed: bool
    def __init__(self, id: _Optional[str] = ..., code: _Optional[str] = ..., display_name: _Optional[str] = ..., kind: _Optional[str] = ..., choices: _Optional[_Iterable[_Union[CrmChoice, _Mapping]]] = ..., required: _Optional[bool] = ..., computed: _Optional[bool] = ...) -> None: ...

class CrmChoice(_message.Message):
    __slots__ = ("id", "value", "code")
    ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    id: str
    value: str
    code: str
    def __init__(self, id: _Optional[str] = ..., value: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class CrmPipeline(_message.Message):
    __slots__ = ("id", "display_name", "main", "archived", "stages")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    MAIN_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    main: bool
    archived: bool
    stages: _containers.RepeatedCompositeFieldContainer[CrmStage]
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., main: _Optional[bool] = ..., archived: _Optional[bool] = ..., stages: _Optional[_Iterable[_Union[CrmStage, _Mapping]]] = ...) -> None: ...

class CrmStage(_message.Message):
    __slots__ = ("id", "display_name", "color", "kind")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    color: str
    kind: CrmStageKind
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., color: _Optional[str] = ..., kind: _Optional[_Union[CrmStageKind, str]] = ...) -> None: ...

class CrmUser(_message.Message):
    __slots__ = ("id", "display_name", "email", "active", "admin")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    ADMIN_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    email: str
    active: bool
    admin: bool
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., email: _Optional[str] = ..., active: _Optional[bool] = ..., admin: _Optional[bool] = ...) -> None: ...

class CrmTag(_message.Message):
    __slots__ = ("id", "display_name")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ...) -> None: ...

class CrmFieldValue(_message.Message):
    __slots__ = ("field_id", "code", "display_name", "kind", "values")
    FIELD_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    field_id: str
    code: str
    display_name: str
    kind: str
    values: _containers.RepeatedCompositeFieldContainer[CrmValue]
    def __init__(self, field_id: _Optional[str] = ..., code: _Optional[str] = ..., display_name: _Optional[str] = ..., kind: _Optional[str] = ..., values: _Optional[_Iterable[_Union[CrmValue, _Mapping]]] = ...) -> None: ...

class CrmValue(_message.Message):
    __slots__ = ("value", "choice_id", "choice_code")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_ID_FIELD_NUMBER: _ClassVar[int]
    CHOICE_CODE_FIELD_NUMBER: _ClassVar[int]
    value: _struct_pb2.Value
    choice_id: str
    choice_code: str
    def __init__(self, value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., choice_id: _Optional[str] = ..., choice_code: _Optional[str] = ...) -> None: ...

class CrmLead(_message.Message):
    __slots__ = ("id", "display_name", "price", "pipeline_id", "stage_id", "responsible_user_id", "tags", "fields", "contact_ids", "create_time", "update_time", "close_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSIBLE_USER_ID_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    CONTACT_IDS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    price: int
    pipeline_id: str
    stage_id: str
    responsible_user_id: str
    tags: _containers.RepeatedCompositeFieldContainer[CrmTag]
    fields: _containers.RepeatedCompositeFieldContainer[CrmFieldValue]
    contact_ids: _containers.RepeatedScalarFieldContainer[str]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    close_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., price: _Optional[int] = ..., pipeline_id: _Optional[str] = ..., stage_id: _Optional[str] = ..., responsible_user_id: _Optional[str] = ..., tags: _Optional[_Iterable[_Union[CrmTag, _Mapping]]] = ..., fields: _Optional[_Iterable[_Union[CrmFieldValue, _Mapping]]] = ..., contact_ids: _Optional[_Iterable[str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., close_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CrmContact(_message.Message):
    __slots__ = ("id", "display_name", "responsible_user_id", "tags", "fields", "lead_ids", "create_time", "update_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    RESPONSIBLE_USER_ID_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    LEAD_IDS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    responsible_user_id: str
    tags: _containers.RepeatedCompositeFieldContainer[CrmTag]
    fields: _containers.RepeatedCompositeFieldContainer[CrmFieldValue]
    lead_ids: _containers.RepeatedScalarFieldContainer[str]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., responsible_user_id: _Optional[str] = ..., tags: _Optional[_Iterable[_Union[CrmTag, _Mapping]]] = ..., fields: _Optional[_Iterable[_Union[CrmFieldValue, _Mapping]]] = ..., lead_ids: _Optional[_Iterable[str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CrmLeadPatch(_message.Message):
    __slots__ = ("display_name", "price", "pipeline_id", "stage_id", "responsible_user_id", "add_tags", "remove_tags", "fields")
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSIBLE_USER_ID_FIELD_NUMBER: _ClassVar[int]
    ADD_TAGS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_TAGS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    display_name: str
    price: int
    pipeline_id: str
    stage_id: str
    responsible_user_id: str
    add_tags: _containers.RepeatedScalarFieldContainer[str]
    remove_tags: _containers.RepeatedScalarFieldContainer[str]
    fields: _containers.RepeatedCompositeFieldContainer[CrmFieldChange]
    def __init__(self, display_name: _Optional[str] = ..., price: _Optional[int] = ..., pipeline_id: _Optional[str] = ..., stage_id: _Optional[str] = ..., responsible_user_id: _Optional[str] = ..., add_tags: _Optional[_Iterable[str]] = ..., remove_tags: _Optional[_Iterable[str]] = ..., fields: _Optional[_Iterable[_Union[CrmFieldChange, _Mapping]]] = ...) -> None: ...

class CrmFieldChange(_message.Message):
    __slots__ = ("field_id", "code", "values")
    FIELD_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    field_id: str
    code: str
    values: _containers.RepeatedCompositeFieldContainer[CrmValue]
    def __init__(self, field_id: _Optional[str] = ..., code: _Optional[str] = ..., values: _Optional[_Iterable[_Union[CrmValue, _Mapping]]] = ...) -> None: ...

class ListFieldsRequest(_message.Message):
    __slots__ = ("integration_id", "entity", "refresh")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    entity: CrmEntity
    refresh: bool
    def __init__(self, integration_id: _Optional[str] = ..., entity: _Optional[_Union[CrmEntity, str]] = ..., refresh: _Optional[bool] = ...) -> None: ...

class ListFieldsResponse(_message.Message):
    __slots__ = ("fields", "fetch_time")
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    FETCH_TIME_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedCompositeFieldContainer[CrmField]
    fetch_time: _timestamp_pb2.Timestamp
    def __init__(self, fields: _Optional[_Iterable[_Union[CrmField, _Mapping]]] = ..., fetch_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListPipelinesRequest(_message.Message):
    __slots__ = ("integration_id", "refresh")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    refresh: bool
    def __init__(self, integration_id: _Optional[str] = ..., refresh: _Optional[bool] = ...) -> None: ...

class ListPipelinesResponse(_message.Message):
    __slots__ = ("pipelines", "fetch_time")
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    FETCH_TIME_FIELD_NUMBER: _ClassVar[int]
    pipelines: _containers.RepeatedCompositeFieldContainer[CrmPipeline]
    fetch_time: _timestamp_pb2.Timestamp
    def __init__(self, pipelines: _Optional[_Iterable[_Union[CrmPipeline, _Mapping]]] = ..., fetch_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListUsersRequest(_message.Message):
    __slots__ = ("integration_id", "refresh")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    refresh: bool
    def __init__(self, integration_id: _Optional[str] = ..., refresh: _Optional[bool] = ...) -> None: ...

class ListUsersResponse(_message.Message):
    __slots__ = ("users", "fetch_time")
    USERS_FIELD_NUMBER: _ClassVar[int]
    FETCH_TIME_FIELD_NUMBER: _ClassVar[int]
    users: _containers.RepeatedCompositeFieldContainer[CrmUser]
    fetch_time: _timestamp_pb2.Timestamp
    def __init__(self, users: _Optional[_Iterable[_Union[CrmUser, _Mapping]]] = ..., fetch_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListTagsRequest(_message.Message):
    __slots__ = ("integration_id", "entity", "refresh")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    entity: CrmEntity
    refresh: bool
    def __init__(self, integration_id: _Optional[str] = ..., entity: _Optional[_Union[CrmEntity, str]] = ..., refresh: _Optional[bool] = ...) -> None: ...

class ListTagsResponse(_message.Message):
    __slots__ = ("tags", "fetch_time")
    TAGS_FIELD_NUMBER: _ClassVar[int]
    FETCH_TIME_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedCompositeFieldContainer[CrmTag]
    fetch_time: _timestamp_pb2.Timestamp
    def __init__(self, tags: _Optional[_Iterable[_Union[CrmTag, _Mapping]]] = ..., fetch_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetLeadRequest(_message.Message):
    __slots__ = ("integration_id", "lead_id")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    LEAD_ID_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    lead_id: str
    def __init__(self, integration_id: _Optional[str] = ..., lead_id: _Optional[str] = ...) -> None: ...

class GetLeadResponse(_message.Message):
    __slots__ = ("lead",)
    LEAD_FIELD_NUMBER: _ClassVar[int]
    lead: CrmLead
    def __init__(self, lead: _Optional[_Union[CrmLead, _Mapping]] = ...) -> None: ...

class GetContactRequest(_message.Message):
    __slots__ = ("integration_id", "contact_id")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    CONTACT_ID_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    contact_id: str
    def __init__(self, integration_id: _Optional[str] = ..., contact_id: _Optional[str] = ...) -> None: ...

class GetContactResponse(_message.Message):
    __slots__ = ("contact",)
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    contact: CrmContact
    def __init__(self, contact: _Optional[_Union[CrmContact, _Mapping]] = ...) -> None: ...

class UpdateLeadRequest(_message.Message):
    __slots__ = ("integration_id", "lead_id", "patch")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    LEAD_ID_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    lead_id: str
    patch: CrmLeadPatch
    def __init__(self, integration_id: _Optional[str] = ..., lead_id: _Optional[str] = ..., patch: _Optional[_Union[CrmLeadPatch, _Mapping]] = ...) -> None: ...

class UpdateLeadResponse(_message.Message):
    __slots__ = ("lead",)
    LEAD_FIELD_NUMBER: _ClassVar[int]
    lead: CrmLead
    def __init__(self, lead: _Optional[_Union[CrmLead, _Mapping]] = ...) -> None: ...

class BatchUpdateLeadsRequest(_message.Message):
    __slots__ = ("integration_id", "changes")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    changes: _containers.RepeatedCompositeFieldContainer[CrmLeadChange]
    def __init__(self, integration_id: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[CrmLeadChange, _Mapping]]] = ...) -> None: ...

class CrmLeadChange(_message.Message):
    __slots__ = ("lead_id", "patch")
    LEAD_ID_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    lead_id: str
    patch: CrmLeadPatch
    def __init__(self, lead_id: _Optional[str] = ..., patch: _Optional[_Union[CrmLeadPatch, _Mapping]] = ...) -> None: ...

class BatchUpdateLeadsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CrmLeadResult]
    def __init__(self, results: _Optional[_Iterable[_Union[CrmLeadResult, _Mapping]]] = ...) -> None: ...

class CrmLeadResult(_message.Message):
    __slots__ = ("lead_id", "reason", "detail")
    LEAD_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    lead_id: str
    reason: str
    detail: str
    def __init__(self, lead_id: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class CreateTaskRequest(_message.Message):
    __slots__ = ("integration_id", "entity", "entity_id", "text", "due_time", "kind_id", "responsible_user_id")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DUE_TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSIBLE_USER_ID_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    entity: CrmEntity
    entity_id: str
    text: str
    due_time: _timestamp_pb2.Timestamp
    kind_id: str
    responsible_user_id: str
    def __init__(self, integration_id: _Optional[str] = ..., entity: _Optional[_Union[CrmEntity, str]] = ..., entity_id: _Optional[str] = ..., text: _Optional[str] = ..., due_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind_id: _Optional[str] = ..., responsible_user_id: _Optional[str] = ...) -> None: ...

class CreateTaskResponse(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    def __init__(self, task_id: _Optional[str] = ...) -> None: ...

class AddNoteRequest(_message.Message):
    __slots__ = ("integration_id", "entity", "entity_id", "text")
    INTEGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    integration_id: str
    entity: CrmEntity
    entity_id: str
    text: str
    def __init__(self, integration_id: _Optional[str] = ..., entity: _Optional[_Union[CrmEntity, str]] = ..., entity_id: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class AddNoteResponse(_message.Message):
    __slots__ = ("note_id",)
    NOTE_ID_FIELD_NUMBER: _ClassVar[int]
    note_id: str
    def __init__(self, note_id: _Optional[str] = ...) -> None: ...
