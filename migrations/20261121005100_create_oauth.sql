create table integration_grants (
    workspace_id uuid not null,
    id uuid not null,
    version bigint not null,
    data_key_sealed bytea not null,
    tokens_sealed bytea not null,
    proven boolean not null,
    expires_at timestamptz,
    refresh_due_at timestamptz not null,
    refreshed_at timestamptz not null,
    granted_at timestamptz not null,
    lease_by uuid,
    lease_until timestamptz,
    primary key (workspace_id, id)
);
comment on table integration_grants is 'What people granted at vendors with OAuth 2.0: one pair of tokens for an integration.';
comment on column integration_grants.id is 'The integration''s.';
comment on column integration_grants.version is 'Which pair this is, from 1: whoever writes names the version that was read, so that no older pair is written over a newer one.';
comment on column integration_grants.data_key_sealed is 'This row''s own key, a fresh one for every pair, encrypted with a key of the key ring (version, key id, nonce, ciphertext).';
comment on column integration_grants.tokens_sealed is 'The pair, and the one before it until this one is proven, encrypted with this row''s own key (version, nonce, ciphertext).';
comment on column integration_grants.proven is 'Whether the pair has worked.';
comment on column integration_grants.expires_at is 'When the access token stops working; NULL: not told.';
comment on column integration_grants.refresh_due_at is 'When the pair is to be renewed, also when nobody uses it; infinity: never, a person must consent anew.';
comment on column integration_grants.refreshed_at is 'When the pair came.';
comment on column integration_grants.granted_at is 'When a person consented.';
comment on column integration_grants.lease_by is 'The process that renews it; NULL: none does.';
comment on column integration_grants.lease_until is 'Until when that process is waited for; NULL: none renews it.';
call protect_table('integration_grants');
create index integration_grants_due_idx on integration_grants (refresh_due_at) where refresh_due_at < 'infinity';

create table oauth_states (
    workspace_id uuid not null,
    state_hash bytea not null,
    integration_id uuid not null,
    redirect_url text not null,
    verifier_sealed bytea,
    expires_at timestamptz not null,
    used_at timestamptz,
    primary key (workspace_id, state_hash)
);
comment on table oauth_states is 'Authorizations under way: people who were sent to a vendor to consent.';
comment on column oauth_states.state_hash is 'SHA-256 of the state that comes back with them.';
comment on column oauth_states.redirect_url is 'Where they were to be sent back to; another one by then is refused.';
comment on column oauth_states.verifier_sealed is 'The PKCE verifier, encrypted with a key of the key ring; NULL: the vendor knows no PKCE.';
comment on column oauth_states.expires_at is 'Until when they may come back.';
comment on column oauth_states.used_at is 'When they did; NULL: not yet. Each works once.';
call protect_table('oauth_states');

-- Pairs to be renewed that nobody renews now. Crosses workspaces: the clock goes for all of them.
create function system_due_grants(p_at timestamptz, p_limit integer)
returns table (workspace_id uuid, id uuid)
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    select g.workspace_id, g.id from integration_grants g
    where g.refresh_due_at <= p_at and g.refresh_due_at < 'infinity'
        and (g.lease_until is null or g.lease_until < now()) -- a lease
    order by g.refresh_due_at limit p_limit;
end;
call hand_to_system('system_due_grants(timestamptz, integer)');

-- Keeps a pair over the version that was renewed, in one statement: between a vendor's answer and this there is nothing, for
-- a process that ends there loses a pair that can't be had again. Whoever waits for it is told. Answers whether that version
-- was still there.
create function system_keep_pair(
    p_workspace uuid, p_id uuid, p_version bigint, p_data_key bytea, p_tokens bytea, p_expires_at timestamptz,
    p_due_at timestamptz, p_at timestamptz
)
returns boolean
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    update integration_grants g
    set version = p_version + 1, data_key_sealed = p_data_key, tokens_sealed = p_tokens, proven = false,
        expires_at = p_expires_at, refresh_due_at = p_due_at, refreshed_at = p_at, lease_by = null, lease_until = null
    where g.workspace_id = p_workspace and g.id = p_id and g.version = p_version;
    if not found then
        return false;
    end if;
    perform pg_notify('switchboard_config', p_workspace::text);
    return true;
end
$$;
call hand_to_system('system_keep_pair(uuid, uuid, bigint, bytea, bytea, timestamptz, timestamptz, timestamptz)');
