create table integration_hooks (
    workspace_id uuid not null,
    id uuid not null,
    secret_hash bytea not null,
    secret_sealed bytea not null,
    secret_suffix text not null,
    secret_at timestamptz not null,
    stale_secret_sealed bytea,
    account_id text,
    state text not null check (state in ('PENDING', 'SUBSCRIBED', 'FAILED')),
    last_error text,
    check_due_at timestamptz not null,
    checked_at timestamptz,
    primary key (workspace_id, id)
);
comment on table integration_hooks is 'How the vendors of integrations call us: the secret in the path, and whether they are known to do it.';
comment on column integration_hooks.id is 'The integration''s.';
comment on column integration_hooks.secret_hash is 'SHA-256 of the secret, which calls are compared with.';
comment on column integration_hooks.secret_sealed is 'The secret, encrypted with a key of the key ring (version, key id, nonce, ciphertext): the vendor is told of it.';
comment on column integration_hooks.secret_suffix is 'The secret''s last four characters.';
comment on column integration_hooks.secret_at is 'When the secret was made.';
comment on column integration_hooks.stale_secret_sealed is 'The secret before it, encrypted likewise, as long as the vendor may call it still; NULL: it doesn''t.';
comment on column integration_hooks.account_id is 'The account''s id at the vendor, as the vendor said it; NULL: not asked yet.';
comment on column integration_hooks.state is 'SUBSCRIBED: the vendor said that it calls us. FAILED: it could not be made to.';
comment on column integration_hooks.last_error is 'Why it could not, without secrets; NULL: nothing failed.';
comment on column integration_hooks.check_due_at is 'When the vendor is asked again; infinity: never.';
comment on column integration_hooks.checked_at is 'When it was asked last; NULL: never.';
call protect_table('integration_hooks');
create index integration_hooks_due_idx on integration_hooks (check_due_at) where check_due_at < 'infinity';

create table crm_event_keys (
    workspace_id uuid not null,
    integration_id uuid not null,
    key text not null,
    event_id uuid not null,
    lasting boolean not null,
    told_at timestamptz not null,
    primary key (workspace_id, integration_id, key)
);
comment on table crm_event_keys is 'What CRMs have told, so that repeats change nothing.';
comment on column crm_event_keys.key is 'The vendor''s id of what happened, or a digest of what was told of it.';
comment on column crm_event_keys.lasting is 'Whether the key is that event''s for ever. If not, the same may happen again: after two hours, when the vendor tries no more, it is another event.';
comment on column crm_event_keys.told_at is 'When it was told.';
call protect_table('crm_event_keys');

create index integrations_id_idx on integrations (id);
-- Finds the workspace of an integration: what the operator's setting names only by its id.
create function system_resolve_integration(p_integration uuid)
returns uuid
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    select workspace_id from integrations where id = p_integration;
end;
call hand_to_system('system_resolve_integration(uuid)');

-- Takes hooks whose vendor is to be asked. Crosses workspaces: the clock goes for all of them. Each is put off for a while, so
-- that one process asks; when it ends meanwhile, another asks then.
create function system_due_hooks(p_at timestamptz, p_until timestamptz, p_limit integer)
returns table (workspace_id uuid, id uuid)
language sql security definer
set search_path = public, pg_temp
begin atomic
    update integration_hooks h set check_due_at = p_until
    from (
        select d.workspace_id, d.id from integration_hooks d
        where d.check_due_at <= p_at and d.check_due_at < 'infinity'
        order by d.check_due_at limit p_limit
        for update skip locked
    ) due
    where h.workspace_id = due.workspace_id and h.id = due.id
    returning h.workspace_id, h.id;
end;
call hand_to_system('system_due_hooks(timestamptz, timestamptz, integer)');

-- Records calls of CRMs, and what each tells that was not told before. `p_event_call` is the place of an event's call, from 1.
create function system_record_crm(
    p_id uuid[], p_workspace uuid[], p_integration uuid[], p_route text[], p_headers jsonb[], p_body bytea[],
    p_reason text[], p_at timestamptz[],
    p_event_call integer[], p_event_id uuid[], p_event_kind text[], p_event_subject uuid[], p_event_key text[],
    p_event_lasting boolean[], p_event_data jsonb[]
)
returns table (ord integer, outcome text)
language sql security definer
set search_path = public, pg_temp
begin atomic
    with calls as (
        select c.* from unnest(p_id, p_workspace, p_integration, p_route, p_headers, p_body, p_reason, p_at)
            with ordinality as c(id, workspace_id, integration_id, route, headers, body, reason, at, ord)
    ),
    -- In one order everywhere, so that two that tell the same wait for each other and never both ways.
    told as (
        select distinct on (c.workspace_id, c.integration_id, e.key)
               c.workspace_id, c.integration_id, c.id as call_id, c.at, c.ord, e.id, e.kind, e.subject, e.key, e.lasting, e.data
        from unnest(p_event_call, p_event_id, p_event_kind, p_event_subject, p_event_key, p_event_lasting, p_event_data)
            with ordinality as e(call, id, kind, subject, key, lasting, data, nr)
        join calls c on c.ord = e.call
        order by c.workspace_id, c.integration_id, e.key, e.nr
    ),
    noted as (
        insert into crm_event_keys as k (workspace_id, integration_id, key, event_id, lasting, told_at)
        select t.workspace_id, t.integration_id, t.key, t.id, t.lasting, t.at from told t
        order by t.workspace_id, t.integration_id, t.key
        on conflict (workspace_id, integration_id, key) do update
            set event_id = excluded.event_id, told_at = excluded.told_at
            where not k.lasting and k.told_at < excluded.told_at - interval '2 hours'
        returning k.event_id
    ),
    news as materialized (
        select t.* from told t where t.id in (select event_id from noted)
    ),
    unnumbered as (
        insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
        select n.workspace_id, n.id, event_group(n.workspace_id), n.at from news n
    ),
    written as (
        insert into events (workspace_id, id, kind, subject_id, data, occurred_at)
        select n.workspace_id, n.id, n.kind, n.subject,
               n.data || jsonb_build_object('integration_id', n.integration_id, 'inbound_webhook_id', n.call_id), n.at
        from news n
    ),
    results as (
        select c.*, case
                when c.reason is not null then 'QUARANTINED'
                when c.ord in (select n.ord from news n) or not c.ord = any (p_event_call) then 'RECORDED'
                else 'DUPLICATE'
            end as outcome
        from calls c
    ),
    kept as (
        insert into inbound_webhooks (
            workspace_id, id, integration_id, route, headers, body, outcome, reason, received_at
        )
        select r.workspace_id, r.id, r.integration_id, r.route, r.headers, r.body, r.outcome, r.reason, r.at from results r
        -- A write whose answer was lost with the connection is written again.
        on conflict (workspace_id, id) do nothing
    )
    select r.ord::integer, r.outcome from results r;
end;
call hand_to_system('system_record_crm(uuid[], uuid[], uuid[], text[], jsonb[], bytea[], text[], timestamptz[], integer[], uuid[], text[], uuid[], text[], boolean[], jsonb[])');
