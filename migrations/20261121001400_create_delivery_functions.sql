-- Gathered steps of deliveries, under the same rules as those of turns.

-- Begins attempts of claimed deliveries and answers with what is needed to send. An attempt that is still STARTED belongs
-- to a worker that went away: nobody knows what came of it. Where the channel is gone or inactive no attempt is begun
-- (`attempt` is NULL) and the worker withholds the delivery.
create function system_start_attempts(
    p_worker uuid, p_workspace uuid[], p_dialogue uuid[], p_delivery uuid[], p_fence bigint[], p_at timestamptz
)
returns table (
    workspace_id uuid, delivery_id uuid, attempt integer, state text, message_id uuid, chat text, role text, body text,
    channel_id uuid, channel_active boolean, vendor text, url text, token_sealed bytea, signing_secret_sealed bytea)
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
begin
    perform 1 from dialogues d
    where (d.workspace_id, d.id) in (select * from unnest(p_workspace, p_dialogue))
    order by d.workspace_id, d.id for update;

    return query
    with input as materialized (
        select i.* from unnest(p_workspace, p_dialogue, p_delivery, p_fence)
            as i (workspace_id, dialogue_id, delivery_id, fence)
        join job_keys k on k.workspace_id = i.workspace_id and k.subject_id = i.dialogue_id and k.lane = 'out'
        where k.fence = i.fence and k.locked_by is not distinct from p_worker
    ),
    known as materialized (
        select i.workspace_id, i.delivery_id, y.state, y.attempts, y.message_id, d.chat, d.status, m.role, m.body,
               y.channel_id, c.active and c.deleted_at is null as channel_active, c.vendor, c.url, c.token_sealed,
               c.signing_secret_sealed,
               y.state in ('PENDING', 'STARTED') and c.active and c.deleted_at is null as goes
        from input i
        join dialogues d on d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        join deliveries y on y.workspace_id = i.workspace_id and y.id = i.delivery_id
        join messages m on m.workspace_id = i.workspace_id and m.id = y.message_id
        join channels c on c.workspace_id = i.workspace_id and c.id = y.channel_id
    ),
    lost as (
        update attempts a
        set state = 'UNKNOWN', ended_at = p_at, error = 'the process that made the attempt went away'
        from known k
        where a.workspace_id = k.workspace_id and a.delivery_id = k.delivery_id and a.state = 'STARTED'
    ),
    begun as (
        update deliveries y set state = 'STARTED', attempts = y.attempts + 1, next_attempt_at = null
        from known k where y.workspace_id = k.workspace_id and y.id = k.delivery_id and k.goes
        returning y.workspace_id, y.id, y.attempts
    ),
    tried as (
        insert into attempts (workspace_id, delivery_id, number, state, started_at)
        select b.workspace_id, b.id, b.attempts, 'STARTED', p_at from begun b
    )
    select k.workspace_id, k.delivery_id, b.attempts, k.state, k.message_id, k.chat, k.role, k.body, k.channel_id,
           k.channel_active, k.vendor, k.url, k.token_sealed, k.signing_secret_sealed
    from known k left join begun b on b.workspace_id = k.workspace_id and b.id = k.delivery_id;
end
$$;
call hand_to_system('system_start_attempts(uuid, uuid[], uuid[], uuid[], bigint[], timestamptz)');

-- Settles attempts and their deliveries. `p_state` is the delivery's next state: DELIVERED, WITHHELD and DEAD end it,
-- PENDING has it wait until `p_run_at`, at the head of its dialogue's lane. Answers the items that were settled.
create function system_settle_attempts(
    p_worker uuid, p_workspace uuid[], p_dialogue uuid[], p_delivery uuid[], p_fence bigint[], p_job uuid[],
    p_attempt integer[], p_attempt_state text[], p_http_status integer[], p_error text[], p_excerpt text[],
    p_state text[], p_reason text[], p_run_at timestamptz[], p_event uuid[], p_at timestamptz
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
    perform 1 from dialogues d
    where (d.workspace_id, d.id) in (select * from unnest(p_workspace, p_dialogue))
    order by d.workspace_id, d.id for update;

    select array_agg(c.ord) into v_good
    from (
        select i.ord::integer as ord
        from unnest(p_workspace, p_dialogue, p_fence) with ordinality as i (workspace_id, dialogue_id, fence, ord)
        join job_keys k on k.workspace_id = i.workspace_id and k.subject_id = i.dialogue_id and k.lane = 'out'
            and k.fence = i.fence and k.locked_by is not distinct from p_worker
        for update of k
    ) c;

    return query
    with input as materialized (
        select i.*, i.n::integer as ord
        from unnest(
            p_workspace, p_dialogue, p_delivery, p_job, p_attempt, p_attempt_state, p_http_status, p_error, p_excerpt,
            p_state, p_reason, p_run_at, p_event
        ) with ordinality as i (
            workspace_id, dialogue_id, delivery_id, job_id, attempt, attempt_state, http_status, error, excerpt, state,
            reason, run_at, event_id, n)
        where i.n = any (v_good)
    ),
    moved as (
        update dialogues d
        set version = d.version + 1, updated_at = greatest(p_at, d.updated_at + interval '1 microsecond')
        from input i where d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        returning i.ord, d.updated_at
    ),
    tried as (
        update attempts a
        set state = i.attempt_state, http_status = i.http_status, error = i.error, response_excerpt = i.excerpt,
            ended_at = p_at
        from input i
        where a.workspace_id = i.workspace_id and a.delivery_id = i.delivery_id and a.number = i.attempt
    ),
    settled as (
        update deliveries y
        set state = i.state, reason = i.reason, next_attempt_at = case when i.state = 'PENDING' then i.run_at end,
            settled_at = case when i.state <> 'PENDING' then p_at end
        from input i where y.workspace_id = i.workspace_id and y.id = i.delivery_id
    ),
    done as (
        delete from jobs j using input i
        where j.workspace_id = i.workspace_id and j.id = i.job_id and i.state <> 'PENDING'
    ),
    again as (
        update jobs j set run_at = i.run_at, failures = j.failures + 1
        from input i where j.workspace_id = i.workspace_id and j.id = i.job_id and i.state = 'PENDING'
    ),
    told as (
        insert into events (workspace_id, id, kind, dialogue_id, subject_id, data, occurred_at)
        select i.workspace_id, i.event_id,
               case i.state when 'PENDING' then 'delivery.failed' else 'delivery.' || lower(i.state) end,
               i.dialogue_id, i.delivery_id,
               jsonb_strip_nulls(jsonb_build_object('attempt', i.attempt, 'http_status', i.http_status,
                   'error', i.error, 'reason', i.reason)), m.updated_at
        from input i join moved m on m.ord = i.ord
        returning workspace_id, id, occurred_at
    ),
    noted as (
        insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
        select t.workspace_id, t.id, event_group(t.workspace_id), t.occurred_at from told t
    )
    select i.ord from input i;

    perform release_keys(
        (select array_agg(p_workspace[g]) from unnest(v_good) g), (select array_agg(p_dialogue[g]) from unnest(v_good) g),
        'out');
end
$$;
call hand_to_system('system_settle_attempts(uuid, uuid[], uuid[], uuid[], bigint[], uuid[], integer[], text[], integer[], text[], text[], text[], text[], timestamptz[], uuid[], timestamptz)');
