-- What calls of engines may use: counters, and what is reserved of them while a call is under way. Agents without budgets
-- never come here.
create table budget_counters (
    workspace_id uuid not null,
    scope text not null check (scope in ('TURN', 'DIALOGUE', 'CONTACT', 'AGENT', 'WORKSPACE')),
    subject_id uuid not null,
    day date not null,
    unit text not null,
    used bigint not null default 0,
    reserved bigint not null default 0,
    created_at timestamptz not null,
    primary key (workspace_id, scope, subject_id, day, unit)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
comment on table budget_counters is 'How much of budgets is used and reserved. Always locked in the order of the key.';
comment on column budget_counters.subject_id is 'The turn (or preview, or replay), dialogue, agent or workspace.';
comment on column budget_counters.day is 'The day, UTC; 0001-01-01: the budget is never renewed.';
comment on column budget_counters.unit is 'TOKENS, or the currency whose millionths are counted.';
comment on column budget_counters.used is 'What calls used that are over.';
comment on column budget_counters.reserved is 'What calls may use that are under way: the sum of its reservations.';
call protect_table('budget_counters');

create table budget_reservations (
    workspace_id uuid not null,
    id uuid not null,
    scope text not null,
    subject_id uuid not null,
    day date not null,
    unit text not null,
    amount bigint not null,
    holder_id uuid not null,
    worker_id uuid,
    lease_until timestamptz,
    primary key (workspace_id, id, scope, subject_id, day, unit)
);
comment on table budget_reservations is 'What calls under way may use, one row for each counter. Deleted when the call is settled.';
comment on column budget_reservations.holder_id is 'The turn (or preview, or replay): it makes one call at a time, so its next call gives back what an earlier one left.';
comment on column budget_reservations.worker_id is 'Whose lease it lives by; NULL: nobody''s.';
comment on column budget_reservations.lease_until is 'Its own lease, by the database''s own clock; NULL: it has the worker''s.';
create index budget_reservations_holder_idx on budget_reservations (workspace_id, holder_id);
create index budget_reservations_counter_idx on budget_reservations (workspace_id, scope, subject_id, day, unit);
call protect_table('budget_reservations');

create table budget_notices (
    workspace_id uuid not null,
    scope text not null,
    owner_id uuid not null,
    renewed boolean not null,
    unit text not null,
    day date not null,
    primary key (workspace_id, scope, owner_id, renewed, unit, day)
);
comment on table budget_notices is 'Which budgets were told to be exhausted, once for each day.';
comment on column budget_notices.owner_id is 'The dialogue, agent or workspace; for budgets of turns their agent.';
comment on column budget_notices.renewed is 'Whether it is the budget that is renewed each day.';
call protect_table('budget_notices');

-- Reserves what calls may use, of all counters of a call or of none. Calls are items; each has as many limits as come with
-- its number. Answers with the first limit that each call refused would have passed.
create function system_reserve_budgets(
    p_workspace uuid[], p_item integer[], p_scope text[], p_subject uuid[], p_day date[], p_unit text[], p_most bigint[],
    p_amount bigint[], p_owner uuid[],
    p_item_workspace uuid[], p_id uuid[], p_holder uuid[], p_worker uuid[], p_lease interval[], p_dialogue uuid[],
    p_event uuid[], p_at timestamptz
)
returns table (item integer, scope text, unit text, most bigint, used bigint, reserved bigint, amount bigint)
language plpgsql security definer
set search_path = public, pg_temp
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set jit = off
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_item integer;
    v_over record;
begin
    insert into budget_counters (workspace_id, scope, subject_id, day, unit, created_at)
    select distinct i.workspace_id, i.scope, i.subject_id, i.day, i.unit, p_at
    from unnest(p_workspace, p_scope, p_subject, p_day, p_unit) as i (workspace_id, scope, subject_id, day, unit)
    order by 1, 2, 3, 4, 5
    on conflict do nothing;

    -- Also those of which these holders still have something: their earlier calls are over.
    perform 1 from budget_counters c
    where (c.workspace_id, c.scope, c.subject_id, c.day, c.unit) in (
        select * from unnest(p_workspace, p_scope, p_subject, p_day, p_unit)
        union
        select r.workspace_id, r.scope, r.subject_id, r.day, r.unit
        from unnest(p_item_workspace, p_holder) as h (workspace_id, holder_id)
        join budget_reservations r on r.workspace_id = h.workspace_id and r.holder_id = h.holder_id)
    order by c.workspace_id, c.scope, c.subject_id, c.day, c.unit for update;

    with gone as (
        delete from budget_reservations r using unnest(p_item_workspace, p_holder) as h (workspace_id, holder_id)
        where r.workspace_id = h.workspace_id and r.holder_id = h.holder_id
        returning r.*
    )
    update budget_counters c set reserved = c.reserved - g.amount
    from (select workspace_id, scope, subject_id, day, unit, sum(amount)::bigint as amount from gone group by 1, 2, 3, 4, 5) g
    where (c.workspace_id, c.scope, c.subject_id, c.day, c.unit) = (g.workspace_id, g.scope, g.subject_id, g.day, g.unit);

    for v_item in 1 .. cardinality(p_id) loop
        for v_try in 1 .. 2 loop
            select c.*, i.most, i.amount, i.owner_id into v_over
            from unnest(p_workspace, p_item, p_scope, p_subject, p_day, p_unit, p_most, p_amount, p_owner)
                as i (workspace_id, item, scope, subject_id, day, unit, most, amount, owner_id)
            join budget_counters c on (c.workspace_id, c.scope, c.subject_id, c.day, c.unit)
                = (i.workspace_id, i.scope, i.subject_id, i.day, i.unit)
            where i.item = v_item and c.used + c.reserved + i.amount > i.most
            order by c.scope, c.day, c.unit limit 1;
            exit when not found or v_try = 2;
            -- At the edge: what nobody lives by any more is given back.
            with gone as (
                delete from budget_reservations r
                using unnest(p_workspace, p_item, p_scope, p_subject, p_day, p_unit)
                    as i (workspace_id, item, scope, subject_id, day, unit)
                where i.item = v_item
                    and (r.workspace_id, r.scope, r.subject_id, r.day, r.unit)
                        = (i.workspace_id, i.scope, i.subject_id, i.day, i.unit)
                    and coalesce(r.lease_until < clock_timestamp(), not exists (
                        select 1 from workers w where w.id = r.worker_id and w.lease_until > clock_timestamp()))
                returning r.*
            )
            update budget_counters c set reserved = c.reserved - g.amount
            from (select workspace_id, scope, subject_id, day, unit, sum(amount)::bigint as amount
                  from gone group by 1, 2, 3, 4, 5) g
            where (c.workspace_id, c.scope, c.subject_id, c.day, c.unit)
                = (g.workspace_id, g.scope, g.subject_id, g.day, g.unit);
            exit when not found;
        end loop;

        if v_over.workspace_id is null then
            update budget_counters c set reserved = c.reserved + i.amount
            from unnest(p_workspace, p_item, p_scope, p_subject, p_day, p_unit, p_amount)
                as i (workspace_id, item, scope, subject_id, day, unit, amount)
            where i.item = v_item and (c.workspace_id, c.scope, c.subject_id, c.day, c.unit)
                = (i.workspace_id, i.scope, i.subject_id, i.day, i.unit);
            insert into budget_reservations (workspace_id, id, scope, subject_id, day, unit, amount, holder_id, worker_id,
                lease_until)
            select i.workspace_id, p_id[v_item], i.scope, i.subject_id, i.day, i.unit, i.amount, p_holder[v_item],
                p_worker[v_item], clock_timestamp() + p_lease[v_item]
            from unnest(p_workspace, p_item, p_scope, p_subject, p_day, p_unit, p_amount)
                as i (workspace_id, item, scope, subject_id, day, unit, amount)
            where i.item = v_item;
            continue;
        end if;

        insert into budget_notices (workspace_id, scope, owner_id, renewed, unit, day)
        values (v_over.workspace_id, v_over.scope, v_over.owner_id, v_over.day > '0001-01-01', v_over.unit,
            (p_at at time zone 'UTC')::date)
        on conflict do nothing;
        if found then
            insert into events (workspace_id, id, kind, dialogue_id, subject_id, data, occurred_at)
            values (v_over.workspace_id, p_event[v_item], 'budget.exhausted', p_dialogue[v_item], v_over.owner_id,
                jsonb_build_object('scope', v_over.scope,
                    'period', case when v_over.day > '0001-01-01' then 'DAY' else 'EVER' end, 'unit', v_over.unit,
                    'most', v_over.most, 'used', v_over.used, 'reserved', v_over.reserved, 'asked', v_over.amount),
                p_at);
            insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
            values (v_over.workspace_id, p_event[v_item], event_group(v_over.workspace_id), p_at);
        end if;
        return query select v_item, v_over.scope, v_over.unit, v_over.most, v_over.used, v_over.reserved, v_over.amount;
    end loop;
end
$$;
call hand_to_system('system_reserve_budgets(uuid[], integer[], text[], uuid[], date[], text[], bigint[], bigint[], uuid[], uuid[], uuid[], uuid[], uuid[], interval[], uuid[], uuid[], timestamptz)');

-- Settles reservations with what calls used; NULL: they didn't say, and are settled as reserved. What was given back before
-- is not counted any more.
create function system_settle_budgets(p_workspace uuid[], p_id uuid[], p_tokens bigint[], p_cost_micros bigint[])
returns void
language plpgsql security definer
set search_path = public, pg_temp
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set jit = off
set enable_seqscan = off
as $$
begin
    perform 1 from budget_counters c
    where (c.workspace_id, c.scope, c.subject_id, c.day, c.unit) in (
        select r.workspace_id, r.scope, r.subject_id, r.day, r.unit
        from unnest(p_workspace, p_id) as i (workspace_id, id)
        join budget_reservations r on r.workspace_id = i.workspace_id and r.id = i.id)
    order by c.workspace_id, c.scope, c.subject_id, c.day, c.unit for update;

    with gone as (
        delete from budget_reservations r
        using unnest(p_workspace, p_id, p_tokens, p_cost_micros) as i (workspace_id, id, tokens, cost_micros)
        where r.workspace_id = i.workspace_id and r.id = i.id
        returning r.workspace_id, r.scope, r.subject_id, r.day, r.unit, r.amount,
            coalesce(case r.unit when 'TOKENS' then i.tokens else i.cost_micros end, r.amount) as used
    )
    update budget_counters c set reserved = c.reserved - g.amount, used = c.used + g.used
    from (select workspace_id, scope, subject_id, day, unit, sum(amount)::bigint as amount, sum(used)::bigint as used
          from gone group by 1, 2, 3, 4, 5) g
    where (c.workspace_id, c.scope, c.subject_id, c.day, c.unit) = (g.workspace_id, g.scope, g.subject_id, g.day, g.unit);
end
$$;
call hand_to_system('system_settle_budgets(uuid[], uuid[], bigint[], bigint[])');

-- Forgets counters that nothing is counted on any more: of turns that are long over, and of days gone by.
create function system_sweep_budgets(p_at timestamptz)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    delete from budget_counters c
    where c.created_at < p_at - interval '35 days' and (c.scope = 'TURN' or c.day > '0001-01-01')
        and not exists (select 1 from budget_reservations r where (r.workspace_id, r.scope, r.subject_id, r.day, r.unit)
            = (c.workspace_id, c.scope, c.subject_id, c.day, c.unit));
    delete from budget_notices where day < (p_at at time zone 'UTC')::date - 35;
end
$$;
call hand_to_system('system_sweep_budgets(timestamptz)');

-- What previews and replays used and cost: they make no turns.
create table rehearsals (
    workspace_id uuid not null,
    id uuid not null,
    agent_id uuid,
    kind text not null check (kind in ('PREVIEW', 'REPLAY')),
    calls bigint not null,
    unknown_calls bigint not null,
    input_tokens bigint,
    cached_input_tokens bigint,
    output_tokens bigint,
    cost_micros bigint,
    currency text,
    created_at timestamptz not null,
    primary key (workspace_id, id)
);
comment on table rehearsals is 'What previews and replays of agents used and cost.';
comment on column rehearsals.agent_id is 'The agent; NULL: a draft that was never saved.';
comment on column rehearsals.calls is 'This and the rest as in runs.';
call protect_table('rehearsals');
