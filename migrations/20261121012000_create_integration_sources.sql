create table integration_sources (
    workspace_id uuid not null,
    id uuid not null,
    generation bigint not null,
    state text not null check (state in ('PENDING', 'READY', 'FALLBACK')),
    name text not null,
    external_id text,
    last_error text,
    remedy text,
    failures integer not null,
    check_due_at timestamptz not null,
    checked_at timestamptz,
    primary key (workspace_id, id)
);
comment on table integration_sources is 'The sources that integrations with CRMs ask for, for their chats.';
comment on column integration_sources.id is 'The integration''s.';
comment on column integration_sources.generation is 'Rises whenever the CRM is to be asked anew: what was found out about an older one says nothing any more.';
comment on column integration_sources.state is 'READY: chats carry the source. FALLBACK: it can''t be had, chats go on without. PENDING: it was not looked for yet.';
comment on column integration_sources.name is 'Its name, as it was last asked for or found; empty: not asked for yet.';
comment on column integration_sources.external_id is 'Our id of it, which chats and messages carry; NULL: it was never had.';
comment on column integration_sources.last_error is 'Why it can''t be had, or what is not as the settings ask, without secrets; NULL: all is well.';
comment on column integration_sources.remedy is 'What to do about that; NULL: nothing.';
comment on column integration_sources.failures is 'How often in a row it could not be had: the pause before the next try grows with it.';
comment on column integration_sources.check_due_at is 'When the CRM is asked again; infinity: when somebody lets us in.';
comment on column integration_sources.checked_at is 'When it was asked last; NULL: never.';
call protect_table('integration_sources');
create index integration_sources_due_idx on integration_sources (check_due_at) where check_due_at < 'infinity';

-- Takes integrations whose CRM is to be asked for their source. Crosses workspaces: the clock goes for all of them. Each is put
-- off for a while, so that one process asks; when it ends meanwhile, another asks then.
create function system_due_sources(p_at timestamptz, p_until timestamptz, p_limit integer)
returns table (workspace_id uuid, id uuid)
language sql security definer
set search_path = public, pg_temp
begin atomic
    update integration_sources s set check_due_at = p_until
    from (
        select d.workspace_id, d.id from integration_sources d
        where d.check_due_at <= p_at and d.check_due_at < 'infinity'
        order by d.check_due_at limit p_limit
        for update skip locked
    ) due
    where s.workspace_id = due.workspace_id and s.id = due.id
    returning s.workspace_id, s.id;
end;
call hand_to_system('system_due_sources(timestamptz, timestamptz, integer)');

-- The integrations with some vendors, page by page in the order of their key. Crosses workspaces: a process that starts looks
-- after all of them.
create function system_integrations_of(p_vendors text[], p_workspace uuid, p_id uuid, p_limit integer)
returns table (workspace_id uuid, id uuid, vendor text, settings jsonb)
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    select i.workspace_id, i.id, i.vendor, i.settings from integrations i
    where i.vendor = any (p_vendors) and (i.workspace_id, i.id) > (p_workspace, p_id)
    order by i.workspace_id, i.id limit p_limit;
end;
call hand_to_system('system_integrations_of(text[], uuid, uuid, integer)');

-- Has CRMs asked soon for the sources of integrations, unless they were asked a moment ago: several processes that start
-- together ask once. Crosses workspaces, as above.
create function system_wake_sources(p_workspace uuid[], p_id uuid[], p_at timestamptz, p_asked_before timestamptz)
returns void
language sql security definer
set search_path = public, pg_temp
begin atomic
    insert into integration_sources as s (workspace_id, id, generation, state, name, failures, check_due_at)
    select w.workspace_id, w.id, 1, 'PENDING', '', 0, p_at
    from unnest(p_workspace, p_id) as w (workspace_id, id)
    -- One that was deleted meanwhile stays deleted.
    join integrations i on i.workspace_id = w.workspace_id and i.id = w.id
    order by w.workspace_id, w.id
    on conflict (workspace_id, id) do update set check_due_at = least(s.check_due_at, excluded.check_due_at)
        where s.checked_at is null or s.checked_at < p_asked_before;
end;
call hand_to_system('system_wake_sources(uuid[], uuid[], timestamptz, timestamptz)');
