create table inbound_webhooks (
    workspace_id uuid not null,
    id uuid not null,
    channel_id uuid,
    integration_id uuid,
    route text not null,
    headers jsonb not null,
    body bytea not null,
    outcome text not null check (outcome in ('RECORDED', 'DUPLICATE', 'CONFLICT', 'QUARANTINED', 'IGNORED')),
    reason text,
    message_id uuid,
    dialogue_id uuid,
    received_at timestamptz not null,
    primary key (workspace_id, id)
) partition by range (id);
comment on table inbound_webhooks is 'Raw calls of senders that were verified, with what became of them. In partitions by the time in the id.';
comment on column inbound_webhooks.channel_id is 'The channel it was for; NULL: it was for an integration.';
comment on column inbound_webhooks.integration_id is 'The integration whose account it tells of; NULL: it was for a channel.';
comment on column inbound_webhooks.route is 'The door: new_message, hooks, grpc, crm or replay.';
comment on column inbound_webhooks.headers is 'Names in lower case; credentials are [redacted].';
comment on column inbound_webhooks.reason is 'Why it was quarantined or ignored; NULL otherwise.';
comment on column inbound_webhooks.message_id is 'The message it recorded, repeated, conflicts with or told of; NULL: none.';
create table inbound_webhooks_default partition of inbound_webhooks default;
create index inbound_webhooks_unusual_idx on inbound_webhooks (workspace_id, outcome, id) where outcome <> 'RECORDED';
call protect_table('inbound_webhooks');
