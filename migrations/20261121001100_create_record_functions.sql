-- Records gathered inbound messages, of any workspaces, in one transaction: raw request, de-duplication key, dialogue,
-- message, turn, event and job. Either all of the batch is there or nothing.
--
-- The caller has sorted repeats inside the batch out: (workspace, channel, dedup key) is unique in it. Dialogues are locked
-- in the order of workspace and id, keys of the queue last.
--
-- Answers one row per message, by its number in the batch from 1. A message whose key was there but is gone by the time
-- that it is looked up gets none and leaves no trace: the caller offers it again.
--
-- `p_due` and `p_latest`: when the turn that a message opens is due, and what newer messages may not move that past; NULL:
-- at once. `p_takes`: the message's author takes control from the agent, until `p_returns_at` if that is not NULL. `p_link`:
-- whom the dialogue is held with and what the CRM knows it as, for `link_dialogue`. The arrays themselves, as those behind
-- them, are NULL where no message of the batch needs them.
--
-- `extended`: the message was added to a turn that was there, which may be running.
--
-- The transaction commits without waiting for the disk: the caller waits for `store::flush` before it answers anybody. Workers
-- may go on with what they find at once, since their own commits wait, and the log never has a later commit without an earlier.
--
-- What every message needs is one statement; what only some need has statements of its own, because setting a statement up
-- costs more than running it. Nobody is notified in here: commits that notify wait for each other.
create function system_record(
    p_webhook uuid[], p_workspace uuid[], p_channel uuid[], p_agent uuid[], p_dialogue uuid[], p_chat text[],
    p_dedup_key text[], p_digest bytea[], p_message uuid[], p_external_id text[], p_role text[], p_body text[],
    p_turn uuid[], p_job uuid[], p_event uuid[], p_event_created uuid[], p_route text[], p_headers jsonb[],
    p_raw bytea[], p_at timestamptz[], p_due timestamptz[], p_latest timestamptz[], p_takes boolean[],
    p_returns_at timestamptz[], p_parts jsonb[], p_link jsonb[], p_metadata jsonb[], p_sent_at timestamptz[]
)
returns table (ord integer, outcome text, message_id uuid, dialogue_id uuid, extended boolean)
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
    -- The messages that are new, and those of them that open a turn.
    v_fresh integer[];
    v_opening integer[];
    -- Those that were added to a turn that was there, those that find the dialogue resolved or snoozed, and those whose
    -- author, a person, takes it or holds it on.
    v_extending integer[];
    v_reopening integer[];
    v_speaking integer[];
    v_linking integer[];
    v_one integer;
begin
    perform set_config('synchronous_commit', 'off', true);

    -- Only what is narrow goes through the steps; the rest is taken from the arrays by its number where it is written.
    with keyed as (
        insert into message_keys (workspace_id, channel_id, dedup_key, digest, message_id, dialogue_id, created_at)
        select p_workspace[n], p_channel[n], p_dedup_key[n], p_digest[n], p_message[n], p_dialogue[n], p_at[n]
        from generate_subscripts(p_message, 1) n
        order by 1, 2, 3
        on conflict do nothing
        returning message_id
    ),
    input as materialized (
        select n, p_workspace[n] as workspace_id, p_dialogue[n] as dialogue_id, p_role[n] = 'USER' as customer
        from generate_subscripts(p_message, 1) n
        where p_message[n] in (select k.message_id from keyed k)
    ),
    fresh as materialized (
        select i.*, row_number() over dialogue as rank, count(*) over (partition by i.workspace_id, i.dialogue_id) as size
        from input i
        window dialogue as (partition by i.workspace_id, i.dialogue_id order by i.n)
    ),
    -- Creates, locks and numbers the dialogues in one go. A customer's message opens the collecting turn where there is
    -- none.
    opened as (
        insert into dialogues as d (
            workspace_id, id, channel_id, chat, status, last_seq, last_customer_seq, version, collecting_turn_id,
            control_since, created_at, updated_at)
        select g.workspace_id, g.dialogue_id, p_channel[g.first], p_chat[g.first], 'PENDING', g.size, g.last_customer, g.size,
               p_turn[g.first_customer], g.first_at, g.first_at, g.last_at
        from (
            select f.workspace_id, f.dialogue_id, min(f.n) as first, count(*) as size,
                   coalesce(max(f.rank) filter (where f.customer), 0) as last_customer,
                   min(f.n) filter (where f.customer) as first_customer, min(p_at[f.n]) as first_at, max(p_at[f.n]) as last_at
            from fresh f
            group by f.workspace_id, f.dialogue_id
        ) g
        order by g.workspace_id, g.dialogue_id
        on conflict (workspace_id, id) do update set
            last_seq = d.last_seq + excluded.last_seq,
            last_customer_seq = case when excluded.last_customer_seq > 0
                then d.last_seq + excluded.last_customer_seq else d.last_customer_seq end,
            version = d.version + excluded.version,
            collecting_turn_id = coalesce(d.collecting_turn_id, excluded.collecting_turn_id),
            updated_at = greatest(d.updated_at, excluded.updated_at) + excluded.version * interval '1 microsecond'
        returning d.workspace_id, d.id, d.last_seq, d.collecting_turn_id, d.updated_at, d.status, d.xmax = 0 as created
    ),
    placed as materialized (
        select f.n, f.customer, o.created and f.rank = 1 as created, o.last_seq - f.size + f.rank as seq, o.collecting_turn_id, o.status,
               o.updated_at - (f.size - f.rank) * interval '1 microsecond' as moment
        from fresh f join opened o on o.workspace_id = f.workspace_id and o.id = f.dialogue_id
    ),
    written as (
        insert into messages (
            workspace_id, id, dialogue_id, seq, role, body, parts, external_id, turn_id, created_at, metadata, sent_at)
        select p_workspace[p.n], p_message[p.n], p_dialogue[p.n], p.seq, p_role[p.n], p_body[p.n], p_parts[p.n],
               p_external_id[p.n],
               case when p.customer then p.collecting_turn_id end, p.moment, p_metadata[p.n], p_sent_at[p.n]
        from placed p
    ),
    told as (
        insert into events (workspace_id, id, kind, dialogue_id, subject_id, occurred_at)
        select p_workspace[p.n], p_event[p.n], 'message.received', p_dialogue[p.n], p_message[p.n], p.moment
        from placed p
        union all
        select p_workspace[p.n], p_event_created[p.n], 'dialogue.created', p_dialogue[p.n], p_dialogue[p.n],
               p.moment - interval '1 microsecond'
        from placed p where p.created
    ),
    noted as (
        insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
        select p_workspace[p.n], p_event[p.n], event_group(p_workspace[p.n]), p.moment from placed p
        union all
        select p_workspace[p.n], p_event_created[p.n], event_group(p_workspace[p.n]), p.moment - interval '1 microsecond'
        from placed p where p.created
    ),
    kept as (
        insert into inbound_webhooks (
            workspace_id, id, channel_id, route, headers, body, outcome, message_id, dialogue_id, received_at)
        select p_workspace[p.n], p_webhook[p.n], p_channel[p.n], p_route[p.n], p_headers[p.n], p_raw[p.n], 'RECORDED',
               p_message[p.n], p_dialogue[p.n], p_at[p.n]
        from placed p
    )
    select array_agg(p.n),
           array_agg(p.n) filter (where p.customer and p.collecting_turn_id = p_turn[p.n]),
           array_agg(p.n) filter (where p.customer and p.collecting_turn_id <> p_turn[p.n]),
           array_agg(p.n) filter (where p.customer and p.status in ('SNOOZED', 'RESOLVED')),
           array_agg(p.n order by p.n)
               filter (where p_takes[p.n] or p_role[p.n] = 'EMPLOYEE' and p.status = 'OPEN')
    into v_fresh, v_opening, v_extending, v_reopening, v_speaking
    from placed p;

    -- In the order of workspaces and dialogues, as everything is locked; the keys of the queue come after.
    if p_link is not null then
        select array_agg(f order by p_workspace[f], p_dialogue[f], f) into v_linking
        from unnest(v_fresh) f where p_link[f] is not null;
        if v_linking is not null then
            perform take_identities(p_workspace, p_link, v_linking, p_at);
            foreach v_one in array v_linking loop
                perform link_dialogue(p_workspace[v_one], p_dialogue[v_one], p_link[v_one], p_at[v_one]);
            end loop;
        end if;
    end if;

    if v_opening is not null then
        with opening as materialized (
            select i.*
            from unnest(p_workspace, p_dialogue, p_agent, p_turn, p_job, p_at, p_due, p_latest) with ordinality
                as i (workspace_id, dialogue_id, agent_id, turn_id, job_id, at, due, latest, n)
            where i.n = any (v_opening)
        ),
        turned as (
            insert into turns (workspace_id, id, dialogue_id, agent_id, state, covered_through, current_run, created_at)
            select o.workspace_id, o.turn_id, o.dialogue_id, o.agent_id, 'COLLECTING', 0, 0, o.at from opening o
        ),
        queued as (
            insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at, latest_at)
            select o.workspace_id, o.job_id, o.dialogue_id, 'turn', o.turn_id, d.version, coalesce(o.due, o.at), o.latest
            from opening o join dialogues d on d.workspace_id = o.workspace_id and d.id = o.dialogue_id
        )
        -- A dialogue opens one turn at most in a batch, so no key comes twice. Where a turn still runs or waits for its retry,
        -- its job is the head and decides when the key is due.
        insert into job_keys as k (workspace_id, subject_id, lane, next_run_at)
        select o.workspace_id, o.dialogue_id, 'turn', coalesce(o.due, o.at)
        from opening o
        order by o.workspace_id, o.dialogue_id
        on conflict (workspace_id, subject_id, lane) do update set
            next_run_at = case when k.next_run_at = 'infinity' then excluded.next_run_at else k.next_run_at end;
    end if;

    -- What was written long before it came, as after an outage, may make its turn late.
    if p_sent_at is not null then
        update turns t set sent_at = least(t.sent_at, i.sent_at)
        from (
            select p_workspace[f] as workspace_id, p_dialogue[f] as dialogue_id, min(p_sent_at[f]) as sent_at
            from unnest(v_fresh) f
            where p_role[f] = 'USER' and p_sent_at[f] < p_at[f] - interval '1 second'
            group by 1, 2
        ) i
        join dialogues d on d.workspace_id = i.workspace_id and d.id = i.dialogue_id
        where t.workspace_id = i.workspace_id and t.id = d.collecting_turn_id;
    end if;

    -- The quiet window begins anew with each message, up to the longest wait. A key that is held learns of it when it is
    -- given back; where another turn is ahead, that one decides when the key is due.
    if p_due is not null and v_extending is not null then
        with input as (
            select i.workspace_id, i.dialogue_id, max(i.due) as due
            from unnest(p_workspace, p_dialogue, p_due) with ordinality as i (workspace_id, dialogue_id, due, n)
            where i.n = any (v_extending) and i.due is not null
            group by i.workspace_id, i.dialogue_id
        ),
        moved as (
            update jobs j set run_at = greatest(j.run_at, least(i.due, j.latest_at))
            from input i join dialogues d on d.workspace_id = i.workspace_id and d.id = i.dialogue_id
            where j.workspace_id = i.workspace_id and j.subject_id = i.dialogue_id and j.lane = 'turn'
                and j.target_id = d.collecting_turn_id and j.latest_at is not null
            returning j.workspace_id, j.subject_id, j.place, j.run_at
        )
        update job_keys k set next_run_at = m.run_at
        from moved m
        where k.workspace_id = m.workspace_id and k.subject_id = m.subject_id and k.lane = 'turn' and k.locked_by is null
            and not exists (
                select 1 from jobs h
                where h.workspace_id = m.workspace_id and h.subject_id = m.subject_id and h.lane = 'turn'
                    and h.place < m.place);
    end if;

    foreach v_one in array coalesce(v_reopening, '{}') loop
        perform change_control(
            p_workspace[v_one], p_dialogue[v_one], 'PENDING', 'customer_message', '', null, p_at[v_one]);
    end loop;
    foreach v_one in array coalesce(v_speaking, '{}') loop
        perform person_spoke(
            p_workspace[v_one], p_dialogue[v_one], coalesce(p_takes[v_one], false), 'employee_message', '',
            p_returns_at[v_one], p_at[v_one]);
    end loop;

    return query
    select f, 'RECORDED', p_message[f], p_dialogue[f], coalesce(f = any (v_extending), false) from unnest(v_fresh) f;

    if coalesce(cardinality(v_fresh), 0) < cardinality(p_message) then
        return query
        with known as materialized (
            select i.*, i.n::integer as ord, k.message_id, k.dialogue_id,
                   case when k.digest = i.digest then 'DUPLICATE' else 'CONFLICT' end as outcome
            from unnest(p_workspace, p_channel, p_dedup_key, p_digest, p_webhook, p_route, p_headers, p_raw, p_event, p_at)
                with ordinality as i (
                    workspace_id, channel_id, dedup_key, digest, webhook_id, route, headers, raw, event_id, at, n)
            join message_keys k
                on k.workspace_id = i.workspace_id and k.channel_id = i.channel_id and k.dedup_key = i.dedup_key
            where i.n <> all (coalesce(v_fresh, '{}'))
        ),
        told as (
            insert into events (workspace_id, id, kind, dialogue_id, subject_id, occurred_at)
            select k.workspace_id, k.event_id, 'message.conflict', k.dialogue_id, k.message_id, k.at
            from known k where k.outcome = 'CONFLICT'
        ),
        noted as (
            insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
            select k.workspace_id, k.event_id, event_group(k.workspace_id), k.at
            from known k where k.outcome = 'CONFLICT'
        ),
        kept as (
            insert into inbound_webhooks (
                workspace_id, id, channel_id, route, headers, body, outcome, message_id, dialogue_id, received_at)
            select k.workspace_id, k.webhook_id, k.channel_id, k.route, k.headers, k.raw, k.outcome, k.message_id,
                   k.dialogue_id, k.at
            from known k
            -- A batch that is offered again, because its connection was lost while it committed, is kept already.
            on conflict (workspace_id, id) do nothing
        ),
        -- What was written already and is offered again, because its connection was lost, is no repeat.
        counted as (
            insert into repeat_counts as c (workspace_id, shard, repeats)
            select k.workspace_id, pg_backend_pid() % 8, count(*)
            from known k where k.outcome = 'DUPLICATE' and k.message_id <> p_message[k.ord]
            group by k.workspace_id
            order by k.workspace_id
            on conflict (workspace_id, shard) do update set repeats = c.repeats + excluded.repeats
        )
        select k.ord, k.outcome, k.message_id, k.dialogue_id, false from known k;
    end if;
end
$$;
call hand_to_system('system_record(uuid[], uuid[], uuid[], uuid[], uuid[], text[], text[], bytea[], uuid[], text[], text[], text[], uuid[], uuid[], uuid[], uuid[], text[], jsonb[], bytea[], timestamptz[], timestamptz[], timestamptz[], boolean[], timestamptz[], jsonb[], jsonb[], jsonb[], timestamptz[])');
