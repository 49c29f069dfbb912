-- Feeding endpoints from the log, and the gathered steps of their dispatches.

-- A UUIDv7 of a millisecond. Ids of one millisecond sort by their ordinal, from 0; past 4,095 the millisecond is carried on.
create function uuid_at(p_at timestamptz, p_ordinal integer) returns uuid
language sql volatile parallel safe
return (
    lpad(to_hex((extract(epoch from date_trunc('milliseconds', p_at)) * 1000)::bigint + p_ordinal / 4096), 12, '0')
    || '7' || lpad(to_hex(p_ordinal % 4096), 3, '0') || substr(replace(gen_random_uuid()::text, '-', ''), 17)
)::uuid;

-- The key under which an endpoint gets what belongs to a dialogue: a UUIDv8 of the SHA-256 of both. What belongs to none
-- goes under the endpoint itself.
create function hook_subject(p_endpoint uuid, p_dialogue uuid) returns uuid
language sql immutable parallel safe
return case
    when p_dialogue is null then p_endpoint
    else (
        select encode(set_byte(set_byte(d.hash, 6, get_byte(d.hash, 6) & 15 | 128), 8, get_byte(d.hash, 8) & 63 | 128),
                      'hex')::uuid
        from (select substring(sha256(uuid_send(p_endpoint) || uuid_send(p_dialogue)) for 16) as hash) d
    )
end;

-- The place of a dispatch under its key: its event's in the log. What is dispatched by hand goes to the log's end, behind all
-- that is dispatched by itself until then.
create function hook_place(p_epoch integer, p_position bigint) returns bigint
language sql immutable parallel safe
return (p_epoch::bigint << 44) + p_position;

-- Which workspaces have an endpoint that reads on: whose logs the feeder must look at.
create function system_fed_workspaces()
returns setof uuid
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    select distinct workspace_id from webhook_endpoints where active and deleted_at is null;
end;
call hand_to_system('system_fed_workspaces()');
create index webhook_endpoints_fed_idx on webhook_endpoints (workspace_id) where active and deleted_at is null;

-- Reads the log on for active endpoints that are behind its end of these workspaces, at most `p_limit`
-- events each (up to 4,096), and dispatches what their filters let through. Dispatches, jobs and the new place are one
-- transaction and the place is locked before it is read, so an event is dispatched to an endpoint exactly once, however many
-- processes feed. Where another process feeds an endpoint it is passed over.
create function system_feed_endpoints(p_workspaces uuid[], p_limit integer, p_at timestamptz)
returns table (dispatched integer, more boolean)
language plpgsql security definer
set search_path = public, pg_temp
set lock_timeout = '50ms'
-- Planning this statement anew would cost more than running it.
set plan_cache_mode = force_generic_plan
set jit = off
-- Rows are found by their keys, also while no statistics say that a table is large.
set enable_seqscan = off
set random_page_cost = 0
set cpu_operator_cost = 0
as $$
#variable_conflict use_column
begin
    return query
    with behind as materialized (
        select p.workspace_id, p.endpoint_id, l.epoch, p.fed_at,
               -- A log that began anew is read from its beginning.
               case when p.epoch = l.epoch then p.position else 0 end as position
        from endpoint_places p
        join webhook_endpoints e
            on e.workspace_id = p.workspace_id and e.id = p.endpoint_id and e.active and e.deleted_at is null
        join event_logs l
            on l.workspace_id = p.workspace_id and (l.epoch <> p.epoch or l.last_position > p.position)
        where p.workspace_id = any (p_workspaces)
        order by p.workspace_id, p.endpoint_id
        limit 256
        for update of p skip locked
    ),
    looked as materialized (
        select b.workspace_id, b.endpoint_id, b.epoch, b.fed_at, r.position, r.event_id,
               row_number() over (partition by b.workspace_id, b.endpoint_id order by r.position) as n
        from behind b
        cross join lateral (
            select s.position, s.event_id from event_positions s
            where s.workspace_id = b.workspace_id and s.position > b.position
            order by s.position
            limit p_limit
        ) r
    ),
    moved as (
        update endpoint_places p set epoch = m.epoch, position = m.position, fed_at = m.fed_at
        from (
            select k.workspace_id, k.endpoint_id, k.epoch, max(k.position) as position,
                   greatest(date_trunc('milliseconds', p_at), k.fed_at + interval '1 millisecond') as fed_at
            from looked k group by k.workspace_id, k.endpoint_id, k.epoch, k.fed_at
        ) m
        where p.workspace_id = m.workspace_id and p.endpoint_id = m.endpoint_id
        returning p.workspace_id, p.endpoint_id, p.fed_at
    ),
    chosen as materialized (
        select k.workspace_id, k.endpoint_id, k.event_id, v.kind, v.dialogue_id, hook_place(k.epoch, k.position) as place,
               uuid_at(m.fed_at, k.n::integer - 1) as id, hook_subject(k.endpoint_id, v.dialogue_id) as subject_id
        from looked k
        join moved m on m.workspace_id = k.workspace_id and m.endpoint_id = k.endpoint_id
        join webhook_endpoints e on e.workspace_id = k.workspace_id and e.id = k.endpoint_id
        join events v on v.workspace_id = k.workspace_id and v.id = k.event_id
        where (e.kinds = '{}' or v.kind = any (e.kinds))
            and (e.channel_id is null or v.subject_id = e.channel_id or exists (
                select 1 from dialogues d
                where d.workspace_id = v.workspace_id and d.id = v.dialogue_id and d.channel_id = e.channel_id))
    ),
    kept as (
        insert into dispatches (
            workspace_id, id, endpoint_id, event_id, kind, dialogue_id, state, attempts, next_attempt_at, replay, created_at)
        select c.workspace_id, c.id, c.endpoint_id, c.event_id, c.kind, c.dialogue_id, 'PENDING', 0, p_at, false, p_at
        from chosen c
    ),
    queued as (
        insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at)
        select c.workspace_id, c.id, c.subject_id, 'hook', c.id, c.place, p_at from chosen c
    ),
    keyed as (
        insert into job_keys as k (workspace_id, subject_id, lane, next_run_at, endpoint_id)
        select distinct c.workspace_id, c.subject_id, 'hook', p_at, c.endpoint_id from chosen c
        order by c.workspace_id, c.subject_id
        on conflict (workspace_id, subject_id, lane) do update set
            next_run_at = case when k.next_run_at = 'infinity' then excluded.next_run_at else k.next_run_at end
    )
    select (select count(*) from chosen)::integer,
           coalesce((select bool_or(k.n = p_limit) from looked k), false) or (select count(*) from behind) = 256;
end
$$;
call hand_to_system('system_feed_endpoints(uuid[], integer, timestamptz)');

-- Begins attempts of claimed dispatches and answers with what is needed to send. What can't be sent is settled here and not
-- answered: a deleted endpoint's dispatch is dead, an inactive endpoint's waits until the endpoint is active again.
--
-- Rows of endpoints are locked before keys.
create function system_start_dispatches(
    p_worker uuid, p_workspace uuid[], p_subject uuid[], p_dispatch uuid[], p_job uuid[], p_fence bigint[], p_at timestamptz
)
returns table (
    ord integer, attempt integer, endpoint_id uuid, event_id uuid, kind text, dialogue_id uuid, about_id uuid, data jsonb,
    occurred_at timestamptz, message_id uuid, seq bigint, role text, body text, parts jsonb, external_id text, turn_id uuid,
    message_at timestamptz, metadata jsonb, sent_at timestamptz, url text, schedule text, secret_sealed bytea, previous_secret_sealed bytea)
language plpgsql security definer
set search_path = public, pg_temp
set lock_timeout = '50ms'
-- Planning these statements anew would cost more than running them.
set plan_cache_mode = force_generic_plan
set jit = off
-- Rows are found by their keys, also while no statistics say that a table is large.
set enable_seqscan = off
set random_page_cost = 0
set cpu_operator_cost = 0
as $$
#variable_conflict use_column
declare
    v_resting uuid[];
    v_good integer[];
begin
    -- Who makes an endpoint active wakes what is parked for it. Sharing its row means that this has happened already, or
    -- will see what is parked here.
    select array_agg(r.id) into v_resting
    from (
        select e.id from webhook_endpoints e
        where (e.workspace_id, e.id) in (
                select y.workspace_id, y.endpoint_id
                from unnest(p_workspace, p_dispatch) as i (workspace_id, dispatch_id)
                join dispatches y on y.workspace_id = i.workspace_id and y.id = i.dispatch_id)
            and not (e.active and e.deleted_at is null)
        order by e.workspace_id, e.id
        for share
    ) r;

    select array_agg(c.ord) into v_good
    from (
        select i.ord::integer as ord
        from unnest(p_workspace, p_subject, p_fence) with ordinality as i (workspace_id, subject_id, fence, ord)
        join job_keys k on k.workspace_id = i.workspace_id and k.subject_id = i.subject_id and k.lane = 'hook'
            and k.fence = i.fence and k.locked_by is not distinct from p_worker
        order by i.workspace_id, i.subject_id
        for update of k
    ) c;

    return query
    with known as materialized (
        select i.n::integer as ord, i.workspace_id, i.dispatch_id, i.job_id, y.endpoint_id, y.event_id, y.kind, y.dialogue_id,
               e.url, e.schedule, e.secret_sealed,
               case when e.previous_secret_until > p_at then e.previous_secret_sealed end as previous_secret_sealed,
               case
                   when y.state not in ('PENDING', 'STARTED') then 'drop'
                   when e.deleted_at is not null then 'bury'
                   when e.id = any (v_resting) then 'park'
                   when e.active then 'go'
                   -- Made inactive since the rows were shared: looked at again.
                   else 'again'
               end as verdict
        from unnest(p_workspace, p_dispatch, p_job) with ordinality as i (workspace_id, dispatch_id, job_id, n)
        join dispatches y on y.workspace_id = i.workspace_id and y.id = i.dispatch_id
        join webhook_endpoints e on e.workspace_id = y.workspace_id and e.id = y.endpoint_id
        where i.n = any (v_good)
    ),
    -- An attempt that is still STARTED belongs to a worker that went away.
    lost as (
        update dispatch_attempts a
        set state = 'UNKNOWN', ended_at = p_at, error = 'the process that made the attempt went away'
        from known k
        where a.workspace_id = k.workspace_id and a.dispatch_id = k.dispatch_id and a.state = 'STARTED'
    ),
    waiting as (
        update dispatches y
        set state = 'PENDING', next_attempt_at = case when k.verdict = 'again' then p_at end
        from known k where y.workspace_id = k.workspace_id and y.id = k.dispatch_id and k.verdict in ('park', 'again')
    ),
    parked as (
        update jobs j set run_at = 'infinity'
        from known k where j.workspace_id = k.workspace_id and j.id = k.job_id and k.verdict = 'park'
    ),
    buried as (
        update dispatches y
        set state = 'DEAD', reason = 'endpoint_deleted', next_attempt_at = null, settled_at = p_at
        from known k where y.workspace_id = k.workspace_id and y.id = k.dispatch_id and k.verdict = 'bury'
    ),
    done as (
        delete from jobs j using known k
        where j.workspace_id = k.workspace_id and j.id = k.job_id and k.verdict in ('drop', 'bury')
    ),
    begun as (
        update dispatches y set state = 'STARTED', attempts = y.attempts + 1, next_attempt_at = null
        from known k where y.workspace_id = k.workspace_id and y.id = k.dispatch_id and k.verdict = 'go'
        returning y.workspace_id, y.id, y.attempts
    ),
    tried as (
        insert into dispatch_attempts (workspace_id, dispatch_id, number, state, started_at)
        select b.workspace_id, b.id, b.attempts, 'STARTED', p_at from begun b
    )
    select k.ord, b.attempts, k.endpoint_id, k.event_id, k.kind, k.dialogue_id, v.subject_id, v.data, v.occurred_at, m.id,
           m.seq, m.role, m.body, m.parts, m.external_id, m.turn_id, m.created_at, m.metadata, m.sent_at, k.url,
           k.schedule, k.secret_sealed,
           k.previous_secret_sealed
    from known k
    join begun b on b.workspace_id = k.workspace_id and b.id = k.dispatch_id
    left join events v on v.workspace_id = k.workspace_id and v.id = k.event_id
    left join messages m on m.workspace_id = k.workspace_id and m.id = v.subject_id
        and k.kind in ('message.received', 'message.replied', 'message.sent');

    -- What was begun keeps its key; no other dispatch of these is STARTED now.
    perform release_keys(
        (select array_agg(p_workspace[w.g] order by w.g) from unnest(w.rest) as w (g)),
        (select array_agg(p_subject[w.g] order by w.g) from unnest(w.rest) as w (g)), 'hook')
    from (
        select array_agg(g.g) as rest
        from unnest(v_good) as g (g)
        where not exists (
            select 1 from dispatches y
            where y.workspace_id = p_workspace[g.g] and y.id = p_dispatch[g.g] and y.state = 'STARTED')
    ) w
    where w.rest is not null;
end
$$;
call hand_to_system('system_start_dispatches(uuid, uuid[], uuid[], uuid[], uuid[], bigint[], timestamptz)');

-- Settles attempts and their dispatches: DELIVERED and DEAD end a dispatch, PENDING has it wait until `p_run_at` at the head
-- of its key. `p_blame` says what an attempt tells of its endpoint: `none`, `failed`, or `gone`. An endpoint is made inactive
-- when it is gone, or when it fails and has done so for `p_patience` without one success; `p_event` is the id of the event
-- that tells of it. Answers the items that were settled.
--
-- Rows of endpoints are locked before keys, and only those that change.
create function system_settle_dispatches(
    p_worker uuid, p_workspace uuid[], p_subject uuid[], p_dispatch uuid[], p_fence bigint[], p_job uuid[],
    p_endpoint uuid[], p_attempt integer[], p_attempt_state text[], p_http_status integer[], p_error text[],
    p_excerpt text[], p_blame text[], p_state text[], p_reason text[], p_run_at timestamptz[], p_event uuid[],
    p_patience interval, p_at timestamptz
)
returns table (ord integer)
language plpgsql security definer
set search_path = public, pg_temp
set lock_timeout = '50ms'
-- Planning these statements anew would cost more than running them.
set plan_cache_mode = force_generic_plan
set jit = off
-- Rows are found by their keys, also while no statistics say that a table is large.
set enable_seqscan = off
set random_page_cost = 0
set cpu_operator_cost = 0
as $$
#variable_conflict use_column
declare
    v_good integer[];
begin
    perform 1
    from webhook_endpoints e
    join (
        select i.workspace_id, i.endpoint_id, bool_or(i.attempt_state = 'SUCCEEDED') as ok,
               bool_or(i.blame = 'failed') as failed, bool_or(i.blame = 'gone') as gone
        from unnest(p_workspace, p_endpoint, p_attempt_state, p_blame)
            as i (workspace_id, endpoint_id, attempt_state, blame)
        group by i.workspace_id, i.endpoint_id
    ) i on i.workspace_id = e.workspace_id and i.endpoint_id = e.id
    where i.gone or (i.ok and e.failing_since is not null)
        or (i.failed and not i.ok and (e.failing_since is null or e.failing_since <= p_at - p_patience))
    order by e.workspace_id, e.id
    for update of e;

    select array_agg(c.ord) into v_good
    from (
        select i.ord::integer as ord
        from unnest(p_workspace, p_subject, p_fence) with ordinality as i (workspace_id, subject_id, fence, ord)
        join job_keys k on k.workspace_id = i.workspace_id and k.subject_id = i.subject_id and k.lane = 'hook'
            and k.fence = i.fence and k.locked_by is not distinct from p_worker
        order by i.workspace_id, i.subject_id
        for update of k
    ) c;

    return query
    with input as materialized (
        select i.*, i.n::integer as ord
        from unnest(
            p_workspace, p_dispatch, p_job, p_endpoint, p_attempt, p_attempt_state, p_http_status, p_error, p_excerpt,
            p_blame, p_state, p_reason, p_run_at, p_event
        ) with ordinality as i (
            workspace_id, dispatch_id, job_id, endpoint_id, attempt, attempt_state, http_status, error, excerpt, blame,
            state, reason, run_at, event_id, n)
        where i.n = any (v_good)
    ),
    tried as (
        update dispatch_attempts a
        set state = i.attempt_state, http_status = i.http_status, error = i.error, response_excerpt = i.excerpt,
            ended_at = p_at
        from input i
        where a.workspace_id = i.workspace_id and a.dispatch_id = i.dispatch_id and a.number = i.attempt
    ),
    settled as (
        update dispatches y
        set state = i.state, reason = i.reason, next_attempt_at = case when i.state = 'PENDING' then i.run_at end,
            settled_at = case when i.state <> 'PENDING' then p_at end
        from input i where y.workspace_id = i.workspace_id and y.id = i.dispatch_id
    ),
    done as (
        delete from jobs j using input i
        where j.workspace_id = i.workspace_id and j.id = i.job_id and i.state <> 'PENDING'
    ),
    again as (
        update jobs j set run_at = i.run_at, failures = j.failures + 1
        from input i where j.workspace_id = i.workspace_id and j.id = i.job_id and i.state = 'PENDING'
    ),
    verdicts as materialized (
        select i.workspace_id, i.endpoint_id, bool_or(i.attempt_state = 'SUCCEEDED') as ok,
               bool_or(i.blame = 'failed') as failed, bool_or(i.blame = 'gone') as gone,
               (array_agg(i.event_id))[1] as event_id
        from input i group by i.workspace_id, i.endpoint_id
    ),
    judged as materialized (
        select v.workspace_id, v.endpoint_id, v.event_id, v.ok,
               case
                   when not e.active or e.deleted_at is not null then null
                   when v.gone then 'gone'
                   when v.failed and not v.ok and e.failing_since <= p_at - p_patience then 'failing'
               end as disabled
        from verdicts v
        join webhook_endpoints e on e.workspace_id = v.workspace_id and e.id = v.endpoint_id
        where v.gone or (v.ok and e.failing_since is not null)
            or (v.failed and not v.ok and (e.failing_since is null or e.failing_since <= p_at - p_patience))
    ),
    changed as (
        update webhook_endpoints e
        set failing_since = case when not j.ok then coalesce(e.failing_since, p_at) end,
            active = e.active and j.disabled is null,
            disabled_reason = coalesce(j.disabled, e.disabled_reason),
            updated_at = case when j.disabled is null then e.updated_at else p_at end
        from judged j where e.workspace_id = j.workspace_id and e.id = j.endpoint_id
    ),
    told as (
        insert into events (workspace_id, id, kind, subject_id, data, occurred_at)
        select j.workspace_id, j.event_id, 'endpoint.disabled', j.endpoint_id, jsonb_build_object('reason', j.disabled), p_at
        from judged j where j.disabled is not null
    ),
    noted as (
        insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
        select j.workspace_id, j.event_id, event_group(j.workspace_id), p_at from judged j where j.disabled is not null
    )
    select i.ord from input i;

    perform release_keys(
        (select array_agg(p_workspace[g]) from unnest(v_good) g), (select array_agg(p_subject[g]) from unnest(v_good) g),
        'hook');
end
$$;
call hand_to_system('system_settle_dispatches(uuid, uuid[], uuid[], uuid[], bigint[], uuid[], uuid[], integer[], text[], integer[], text[], text[], text[], text[], text[], timestamptz[], uuid[], interval, timestamptz)');
