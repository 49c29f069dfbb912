-- Gathered steps of turns. All lock dialogues first, in the order of workspace and id, and keys of the queue last. Items
-- whose key was taken away (fence or holder differ) are passed over and get no row in the answer: their worker must stop.
-- `is not distinct from` keeps the planner off the index of holders, which claims fill with dead entries.

-- Begins runs: marks an earlier run that is still open as lost, and answers with all that the engine and the delivery need.
-- The turn is closed to further messages, unless its run may be superseded by them: then it stays the dialogue's collecting
-- turn while it runs.
create function system_begin_turns(
    p_worker uuid, p_workspace uuid[], p_dialogue uuid[], p_turn uuid[], p_fence bigint[], p_at timestamptz,
    p_history integer
)
returns table (
    workspace_id uuid, turn_id uuid, fence bigint, run integer, late boolean, dialogue_status text, chat text,
    agent_active boolean, engine jsonb, instructions text, reply_policy jsonb,
    channel_id uuid, channel_active boolean, vendor text, url text, uncertain text, token_sealed bytea, signing_secret_sealed bytea,
    history jsonb, steps jsonb, waiting_since timestamptz,
    agent_id uuid, profile jsonb, facts jsonb, fallback boolean, max_text_chars integer, contact_id uuid)
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
        select i.* from unnest(p_workspace, p_dialogue, p_turn, p_fence) as i (workspace_id, dialogue_id, turn_id, fence)
        join job_keys k on k.workspace_id = i.workspace_id and k.subject_id = i.dialogue_id and k.lane = 'turn'
        where k.fence = i.fence and k.locked_by is not distinct from p_worker
    ),
    lost as (
        update runs r set state = 'LOST', ended_at = p_at
        from input i where r.workspace_id = i.workspace_id and r.turn_id = i.turn_id and r.state = 'STARTED'
    ),
    waiting as materialized (
        select i.workspace_id, i.turn_id, r.number, r.started_at,
               d.collecting_turn_id is not distinct from t.id and d.last_customer_seq > t.covered_through as superseded
        from input i
        join dialogues d on d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        join turns t on t.workspace_id = i.workspace_id and t.id = i.turn_id
        -- By its whole key: `offset 0` keeps the planner from looking for all that wait first.
        cross join lateral (
            select r.number, r.started_at from runs r
            where r.workspace_id = t.workspace_id and r.turn_id = t.id and r.number = t.current_run and r.state = 'WAITING'
            offset 0
        ) r
    ),
    superseded as (
        update runs r set state = 'SUPERSEDED', ended_at = p_at
        from waiting w
        where r.workspace_id = w.workspace_id and r.turn_id = w.turn_id and r.number = w.number and w.superseded
    ),
    begun as (
        update turns t
        set state = 'RUNNING', current_run = t.current_run + (w.superseded is not false)::integer,
            restarts = t.restarts + (w.superseded is true)::integer,
            covered_through = case when d.collecting_turn_id = t.id then d.last_customer_seq else t.covered_through end,
            late = t.late or w.turn_id is null and greatest(least(t.created_at, t.sent_at), t.waited_until)
                + nullif(a.reply_policy ->> 'late_after_ms', '0')::bigint * interval '1 millisecond' < p_at is true
        from input i
        join dialogues d on d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        left join waiting w on w.workspace_id = i.workspace_id and w.turn_id = i.turn_id, agents a
        where t.workspace_id = i.workspace_id and t.id = i.turn_id and t.state in ('COLLECTING', 'RUNNING')
            and a.workspace_id = t.workspace_id and a.id = t.agent_id
        returning t.workspace_id, t.id, i.fence, t.dialogue_id, t.agent_id, t.current_run, t.covered_through, t.late,
            case when not w.superseded then w.started_at end as waiting_since,
            t.reason is not distinct from 'fallback_engine' as fallback,
            -- A run that has begun an effect can't be superseded.
            a.reply_policy ->> 'newer_message' = 'RESTART' and t.restarts < (a.reply_policy ->> 'max_restarts')::integer
                and not exists (select 1 from run_steps s where s.workspace_id = t.workspace_id and s.turn_id = t.id)
                as open
    ),
    closed as (
        update dialogues d
        set collecting_turn_id = case when b.open then d.collecting_turn_id end, version = d.version + 1
        from begun b
        where d.workspace_id = b.workspace_id and d.id = b.dialogue_id and d.collecting_turn_id = b.id
    ),
    known as materialized (
        select b.*, case when agent_may_speak(d.status, d.control_reason, d.control_by) then 'PENDING' else d.status end as status,
               d.chat, d.contact_id, d.channel_id, c.deleted_at is null and c.active as channel_active, c.vendor, c.url,
               c.delivery_policy ->> 'uncertain' as uncertain, c.token_sealed, c.signing_secret_sealed, case when a.deleted_at is null then a.active end as agent_active,
               case when b.fallback then coalesce(nullif(a.profile -> 'fallback_engine', 'null'), a.engine) else a.engine end
                   as engine,
               a.instructions, a.reply_policy, a.profile, (c.delivery_policy ->> 'max_text_chars')::integer as max_text_chars,
               jsonb_build_object('agent', a.display_name, 'channel', c.display_name, 'vendor', c.vendor, 'chat', d.chat,
                   'attributes', d.attributes) as facts,
               h.history, h.from_seq
        from begun b
        join dialogues d on d.workspace_id = b.workspace_id and d.id = b.dialogue_id
        join channels c on c.workspace_id = b.workspace_id and c.id = d.channel_id
        join agents a on a.workspace_id = b.workspace_id and a.id = b.agent_id
        cross join lateral (
            -- What colleagues and the agent said meanwhile belongs to the history; a customer's message of the next turn
            -- does not, or it would be answered twice. What this turn answers comes last, wherever an earlier reply was
            -- recorded: it is what the engine is asked. What the guard withheld was never said, and the engine is told so; where only
            -- the rest of a message was withheld, its beginning is what was said.
            select jsonb_agg(jsonb_build_object(
                       'id', m.id, 'dialogue', b.dialogue_id, 'seq', m.seq,
                       'role', case when w.text_from = 1 then 'SYSTEM' else m.role end,
                       'text', case when w.reason is null then m.body
                           when w.text_from > 1 then left(m.body, w.text_from - 1)
                           else 'This was not sent (' || w.reason || '): ' || m.body end,
                       'parts', m.parts, 'external_id', m.external_id, 'turn', m.turn_id, 'created_at', m.created_at)
                       order by (m.role = 'USER' and m.turn_id is not distinct from b.id), m.seq) as history,
                   min(m.seq) as from_seq
            from (
                select * from messages n
                where n.workspace_id = b.workspace_id and n.dialogue_id = b.dialogue_id
                    and (n.role <> 'USER' or n.seq <= b.covered_through)
                order by n.seq desc
                limit coalesce((a.profile #>> '{history,max_messages}')::integer, p_history)
            ) m
            cross join lateral (
                select min(y.reason) as reason, min(coalesce(y.text_from, 1)) as text_from
                from deliveries y
                where y.workspace_id = b.workspace_id and y.message_id = m.id and y.state = 'WITHHELD'
            ) w
        ) h
    ),
    started as (
        insert into runs (workspace_id, turn_id, number, state, request, started_at)
        select k.workspace_id, k.id, k.current_run, 'STARTED',
               jsonb_build_object('engine', k.engine, 'instructions', k.instructions, 'history',
                   jsonb_build_object('from_seq', k.from_seq, 'covered_through', k.covered_through)),
               p_at
        from known k where k.waiting_since is null
    )
    select k.workspace_id, k.id, k.fence, k.current_run, k.late, k.status, k.chat, k.agent_active, k.engine, k.instructions,
           k.reply_policy, k.channel_id, k.channel_active, k.vendor, k.url, k.uncertain, k.token_sealed, k.signing_secret_sealed,
           coalesce(k.history, '[]'),
           coalesce((select jsonb_agg(jsonb_build_object('answer', s.answer, 'results', s.results,
                         'vendor', (select r.request #>> '{engine,vendor}' from runs r
                             where r.workspace_id = s.workspace_id and r.turn_id = s.turn_id and r.number = s.run)) order by s.step)
                     from run_steps s where s.workspace_id = k.workspace_id and s.turn_id = k.id), '[]'),
           k.waiting_since, k.agent_id, k.profile, k.facts, k.fallback, k.max_text_chars, k.contact_id
    from known k;
end
$$;
call hand_to_system('system_begin_turns(uuid, uuid[], uuid[], uuid[], bigint[], timestamptz, integer)');

-- What a turn has used and cost with its present run, whose record is not written yet.
create function spent_by_turn(p_workspace uuid, p_turn uuid, p_run integer, p_record jsonb)
returns jsonb
language sql stable
return case when p_run = 1 then coalesce(p_record -> 'spent', '{"calls": 0, "unknown_calls": 0}')
    else turn_spent(p_workspace, p_turn, p_run, p_record -> 'spent') end;

-- Commits replies: message, delivery, events, the end of turn and run and job, all or none of each item. Where nothing of
-- the dialogue waits to be delivered, the out key is taken at once and the first attempt is committed as STARTED: the
-- worker sends without going through the queue. A worker that dies leaves a job under a locked key, like any other.
--
-- `p_record`: what the engine was given, and what its calls used and cost: {request, hash, spent}.
-- `p_error`: why the run failed, whose fallback text this is; NULL: it is the engine's answer. `p_reason`: what the reply is in
-- place of an answer; NULL: it is one.
--
-- Outcome: COMMITTED; HUMAN_HOLDS or NOBODY_HOLDS when the agent no longer holds the dialogue; SUPERSEDED when a newer message was added to the
-- turn meanwhile: then the turn is due for its next run.
create function system_commit_replies(
    p_worker uuid, p_workspace uuid[], p_dialogue uuid[], p_turn uuid[], p_run integer[], p_fence bigint[],
    p_job uuid[], p_message uuid[], p_body text[], p_answer jsonb[], p_record jsonb[],
    p_delivery uuid[], p_out_job uuid[], p_event uuid[], p_error text[], p_reason text[], p_at timestamptz
)
returns table (ord integer, outcome text, out_fence bigint)
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
    v_held integer[];
    v_superseded integer[];
begin
    perform 1 from dialogues d
    where (d.workspace_id, d.id) in (select * from unnest(p_workspace, p_dialogue))
    order by d.workspace_id, d.id for update;

    select array_agg(c.ord) filter (where c.speaks and not c.superseded),
           array_agg(c.ord) filter (where not c.speaks),
           array_agg(c.ord) filter (where c.speaks and c.superseded)
    into v_good, v_held, v_superseded
    from (
        select i.ord::integer as ord, agent_may_speak(d.status, d.control_reason, d.control_by) as speaks,
               d.collecting_turn_id is not distinct from t.id and d.last_customer_seq > t.covered_through as superseded
        from unnest(p_workspace, p_dialogue, p_turn, p_run, p_fence) with ordinality
            as i (workspace_id, dialogue_id, turn_id, run, fence, ord)
        join dialogues d on d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        join turns t on t.workspace_id = i.workspace_id and t.id = i.turn_id
            and t.state = 'RUNNING' and t.current_run = i.run
        join job_keys k on k.workspace_id = i.workspace_id and k.subject_id = i.dialogue_id and k.lane = 'turn'
            and k.fence = i.fence and k.locked_by is not distinct from p_worker
        for update of k
    ) c;

    return query
    with input as materialized (
        select i.*, i.n::integer as ord
        from unnest(
            p_workspace, p_dialogue, p_turn, p_run, p_job, p_message, p_body, p_answer, p_record,
            p_delivery, p_out_job, p_event, p_error, p_reason
        ) with ordinality as i (
            workspace_id, dialogue_id, turn_id, run, job_id, message_id, body, answer, record,
            delivery_id, out_job_id, event_id, error, reason, n)
        where i.n = any (v_good)
    ),
    moved as (
        update dialogues d
        set last_seq = d.last_seq + 1, version = d.version + 1,
            collecting_turn_id = nullif(d.collecting_turn_id, i.turn_id),
            updated_at = greatest(p_at, d.updated_at + interval '1 microsecond')
        from input i where d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        returning i.ord, d.last_seq, d.version, d.updated_at, d.channel_id
    ),
    said as (
        insert into messages (workspace_id, id, dialogue_id, seq, role, body, external_id, turn_id, created_at)
        select i.workspace_id, i.message_id, i.dialogue_id, m.last_seq, 'ASSISTANT', i.body, i.message_id::text,
               i.turn_id, m.updated_at
        from input i join moved m on m.ord = i.ord
    ),
    told as (
        insert into events (workspace_id, id, kind, dialogue_id, subject_id, data, occurred_at)
        select i.workspace_id, i.event_id, 'message.replied', i.dialogue_id, i.message_id,
               jsonb_build_object('turn_id', i.turn_id, 'delivery_id', i.delivery_id,
                   'usage', spent_by_turn(i.workspace_id, i.turn_id, i.run, i.record)), m.updated_at
        from input i join moved m on m.ord = i.ord
    ),
    noted as (
        insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
        select i.workspace_id, i.event_id, event_group(i.workspace_id), m.updated_at
        from input i join moved m on m.ord = i.ord
    ),
    closed as (
        update turns t
        set state = 'REPLIED', reply_message_id = i.message_id, closed_at = p_at,
            reason = i.reason
        from input i where t.workspace_id = i.workspace_id and t.id = i.turn_id
    ),
    answered as (
        update runs r
        set state = case when i.error is null then 'ANSWERED' else 'FAILED' end, error = i.error, ended_at = p_at,
            prompt_hash = i.record ->> 'hash', request = coalesce(i.record -> 'request', r.request),
            calls = coalesce((i.record -> 'spent' ->> 'calls')::bigint, 0),
            unknown_calls = coalesce((i.record -> 'spent' ->> 'unknown_calls')::bigint, 0),
            input_tokens = (i.record -> 'spent' ->> 'input_tokens')::bigint,
            cached_input_tokens = (i.record -> 'spent' ->> 'cached_input_tokens')::bigint,
            output_tokens = (i.record -> 'spent' ->> 'output_tokens')::bigint,
            cost_micros = (i.record -> 'spent' ->> 'cost_micros')::bigint, currency = i.record -> 'spent' ->> 'currency'
        from input i where r.workspace_id = i.workspace_id and r.turn_id = i.turn_id and r.number = i.run
    ),
    stepped as (
        insert into run_steps (workspace_id, turn_id, step, run, answer, results, created_at)
        select i.workspace_id, i.turn_id,
               (select count(*) + 1 from run_steps s where s.workspace_id = i.workspace_id and s.turn_id = i.turn_id),
               i.run, i.answer, '[]', p_at
        from input i where i.error is null
    ),
    done as (
        delete from jobs j using input i where j.workspace_id = i.workspace_id and j.id = i.job_id
    ),
    -- Neither guard nor governor has a say in it.
    clear as materialized (
        select i.ord
        from input i
        join dialogues d on d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        join channels c on c.workspace_id = d.workspace_id and c.id = d.channel_id
        where c.delivery_policy ->> 'max_per_second' is null
            and guard_verdict(i.workspace_id, i.dialogue_id, i.delivery_id, 'AGENT', d.status,
                c.active and c.deleted_at is null, c.delivery_policy, p_at) is null
    ),
    outbox as (
        insert into job_keys as k (workspace_id, subject_id, lane, next_run_at, locked_by, fence)
        select i.workspace_id, i.dialogue_id, 'out', p_at, case when i.ord in (select c.ord from clear c) then p_worker end, 1
        from input i order by i.workspace_id, i.dialogue_id
        on conflict (workspace_id, subject_id, lane) do update set
            locked_by = case when k.next_run_at = 'infinity' then excluded.locked_by else k.locked_by end,
            fence = case when k.next_run_at = 'infinity' then k.fence + 1 else k.fence end,
            next_run_at = case when k.next_run_at = 'infinity' then excluded.next_run_at else k.next_run_at end
        returning workspace_id, subject_id, locked_by, fence, next_run_at
    ),
    -- The key was empty, and so is ours now, exactly when its due time is this very moment and it is locked by us; a key
    -- that we hold for an older delivery has an older due time or a job.
    direct as materialized (
        select i.ord, o.fence
        from input i join outbox o on o.workspace_id = i.workspace_id and o.subject_id = i.dialogue_id
        where o.locked_by = p_worker and o.next_run_at = p_at
            and not exists (select 1 from jobs j where j.workspace_id = i.workspace_id and j.subject_id = i.dialogue_id
                            and j.lane = 'out')
    ),
    queued as (
        insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at)
        select i.workspace_id, i.out_job_id, i.dialogue_id, 'out', i.delivery_id, m.version, p_at
        from input i join moved m on m.ord = i.ord
    ),
    sent as (
        insert into deliveries (workspace_id, id, dialogue_id, message_id, channel_id, author, state, attempts,
            next_attempt_at, created_at)
        select i.workspace_id, i.delivery_id, i.dialogue_id, i.message_id, m.channel_id, 'AGENT',
               case when x.ord is null then 'PENDING' else 'STARTED' end, (x.ord is not null)::int,
               case when x.ord is null then p_at end, p_at
        from input i join moved m on m.ord = i.ord left join direct x on x.ord = i.ord
    ),
    tried as (
        insert into attempts (workspace_id, delivery_id, number, state, started_at)
        select i.workspace_id, i.delivery_id, 1, 'STARTED', p_at from input i join direct x on x.ord = i.ord
    )
    select i.ord, 'COMMITTED', x.fence from input i left join direct x on x.ord = i.ord
    union all
    select h, case d.status when 'OPEN' then 'HUMAN_HOLDS' else 'NOBODY_HOLDS' end, null::bigint
    from unnest(v_held) h join dialogues d on d.workspace_id = p_workspace[h] and d.id = p_dialogue[h];

    if v_superseded is not null then
        return query
        with input as materialized (
            select i.* from unnest(p_workspace, p_turn, p_run, p_record) with ordinality
                as i (workspace_id, turn_id, run, record, n)
            where i.n = any (v_superseded)
        ),
        ended as (
            update runs r
            set state = 'SUPERSEDED', ended_at = p_at,
            prompt_hash = i.record ->> 'hash', request = coalesce(i.record -> 'request', r.request),
            calls = coalesce((i.record -> 'spent' ->> 'calls')::bigint, 0),
            unknown_calls = coalesce((i.record -> 'spent' ->> 'unknown_calls')::bigint, 0),
            input_tokens = (i.record -> 'spent' ->> 'input_tokens')::bigint,
            cached_input_tokens = (i.record -> 'spent' ->> 'cached_input_tokens')::bigint,
            output_tokens = (i.record -> 'spent' ->> 'output_tokens')::bigint,
            cost_micros = (i.record -> 'spent' ->> 'cost_micros')::bigint, currency = i.record -> 'spent' ->> 'currency'
            from input i where r.workspace_id = i.workspace_id and r.turn_id = i.turn_id and r.number = i.run
        ),
        counted as (
            update turns t set restarts = t.restarts + 1
            from input i where t.workspace_id = i.workspace_id and t.id = i.turn_id
        )
        select s, 'SUPERSEDED', null::bigint from unnest(v_superseded) s;
        v_good := v_good || v_superseded;
    end if;

    perform release_keys(
        (select array_agg(p_workspace[g]) from unnest(v_good) g), (select array_agg(p_dialogue[g]) from unnest(v_good) g),
        'turn');
end
$$;
call hand_to_system('system_commit_replies(uuid, uuid[], uuid[], uuid[], integer[], bigint[], uuid[], uuid[], text[], jsonb[], jsonb[], uuid[], uuid[], uuid[], text[], text[], timestamptz)');

-- Settles turns that got no reply: state SILENT or FAILED closes them for good, with all messages that were added to them;
-- RUNNING leaves them for another run, at `p_run_at` when this one failed, or when newer messages say if it was superseded;
-- COLLECTING undoes the beginning of the run, and the turn goes on gathering messages until `p_run_at`.
-- `p_error` is why the run failed; NULL: it did not. `p_record` as in system_commit_replies; NULL: the engine was not asked.
create function system_settle_turns(
    p_worker uuid, p_workspace uuid[], p_dialogue uuid[], p_turn uuid[], p_run integer[], p_fence bigint[], p_job uuid[],
    p_state text[], p_reason text[], p_error text[], p_run_at timestamptz[], p_event uuid[], p_record jsonb[],
    p_at timestamptz
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
        from unnest(p_workspace, p_dialogue, p_turn, p_run, p_fence) with ordinality
            as i (workspace_id, dialogue_id, turn_id, run, fence, ord)
        join turns t on t.workspace_id = i.workspace_id and t.id = i.turn_id
            and t.state = 'RUNNING' and t.current_run = i.run
        join job_keys k on k.workspace_id = i.workspace_id and k.subject_id = i.dialogue_id and k.lane = 'turn'
            and k.fence = i.fence and k.locked_by is not distinct from p_worker
        for update of k
    ) c;

    return query
    with input as materialized (
        select i.*, i.n::integer as ord
        from unnest(p_workspace, p_dialogue, p_turn, p_run, p_job, p_state, p_reason, p_error, p_run_at, p_event,
            p_record)
            with ordinality as i (workspace_id, dialogue_id, turn_id, run, job_id, state, reason, error, run_at,
                event_id, record, n)
        where i.n = any (v_good)
    ),
    moved as (
        update dialogues d
        set version = d.version + 1, updated_at = greatest(p_at, d.updated_at + interval '1 microsecond'),
            collecting_turn_id = case i.state when 'RUNNING' then d.collecting_turn_id
                when 'COLLECTING' then coalesce(d.collecting_turn_id, i.turn_id)
                else nullif(d.collecting_turn_id, i.turn_id) end
        from input i where d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        returning i.ord, d.updated_at
    ),
    ended as (
        update runs r
        set state = case when i.error is not null then 'FAILED' when i.state = 'RUNNING' then 'SUPERSEDED'
                else 'ANSWERED' end,
            error = i.error, ended_at = p_at,
            prompt_hash = i.record ->> 'hash', request = coalesce(i.record -> 'request', r.request),
            calls = coalesce((i.record -> 'spent' ->> 'calls')::bigint, 0),
            unknown_calls = coalesce((i.record -> 'spent' ->> 'unknown_calls')::bigint, 0),
            input_tokens = (i.record -> 'spent' ->> 'input_tokens')::bigint,
            cached_input_tokens = (i.record -> 'spent' ->> 'cached_input_tokens')::bigint,
            output_tokens = (i.record -> 'spent' ->> 'output_tokens')::bigint,
            cost_micros = (i.record -> 'spent' ->> 'cost_micros')::bigint, currency = i.record -> 'spent' ->> 'currency'
        from input i where r.workspace_id = i.workspace_id and r.turn_id = i.turn_id and r.number = i.run and i.state <> 'COLLECTING'
    ),
    undone as (
        delete from runs r using input i
        where r.workspace_id = i.workspace_id and r.turn_id = i.turn_id and r.number = i.run and i.state = 'COLLECTING'
    ),
    closed as (
        update turns t
        set state = i.state, reason = i.reason, closed_at = case when i.state not in ('RUNNING', 'COLLECTING') then p_at end,
            current_run = t.current_run - (i.state = 'COLLECTING')::integer,
            waited_until = case when i.state = 'COLLECTING' then i.run_at else t.waited_until end,
            restarts = t.restarts + (i.state = 'RUNNING' and i.error is null)::integer,
            covered_through = case
                when i.state = 'COLLECTING' and coalesce(was.collecting_turn_id, t.id) = t.id then 0
                when i.state not in ('RUNNING', 'COLLECTING') and was.collecting_turn_id = t.id then was.last_customer_seq
                else t.covered_through end
        from input i join dialogues was on was.workspace_id = i.workspace_id and was.id = i.dialogue_id
        where t.workspace_id = i.workspace_id and t.id = i.turn_id
    ),
    done as (
        delete from jobs j using input i
        where j.workspace_id = i.workspace_id and j.id = i.job_id and i.state not in ('RUNNING', 'COLLECTING')
    ),
    again as (
        update jobs j set run_at = i.run_at, failures = j.failures + (i.state = 'RUNNING')::integer
        from input i
        where j.workspace_id = i.workspace_id and j.id = i.job_id
            and (i.state = 'COLLECTING' or i.state = 'RUNNING' and i.error is not null)
    ),
    told as (
        insert into events (workspace_id, id, kind, dialogue_id, subject_id, data, occurred_at)
        select i.workspace_id, i.event_id, case i.state when 'SILENT' then 'turn.silent' else 'turn.failed' end,
               i.dialogue_id, i.turn_id,
               jsonb_build_object('reason', i.reason, 'usage', spent_by_turn(i.workspace_id, i.turn_id, i.run, i.record)),
               m.updated_at
        from input i join moved m on m.ord = i.ord where i.state not in ('RUNNING', 'COLLECTING')
        returning workspace_id, id, occurred_at
    ),
    noted as (
        insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
        select t.workspace_id, t.id, event_group(t.workspace_id), t.occurred_at from told t
    )
    select i.ord from input i;

    perform release_keys(
        (select array_agg(p_workspace[g]) from unnest(v_good) g), (select array_agg(p_dialogue[g]) from unnest(v_good) g),
        'turn');
end
$$;
call hand_to_system('system_settle_turns(uuid, uuid[], uuid[], uuid[], integer[], bigint[], uuid[], text[], text[], text[], timestamptz[], uuid[], jsonb[], timestamptz)');
