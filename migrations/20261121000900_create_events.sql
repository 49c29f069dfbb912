-- The log of recorded facts. Writers insert an event without a place, and a note in unnumbered_events, in the transaction
-- of the fact itself; they wait for nobody. After their commit the numberer, one process at a time per group of workspaces,
-- turns notes into places. Readers read places only, so a reader never passes an event that is not committed yet: it gets
-- its place later, behind every place that anyone has read.
create table events (
    workspace_id uuid not null,
    id uuid not null,
    kind text not null,
    dialogue_id uuid,
    subject_id uuid,
    data jsonb not null default '{}',
    occurred_at timestamptz not null,
    primary key (workspace_id, id)
) partition by range (id);
comment on table events is 'Recorded facts. In partitions by the time in the id.';
comment on column events.kind is 'What happened, in the past tense.';
comment on column events.subject_id is 'The id of what it is about, as its kind says; NULL: nothing more than the dialogue.';
comment on column events.occurred_at is 'When it happened; inside a dialogue it rises strictly, since it is given under the dialogue''s row lock.';
create table events_default partition of events default;
call protect_table('events');

create table unnumbered_events (
    workspace_id uuid not null,
    event_id uuid not null,
    group_no smallint not null,
    occurred_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
comment on table unnumbered_events is 'Events that wait for their place.';
comment on column unnumbered_events.group_no is 'Which numberer''s: the workspace''s group, 0 to 3.';
create index unnumbered_events_order_idx on unnumbered_events (group_no, occurred_at, event_id);
call protect_table('unnumbered_events');

create table event_positions (
    workspace_id uuid not null,
    position bigint not null,
    event_id uuid not null,
    primary key (workspace_id, position)
);
comment on table event_positions is 'The order of a workspace''s log: 1, 2, 3 … without gaps.';
call protect_table('event_positions');

create table event_logs (
    workspace_id uuid primary key,
    epoch integer not null,
    last_position bigint not null
) with (fillfactor = 50);
comment on table event_logs is 'The end of each workspace''s log. Only the numberer writes it.';
comment on column event_logs.epoch is 'Which life of the log: raised when a log begins anew, so that older cursors are found out.';
call protect_table('event_logs');

create table event_counts (
    workspace_id uuid not null,
    kind text not null,
    events bigint not null,
    amount bigint not null,
    primary key (workspace_id, kind)
) with (fillfactor = 50);
comment on table event_counts is 'How many events of each kind got their place: what statistics are made of. Only the numberer writes it, which sees each event once.';
comment on column event_counts.amount is 'What they tell of together: calls of engines (events that close a turn or tell of previews and replays), messages (dialogue.imported); 0 for others.';
call protect_table('event_counts');

create table numberers (
    group_no smallint primary key,
    holder uuid,
    lease_until timestamptz not null,
    fence bigint not null
);
comment on table numberers is 'Who gives places, per group of workspaces.';
comment on column numberers.holder is 'The worker; NULL: nobody yet.';
comment on column numberers.lease_until is 'By the database''s own clock.';
comment on column numberers.fence is 'Rises when the holder changes.';
insert into numberers select g, null, '-infinity', 0 from generate_series(0, 3) g;
grant select, update on numberers to switchboard_system;

-- The group of a workspace: two bits of the random part of its id.
create function event_group(p_workspace uuid) returns smallint
language sql immutable parallel safe
return (get_byte(uuid_send(p_workspace), 15) & 3)::smallint;

-- Gives places to events that wait for one. Answers how many it gave; a full batch means: call again at once.
--
-- The update of `numberers` is both lease and lock: it finds only groups that this worker holds or that nobody's lease
-- covers, and it keeps their rows locked until the places are committed. A worker that lost a group finds no row and does
-- nothing, so no stale write is possible and places are committed in their order.
create function system_number_events(p_worker uuid, p_lease interval, p_limit integer)
returns integer
language plpgsql security definer
set search_path = public, pg_temp
-- Planning this statement anew would cost more than running it.
set plan_cache_mode = force_generic_plan
set jit = off
-- Rows are found by their keys, also while no statistics say that a table is large.
set enable_seqscan = off
set random_page_cost = 0
set cpu_operator_cost = 0
as $$
declare
    v_groups smallint[];
    v_count integer;
    v_workspace uuid;
    v_workspaces uuid[];
begin
    with mine as (
        select group_no from numberers
        where holder = p_worker or lease_until < clock_timestamp()
        order by group_no
        for update skip locked
    ),
    taken as (
        update numberers n
        set holder = p_worker,
            lease_until = clock_timestamp() + p_lease,
            fence = n.fence + (n.holder is distinct from p_worker)::int
        from mine where n.group_no = mine.group_no
        returning n.group_no
    )
    select array_agg(group_no) into v_groups from taken;

    with batch as materialized (
        select u.ctid as place, u.workspace_id, u.event_id, u.occurred_at
        from unnumbered_events u
        where u.group_no = any (v_groups)
        order by u.occurred_at, u.event_id
        limit p_limit
    ),
    gone as (
        delete from unnumbered_events u using batch b where u.ctid = b.place
    ),
    counted as (
        insert into event_counts as c (workspace_id, kind, events, amount)
        select e.workspace_id, e.kind, count(*), coalesce(sum(case
            when e.kind in ('message.replied', 'turn.silent', 'turn.failed', 'agent.previewed', 'agent.replayed')
                then (e.data #>> '{usage,calls}')::bigint
            when e.kind = 'dialogue.imported' then (e.data ->> 'messages')::bigint end), 0)
        from batch b join events e on e.workspace_id = b.workspace_id and e.id = b.event_id
        group by e.workspace_id, e.kind
        order by e.workspace_id, e.kind
        on conflict (workspace_id, kind) do update
        set events = c.events + excluded.events, amount = c.amount + excluded.amount
    ),
    ends as (
        insert into event_logs as l (workspace_id, epoch, last_position)
        select workspace_id, 1, count(*) from batch group by workspace_id order by workspace_id
        on conflict (workspace_id) do update set last_position = l.last_position + excluded.last_position
        returning workspace_id, last_position
    ),
    placed as (
        insert into event_positions (workspace_id, position, event_id)
        select b.workspace_id,
               e.last_position - count(*) over (partition by b.workspace_id)
                   + row_number() over (partition by b.workspace_id order by b.occurred_at, b.event_id),
               b.event_id
        from batch b join ends e on e.workspace_id = b.workspace_id
        returning workspace_id
    )
    select count(*), array_agg(distinct workspace_id) into v_count, v_workspaces from placed;

    foreach v_workspace in array coalesce(v_workspaces, '{}') loop
        perform pg_notify('switchboard_events', v_workspace::text);
    end loop;
    return v_count;
end
$$;
call hand_to_system('system_number_events(uuid, interval, integer)');
