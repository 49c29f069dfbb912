create table agents (
    workspace_id uuid not null,
    id uuid not null,
    display_name text not null,
    instructions text not null,
    engine jsonb not null,
    reply_policy jsonb not null,
    profile jsonb not null,
    active boolean not null,
    budgets jsonb not null default '[]',
    on_budget_exhausted text not null default 'STAY_SILENT'
        check (on_budget_exhausted in ('STAY_SILENT', 'FALLBACK_TEXT', 'HAND_OVER')),
    token_hash bytea not null,
    token_suffix text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    primary key (workspace_id, id),
    constraint agents_token_hash_key unique (workspace_id, token_hash)
);
comment on table agents is 'The configured AIs that answer.';
comment on column agents.instructions is 'What the model is told before each dialogue, up to 65,536 bytes.';
comment on column agents.engine is '{vendor, model, temperature, max_output_tokens, settings, price}: who writes the answers.';
comment on column agents.reply_policy is 'domain::policy::ReplyPolicy: when it answers, and what happens when it can''t. Durations in milliseconds.';
comment on column agents.profile is 'domain::profile::Profile: what it knows and may do. What is missing has its default.';
comment on column agents.active is 'Whether it answers.';
comment on column agents.budgets is 'domain::budget::Budget, a list: what its calls of engines may use.';
comment on column agents.on_budget_exhausted is 'What happens to a turn whose call does not fit them.';
comment on column agents.token_hash is 'SHA-256 of the token that inbound webhooks carry.';
comment on column agents.deleted_at is 'When it was deleted; NULL: it was not. Its dialogues still name it.';
call protect_table('agents');

create table channels (
    workspace_id uuid not null,
    id uuid not null,
    display_name text not null,
    agent_id uuid not null,
    vendor text not null,
    url text not null,
    delivery_policy jsonb not null,
    active boolean not null,
    token_sealed bytea not null,
    token_suffix text not null,
    signing_secret_sealed bytea not null,
    integration_id uuid,
    settings jsonb not null default '{}',
    hook_secret_sealed bytea,
    hook_secret_hash bytea,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    primary key (workspace_id, id),
    foreign key (workspace_id, agent_id) references agents (workspace_id, id)
);
comment on table channels is 'The routes that messages travel: one agent, one vendor kind.';
comment on column channels.vendor is 'The vendor''s id in the code''s list; text, because the list keeps growing.';
comment on column channels.url is 'Where replies are posted; empty where the vendor is reached over an integration.';
comment on column channels.delivery_policy is 'domain::policy::DeliveryPolicy: what the guard, the governor and uncertain deliveries go by.';
comment on column channels.active is 'Whether it accepts messages.';
comment on column channels.token_sealed is 'The token that our deliveries carry, encrypted (version, key id, nonce, ciphertext).';
comment on column channels.signing_secret_sealed is 'The Standard Webhooks secret, encrypted likewise.';
comment on column channels.integration_id is 'The integration that the vendor is reached over; NULL: it needs none.';
comment on column channels.settings is 'The vendor''s own settings, an object that the vendor has checked.';
comment on column channels.hook_secret_sealed is 'The secret in the path that the vendor calls, encrypted likewise; NULL: it signs its calls.';
comment on column channels.hook_secret_hash is 'The SHA-256 of that secret.';
comment on column channels.deleted_at is 'When it was deleted; NULL: it was not. Its dialogues stay readable.';
create index channels_agent_idx on channels (workspace_id, agent_id) where deleted_at is null;
create index channels_integration_idx on channels (workspace_id, integration_id)
    where integration_id is not null and deleted_at is null;
call protect_table('channels');

-- Finds the workspace of a channel: what a webhook that names only the channel needs before it can be verified.
create function system_resolve_channel(p_channel uuid)
returns uuid
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    select workspace_id from channels where id = p_channel and deleted_at is null;
end;
call hand_to_system('system_resolve_channel(uuid)');
create index channels_id_idx on channels (id);
