create table integrations (
    workspace_id uuid not null,
    id uuid not null,
    vendor text not null,
    display_name text not null,
    settings jsonb not null,
    data_key_sealed bytea not null,
    credentials_sealed bytea not null,
    credentials_set jsonb not null,
    generation bigint not null,
    health text not null check (health in ('UNKNOWN', 'HEALTHY', 'FAILING', 'NEEDS_AUTHORIZATION')),
    last_error text,
    remedy text,
    last_error_at timestamptz,
    checked_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (workspace_id, id)
);
comment on table integrations is 'The workspaces'' connections to vendors. A deleted one is gone, and its secrets with it.';
comment on column integrations.vendor is 'The vendor''s id in the code''s list; text, because the list keeps growing.';
comment on column integrations.settings is 'The vendor''s own settings, an object that the vendor has checked.';
comment on column integrations.data_key_sealed is 'This row''s own key, encrypted with a key of the key ring (version, key id, nonce, ciphertext).';
comment on column integrations.credentials_sealed is 'The credentials, {name: value}, encrypted with this row''s own key (version, nonce, ciphertext).';
comment on column integrations.credentials_set is '{name: RFC 3339}: which credentials are set, and since when.';
comment on column integrations.generation is 'Which state of settings and credentials this is, from 1.';
comment on column integrations.last_error is 'What went wrong last, without secrets; NULL: nothing since it worked or was changed.';
comment on column integrations.remedy is 'What to do about it; NULL: nothing went wrong.';
comment on column integrations.last_error_at is 'When that went wrong; NULL: nothing did.';
comment on column integrations.checked_at is 'When it was last checked; NULL: never.';
call protect_table('integrations');

-- Which agents use an integration: asked before one is deleted.
create index agents_integration_idx on agents (workspace_id, (engine ->> 'integration')) where deleted_at is null;
comment on column agents.engine is '{vendor, integration, model, temperature, max_output_tokens, settings}: who writes the answers.';

-- The id of the ring's key that something is encrypted with: `version (1) | length of kid | kid | …`. NULL: it is cut short.
create function sealed_kid(p_sealed bytea) returns text
language sql immutable parallel safe
return case
    when length(p_sealed) > 2 and length(p_sealed) > 2 + get_byte(p_sealed, 1)
        then convert_from(substring(p_sealed from 3 for get_byte(p_sealed, 1)), 'UTF8')
end;

-- What is encrypted with a key of the ring, but not with this one: the next so many behind a place, in the order of places.
-- Crosses workspaces: a key is the operator's, and so is changing it.
create function system_sealed_otherwise(p_kid text, p_field text, p_workspace uuid, p_id uuid, p_limit integer)
returns table (workspace_id uuid, id uuid, sealed bytea)
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
    v_table text := split_part(p_field, '.', 1);
    v_column text := split_part(p_field, '.', 2);
begin
    if p_field not in ('integrations.data_key_sealed', 'integration_grants.data_key_sealed', 'channels.token_sealed',
                       'channels.signing_secret_sealed', 'channels.hook_secret_sealed', 'webhook_endpoints.secret_sealed',
                       'webhook_endpoints.previous_secret_sealed',
                       'integration_hooks.secret_sealed', 'integration_hooks.stale_secret_sealed',
                       'agent_secrets.sealed') then
        raise exception '% holds nothing encrypted', p_field;
    end if;
    return query execute format(
        'select t.workspace_id, t.id, t.%2$I from %1$I t
         where (t.workspace_id, t.id) > ($2, $3) and t.%2$I is not null and sealed_kid(t.%2$I) is distinct from $1
         order by t.workspace_id, t.id limit $4', v_table, v_column)
        using p_kid, p_workspace, p_id, p_limit;
end
$$;
call hand_to_system('system_sealed_otherwise(text, text, uuid, uuid, integer)');
