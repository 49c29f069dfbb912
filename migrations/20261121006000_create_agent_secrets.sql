create table agent_secrets (
    workspace_id uuid not null,
    id uuid not null,
    agent_id uuid not null,
    name text not null,
    sealed bytea not null,
    primary key (workspace_id, id),
    constraint agent_secrets_name_key unique (workspace_id, agent_id, name),
    foreign key (workspace_id, agent_id) references agents (workspace_id, id)
);
comment on table agent_secrets is 'What an agent''s HTTP tools prove themselves with. Apart from the agent, so that no run reads it but the call that needs it.';
comment on column agent_secrets.name is 'http.<tool>.<header in lower case>@<where the tool led when it was given>.';
comment on column agent_secrets.sealed is 'The value, encrypted (version, key id, nonce, ciphertext), with workspace and id as its place.';
call protect_table('agent_secrets');
