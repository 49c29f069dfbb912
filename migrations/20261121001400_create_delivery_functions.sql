-- Gathered steps of deliveries, under the same rules as those of turns.

-- The guard: why a message may not go out; NULL: it may. People may always write, and so may the one notice of a hand-over;
-- what others write is held against who holds the dialogue and against the channel's policy.
create function guard_verdict(
    p_workspace uuid, p_dialogue uuid, p_delivery uuid, p_author text, p_status text, p_active boolean, p_policy jsonb,
    p_at timestamptz
)
returns text
language plpgsql stable
set search_path = public, pg_temp
as $$
declare
    v_loop integer := (p_policy ->> 'loop_limit')::integer;
    v_cap integer := (p_policy ->> 'hourly_limit')::integer;
    v_quiet jsonb := nullif(p_policy -> 'quiet_hours', 'null');
    v_clock time;
    v_begun boolean;
    v_ended boolean;
begin
    if not p_active then
        return 'channel_inactive';
    end if;
    if p_author in ('OPERATOR', 'SYSTEM') then
        return null;
    end if;
    if p_status = 'OPEN' then
        return 'human_holds';
    end if;
    -- A program may write in a dialogue that nobody holds, the agent may not, but to end what it says.
    if p_author = 'AGENT' and p_status <> 'PENDING' and not exists (
        select 1 from dialogues d
        where d.workspace_id = p_workspace and d.id = p_dialogue
            and agent_may_speak(d.status, d.control_reason, d.control_by))
    then
        return 'nobody_holds';
    end if;
    -- Ids of deliveries rise with time. A programme that talks to another one is noticed within a minute.
    if v_loop > 0 and v_loop <= (
        select count(*) from (
            select 1 from deliveries y
            where y.workspace_id = p_workspace and y.dialogue_id = p_dialogue and y.id < p_delivery
                and y.id > uuid_of_moment(p_at - interval '1 minute') and y.author in ('AGENT', 'AUTOMATION')
                and y.state <> 'WITHHELD'
            limit v_loop) recent)
    then
        return 'loop';
    end if;
    if v_cap > 0 and v_cap <= (
        select count(*) from (
            select 1 from deliveries y
            where y.workspace_id = p_workspace and y.dialogue_id = p_dialogue and y.id < p_delivery
                and y.id > uuid_of_moment(p_at - interval '1 hour') and y.author in ('AGENT', 'AUTOMATION')
                and y.state <> 'WITHHELD'
            limit v_cap) recent)
    then
        return 'rate_capped';
    end if;
    if p_author = 'AUTOMATION' and exists (
        select 1 from dialogues d where d.workspace_id = p_workspace and d.id = p_dialogue and d.opted_out)
    then
        return 'opted_out';
    end if;
    if v_quiet is not null and p_author = 'AUTOMATION' then
        v_clock := (p_at at time zone (v_quiet ->> 'time_zone'))::time;
        v_begun := v_clock >= (v_quiet ->> 'start')::time;
        v_ended := v_clock >= (v_quiet ->> 'end')::time;
        if v_quiet ->> 'start' < v_quiet ->> 'end' and v_begun and not v_ended
            or v_quiet ->> 'start' > v_quiet ->> 'end' and (v_begun or not v_ended)
        then
            return 'quiet_hours';
        end if;
    end if;
    return null;
end
$$;

-- The governor: grants places in the rates of channels that have one, evenly spaced at 6/7 of it, to deliveries that need a
-- place and have none or came too late for theirs. The caller holds their dialogues.
create function grant_slots(p_workspace uuid[], p_delivery uuid[], p_at timestamptz)
returns void
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_item record;
    v_slot timestamptz;
    v_space interval;
begin
    for v_item in
        select y.workspace_id, y.id, y.channel_id, (c.delivery_policy ->> 'max_per_second')::float8 as rate
        from unnest(p_workspace, p_delivery) as i (workspace_id, delivery_id)
        join deliveries y on y.workspace_id = i.workspace_id and y.id = i.delivery_id
        join channels c on c.workspace_id = y.workspace_id and c.id = y.channel_id
        where (c.delivery_policy ->> 'max_per_second')::float8 > 0
            and (y.slot_at is null or y.slot_at < p_at - interval '100 milliseconds')
        order by y.workspace_id, y.channel_id, y.id
    loop
        v_space := interval '1 second' * (7.0 / 6.0 / v_item.rate);
        insert into governors as g (workspace_id, key, next_at)
        values (v_item.workspace_id, 'channel:' || v_item.channel_id, p_at + v_space)
        on conflict (workspace_id, key) do update set next_at = greatest(g.next_at, p_at) + v_space
        returning g.next_at - v_space into v_slot;
        update deliveries set slot_at = v_slot where workspace_id = v_item.workspace_id and id = v_item.id;
    end loop;
end
$$;

-- Begins attempts of claimed deliveries and answers with what is needed to send. An attempt that is still STARTED belongs
-- to a worker that went away: nobody knows what came of it. Where the guard says no, no attempt is begun (`attempt` is NULL)
-- and the worker withholds the delivery for the reason in `verdict`; `maybe_delivered`: a lost attempt may have arrived and the
-- channel holds such messages. Where the governor's place is further off than `p_patience`, nothing is answered and the
-- delivery goes back to the queue until then; else `slot_at` says when to send.
create function system_start_attempts(
    p_worker uuid, p_workspace uuid[], p_dialogue uuid[], p_delivery uuid[], p_fence bigint[], p_at timestamptz,
    p_patience interval
)
returns table (
    workspace_id uuid, delivery_id uuid, fence bigint, attempt integer, state text, verdict text, slot_at timestamptz, message_id uuid, chat text, role text, body text,
    channel_id uuid, channel_active boolean, vendor text, url text, uncertain text, token_sealed bytea, signing_secret_sealed bytea,
    max_text_chars integer, part boolean, parts jsonb, template jsonb)
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
    v_workspaces uuid[];
    v_governed uuid[];
    v_postponed uuid[];
begin
    perform 1 from dialogues d
    where (d.workspace_id, d.id) in (select * from unnest(p_workspace, p_dialogue))
    order by d.workspace_id, d.id for update;

    -- What may go but has its place further off waits for it, and is no longer this worker's. A lost attempt of it may have
    -- arrived.
    with input as materialized (
        select y.workspace_id, y.dialogue_id, y.id, y.state, y.author, d.status, c.active and c.deleted_at is null as active,
               c.delivery_policy
        from unnest(p_workspace, p_dialogue, p_delivery, p_fence) as i (workspace_id, dialogue_id, delivery_id, fence)
        join job_keys k on k.workspace_id = i.workspace_id and k.subject_id = i.dialogue_id and k.lane = 'out'
            and k.fence = i.fence and k.locked_by is not distinct from p_worker
        join dialogues d on d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        join deliveries y on y.workspace_id = i.workspace_id and y.id = i.delivery_id
        join channels c on c.workspace_id = i.workspace_id and c.id = y.channel_id
        where (c.delivery_policy ->> 'max_per_second')::float8 > 0 and y.state in ('PENDING', 'STARTED', 'UNCERTAIN')
    )
    select array_agg(i.workspace_id), array_agg(i.id) into v_workspaces, v_governed
    from input i
    where not (i.state = 'STARTED' and i.delivery_policy ->> 'uncertain' = 'HOLD')
        and guard_verdict(i.workspace_id, i.dialogue_id, i.id, i.author, i.status, i.active, i.delivery_policy, p_at) is null;
    if v_governed is not null then
        perform grant_slots(v_workspaces, v_governed, p_at);
        with waiting as (
            update deliveries y set state = case y.state when 'STARTED' then 'UNCERTAIN' else y.state end
            from unnest(v_workspaces, v_governed) as i (workspace_id, delivery_id)
            where y.workspace_id = i.workspace_id and y.id = i.delivery_id and y.slot_at > p_at + p_patience
            returning y.workspace_id, y.dialogue_id, y.id, y.slot_at
        ),
        put_off as (
            update jobs j set run_at = w.slot_at
            from waiting w
            where j.workspace_id = w.workspace_id and j.subject_id = w.dialogue_id and j.lane = 'out' and j.target_id = w.id
        )
        select array_agg(w.workspace_id), array_agg(w.dialogue_id) into v_workspaces, v_postponed from waiting w;
        if v_postponed is not null then
            perform release_keys(v_workspaces, v_postponed, 'out');
        end if;
    end if;

    return query
    with input as materialized (
        select i.* from unnest(p_workspace, p_dialogue, p_delivery, p_fence)
            as i (workspace_id, dialogue_id, delivery_id, fence)
        join job_keys k on k.workspace_id = i.workspace_id and k.subject_id = i.dialogue_id and k.lane = 'out'
        where k.fence = i.fence and k.locked_by is not distinct from p_worker
    ),
    known as materialized (
        select i.workspace_id, i.delivery_id, y.state, y.attempts, y.message_id, d.chat, d.status, m.role,
               case when y.text_from is null then m.body else substring(m.body from y.text_from for y.text_chars) end as body,
               y.text_from is not null as part, y.template,
               -- What the message carries beside its text goes with the first part of that.
               case when coalesce(y.text_from, 1) = 1 then m.parts end as parts,
               (c.delivery_policy ->> 'max_text_chars')::integer as max_text_chars,
               y.channel_id, c.active and c.deleted_at is null as channel_active, c.vendor, c.url,
               c.delivery_policy ->> 'uncertain' as uncertain, c.token_sealed,
               c.signing_secret_sealed,
               y.state in ('PENDING', 'STARTED', 'UNCERTAIN') as open,
               -- What may have arrived is never called withheld: where it may not be sent again, a person decides.
               case
                   when y.state not in ('PENDING', 'STARTED', 'UNCERTAIN') then null
                   when y.state = 'STARTED' and c.delivery_policy ->> 'uncertain' = 'HOLD' then 'maybe_delivered'
                   when g.verdict is not null and (y.state <> 'PENDING' or exists (
                       select 1 from attempts a
                       where a.workspace_id = y.workspace_id and a.delivery_id = y.id and a.state = 'UNKNOWN'))
                   then 'maybe_delivered'
                   else g.verdict
               end as verdict,
               y.slot_at, i.fence
        from input i
        join dialogues d on d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        join deliveries y on y.workspace_id = i.workspace_id and y.id = i.delivery_id
        join messages m on m.workspace_id = i.workspace_id and m.id = y.message_id
        join channels c on c.workspace_id = i.workspace_id and c.id = y.channel_id
        cross join lateral (
            select guard_verdict(i.workspace_id, i.dialogue_id, y.id, y.author, d.status,
                c.active and c.deleted_at is null, c.delivery_policy, p_at) as verdict
        ) g
    ),
    lost as (
        update attempts a
        set state = 'UNKNOWN', ended_at = p_at, error = 'the process that made the attempt went away'
        from known k
        where a.workspace_id = k.workspace_id and a.delivery_id = k.delivery_id and a.state = 'STARTED'
    ),
    begun as (
        update deliveries y set state = 'STARTED', attempts = y.attempts + 1, next_attempt_at = null, slot_at = null
        from known k where y.workspace_id = k.workspace_id and y.id = k.delivery_id and k.open and k.verdict is null
        returning y.workspace_id, y.id, y.attempts
    ),
    tried as (
        insert into attempts (workspace_id, delivery_id, number, state, started_at)
        select b.workspace_id, b.id, b.attempts, 'STARTED', p_at from begun b
    )
    select k.workspace_id, k.delivery_id, k.fence, b.attempts, k.state, k.verdict, k.slot_at, k.message_id, k.chat, k.role, k.body, k.channel_id,
           k.channel_active, k.vendor, k.url, k.uncertain, k.token_sealed, k.signing_secret_sealed, k.max_text_chars, k.part,
           k.parts, k.template
    from known k left join begun b on b.workspace_id = k.workspace_id and b.id = k.delivery_id;
end
$$;
call hand_to_system('system_start_attempts(uuid, uuid[], uuid[], uuid[], bigint[], timestamptz, interval)');

-- Settles attempts and their deliveries. `p_state` is the delivery's next state: DELIVERED, WITHHELD and DEAD end it,
-- HELD frees its lane for what follows; PENDING and UNCERTAIN have it wait until `p_run_at`, at the head of the lane.
-- `p_vendor_message_id`: what the vendors call the messages; NULL as a whole where none gave a name. Answers the items that
-- were settled.
create function system_settle_attempts(
    p_worker uuid, p_workspace uuid[], p_dialogue uuid[], p_delivery uuid[], p_fence bigint[], p_job uuid[],
    p_attempt integer[], p_attempt_state text[], p_http_status integer[], p_error text[], p_excerpt text[],
    p_state text[], p_reason text[], p_run_at timestamptz[], p_event uuid[], p_vendor_message_id text[], p_at timestamptz
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

    if p_vendor_message_id is not null then
        update deliveries y set vendor_message_id = i.vendor_message_id
        from unnest(p_workspace, p_delivery, p_vendor_message_id) with ordinality
            as i (workspace_id, delivery_id, vendor_message_id, n)
        where i.n = any (v_good) and i.vendor_message_id is not null and y.workspace_id = i.workspace_id
            and y.id = i.delivery_id;
    end if;

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
        set state = i.state, reason = i.reason, next_attempt_at = case when i.state in ('PENDING', 'UNCERTAIN') then i.run_at end,
            settled_at = case when i.state not in ('PENDING', 'UNCERTAIN', 'HELD') then p_at end
        from input i
        where y.workspace_id = i.workspace_id and y.id = i.delivery_id and y.state in ('PENDING', 'STARTED', 'UNCERTAIN')
    ),
    done as (
        delete from jobs j using input i
        where j.workspace_id = i.workspace_id and j.id = i.job_id and i.state not in ('PENDING', 'UNCERTAIN')
    ),
    again as (
        update jobs j set run_at = i.run_at, failures = j.failures + 1
        from input i where j.workspace_id = i.workspace_id and j.id = i.job_id and i.state in ('PENDING', 'UNCERTAIN')
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
call hand_to_system('system_settle_attempts(uuid, uuid[], uuid[], uuid[], bigint[], uuid[], integer[], text[], integer[], text[], text[], text[], text[], timestamptz[], uuid[], text[], timestamptz)');
