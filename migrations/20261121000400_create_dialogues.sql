-- Updated with every message: room on the page keeps those updates in place (HOT), since no index holds what they change.
create table dialogues (
    workspace_id uuid not null,
    id uuid not null,
    channel_id uuid not null,
    chat text not null,
    status text not null check (status in ('PENDING', 'OPEN', 'SNOOZED', 'RESOLVED')),
    last_seq bigint not null,
    last_customer_seq bigint not null,
    version bigint not null,
    collecting_turn_id uuid,
    control_since timestamptz not null,
    control_reason text not null default '',
    control_by text not null default '',
    control_returns_at timestamptz,
    control_span interval,
    attributes jsonb not null default '{}',
    contact_id uuid,
    crm_integration_id uuid,
    crm_lead_id text,
    crm_contact_id text,
    crm_source_id text,
    opted_out boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (workspace_id, id),
    foreign key (workspace_id, channel_id) references channels (workspace_id, id)
) with (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05);
comment on table dialogues is 'One chat on one channel. Its row lock is the order of everything that happens in it.';
comment on column dialogues.id is 'UUIDv8 derived from workspace, channel and chat (domain::DialogueId::derive).';
comment on column dialogues.chat is 'The chat inside the channel; empty: the channel''s own.';
comment on column dialogues.status is 'The helpdesk''s word. It says who holds the dialogue: PENDING the agent, OPEN a human, else nobody.';
comment on column dialogues.last_seq is 'The highest message number.';
comment on column dialogues.last_customer_seq is 'The highest number of a customer''s message that a turn covers or will cover, so not of imported ones; 0: none yet.';
comment on column dialogues.version is 'Rises with everything that happens in the dialogue.';
comment on column dialogues.collecting_turn_id is 'The one turn that messages are added to, also while it runs if its run may be superseded; NULL: none. One column, so there can''t be two.';
comment on column dialogues.control_since is 'Since when its present holder holds it.';
comment on column dialogues.control_reason is 'Why; empty: nothing but its beginning.';
comment on column dialogues.control_by is 'Who did it, as the caller said; empty: not said.';
comment on column dialogues.control_returns_at is 'When a human''s control goes back to the agent; NULL: not by itself.';
comment on column dialogues.control_span is 'How long a human''s control lasts after a person''s last message, as it was agreed when the dialogue was taken; NULL: nothing was agreed.';
comment on column dialogues.attributes is 'What tools have noted, an object.';
comment on column dialogues.contact_id is 'Whom it is held with (table contacts); NULL: not told.';
comment on column dialogues.crm_integration_id is 'The CRM that knows it; NULL: not told, as for the other references.';
comment on column dialogues.crm_lead_id is 'The lead (the deal) that it is about.';
comment on column dialogues.crm_contact_id is 'The customer, as the CRM numbers them.';
comment on column dialogues.crm_source_id is 'The external id of the source that the chat came from.';
comment on column dialogues.opted_out is 'Whether the customer wants no messages that nobody asked for.';
comment on column dialogues.updated_at is 'Never goes back: events of the dialogue take their order from it.';
create index dialogues_created_at_idx on dialogues (workspace_id, created_at, id);
create index dialogues_channel_idx on dialogues (workspace_id, channel_id, created_at, id);
create index dialogues_lead_idx on dialogues (workspace_id, crm_lead_id, created_at, id) where crm_lead_id is not null;
create index dialogues_contact_idx on dialogues (workspace_id, contact_id, created_at, id) where contact_id is not null;
call protect_table('dialogues');

create table messages (
    workspace_id uuid not null,
    id uuid not null,
    dialogue_id uuid not null,
    seq bigint not null,
    role text not null check (role in ('USER', 'ASSISTANT', 'EMPLOYEE', 'SYSTEM')),
    body text not null,
    parts jsonb,
    external_id text not null,
    turn_id uuid,
    created_at timestamptz not null,
    metadata jsonb,
    sent_at timestamptz,
    primary key (workspace_id, id)
) partition by range (id);
comment on table messages is 'What was said. Rows never change. In partitions by the time in the id (UUIDv7).';
comment on column messages.seq is 'Its number in the dialogue, from 1, without gaps: given under the dialogue''s row lock.';
comment on column messages.parts is 'What it carries beside its text: an array of {kind, url, media_type, name}; NULL: nothing.';
comment on column messages.external_id is 'What the outside world calls it.';
comment on column messages.turn_id is 'The turn that covers it (USER) or wrote it (ASSISTANT); NULL for others.';
comment on column messages.metadata is 'What was told about it beside, an object; NULL: nothing.';
comment on column messages.sent_at is 'When it was written, as its sender says; NULL: not told.';
create index messages_dialogue_idx on messages (workspace_id, dialogue_id, seq);
create table messages_default partition of messages default;
call protect_table('messages');

create table message_keys (
    workspace_id uuid not null,
    channel_id uuid not null,
    dedup_key text collate "C" not null,
    digest bytea not null,
    message_id uuid not null,
    dialogue_id uuid not null,
    created_at timestamptz not null,
    primary key (workspace_id, channel_id, dedup_key)
);
comment on table message_keys is 'Which inbound messages are known. Apart from messages, so that partitions by time don''t weaken it.';
comment on column message_keys.dedup_key is 'chat and the sender''s message id, or a UUID of ours where there is none.';
comment on column message_keys.digest is 'SHA-256 of sender and text: the same key with another digest is a conflict.';
call protect_table('message_keys');

create table repeat_counts (
    workspace_id uuid not null,
    shard smallint not null,
    repeats bigint not null,
    primary key (workspace_id, shard)
) with (fillfactor = 50);
comment on table repeat_counts is 'How many repeats of known messages came: no event tells of them.';
comment on column repeat_counts.shard is 'Connections are spread over eight rows, so that they don''t wait for each other.';
call protect_table('repeat_counts');
