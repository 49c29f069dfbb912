create table workspaces (
    workspace_id uuid primary key,
    display_name text not null,
    budgets jsonb not null default '[]',
    created_at timestamptz not null,
    updated_at timestamptz not null
);
comment on table workspaces is 'The tenants.';
comment on column workspaces.display_name is 'A name for people, 1 to 200 characters.';
comment on column workspaces.budgets is 'domain::budget::Budget, a list: what the calls of engines of all its agents may use together.';
call protect_table('workspaces');

create table api_keys (
    workspace_id uuid not null,
    id uuid not null,
    display_name text not null,
    scopes text[] not null,
    hash bytea not null,
    suffix text not null,
    expires_at timestamptz,
    created_at timestamptz not null,
    revoked_at timestamptz,
    primary key (workspace_id, id),
    constraint api_keys_hash_key unique (workspace_id, hash)
);
comment on table api_keys is 'API keys of workspaces; those of the nil workspace are operator keys.';
comment on column api_keys.scopes is '<service>:<level> each; empty for operator keys.';
comment on column api_keys.hash is 'SHA-256 of the whole key; the key itself is not stored.';
comment on column api_keys.suffix is 'The key''s last four characters.';
comment on column api_keys.expires_at is 'When it stops working; NULL: never.';
comment on column api_keys.revoked_at is 'When it was revoked; NULL: it was not.';
call protect_table('api_keys');

create table request_ids (
    workspace_id uuid not null,
    request_id uuid not null,
    digest bytea not null,
    resource_id uuid not null,
    created_at timestamptz not null,
    primary key (workspace_id, request_id)
);
comment on table request_ids is 'Creations that carried a request_id (AIP-155), so that a repeat finds the first one''s result.';
comment on column request_ids.digest is 'SHA-256 of method and request: the same id with another request is refused.';
comment on column request_ids.resource_id is 'What the first call created.';
create index request_ids_created_at_idx on request_ids (created_at);
call protect_table('request_ids');

-- Lists workspaces for an operator, oldest first, after the given one.
create function system_list_workspaces(p_after uuid, p_limit integer)
returns setof workspaces
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    select w.* from workspaces w
    where p_after is null or w.workspace_id > p_after
    order by w.workspace_id
    limit p_limit;
end;
call hand_to_system('system_list_workspaces(uuid, integer)');

-- Deletes a workspace with everything in it, from every table that has a workspace. Answers whether it was there.
create function system_delete_workspace(p_workspace uuid)
returns boolean
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
    v_table regclass;
    v_found boolean;
begin
    if p_workspace = '00000000-0000-0000-0000-000000000000' then
        raise exception 'the operator''s own records are no workspace';
    end if;
    delete from workspaces where workspace_id = p_workspace;
    v_found := found;
    for v_table in
        select c.oid::regclass from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'workspace_id' and not a.attisdropped
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
        -- What refers to others goes before them.
        order by case c.relname when 'agents' then 2 when 'channels' then 1 else 0 end
    loop
        execute format('delete from %s where workspace_id = $1', v_table) using p_workspace;
    end loop;
    return v_found;
end
$$;
call hand_to_system('system_delete_workspace(uuid)');
