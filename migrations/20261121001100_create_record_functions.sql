-- Records gathered inbound messages, of any workspaces, in one transaction: raw request, de-duplication key, dialogue,
-- message, turn, event and job. Either all of the batch is there or nothing.
--
-- The caller has sorted repeats inside the batch out: (workspace, channel, dedup key) is unique in it. Dialogues are locked
-- in the order of workspace and id, keys of the queue last.
--
-- Answers one row per message, by its number in the batch from 1. A message whose key was there but is gone by the time
-- that it is looked up gets none and leaves no trace: the caller offers it again.
--
-- What every message needs is one statement; what only some need has statements of its own, because setting a statement up
-- costs more than running it. Nobody is notified in here: commits that notify wait for each other.
create function system_record(
    p_webhook uuid[], p_workspace uuid[], p_channel uuid[], p_agent uuid[], p_dialogue uuid[], p_chat text[],
    p_dedup_key text[], p_digest bytea[], p_message uuid[], p_external_id text[], p_role text[], p_body text[],
    p_turn uuid[], p_job uuid[], p_event uuid[], p_event_created uuid[], p_route text[], p_headers jsonb[],
    p_raw bytea[], p_at timestamptz[]
)
returns table (ord integer, outcome text, message_id uuid, dialogue_id uuid)
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
begin
    with input as materialized (
        select i.*, i.n::integer as ord
        from unnest(
            p_webhook, p_workspace, p_channel, p_dialogue, p_chat, p_dedup_key, p_digest, p_message,
            p_external_id, p_role, p_body, p_turn, p_event, p_event_created, p_route, p_headers, p_raw, p_at
        ) with ordinality as i (
            webhook_id, workspace_id, channel_id, dialogue_id, chat, dedup_key, digest, message_id,
            external_id, role, body, turn_id, event_id, event_created_id, route, headers, raw, at, n)
    ),
    keyed as (
        insert into message_keys (workspace_id, channel_id, dedup_key, digest, message_id, dialogue_id, created_at)
        select i.workspace_id, i.channel_id, i.dedup_key, i.digest, i.message_id, i.dialogue_id, i.at
        from input i order by i.workspace_id, i.channel_id, i.dedup_key
        on conflict do nothing
        returning message_id
    ),
    fresh as materialized (
        select i.*,
               row_number() over dialogue as rank,
               count(*) over (partition by i.workspace_id, i.dialogue_id) as size
        from input i
        where i.message_id in (select k.message_id from keyed k)
        window dialogue as (partition by i.workspace_id, i.dialogue_id order by i.ord)
    ),
    -- Creates, locks and numbers the dialogues in one go. A customer's message makes a resolved or snoozed dialogue the
    -- agent's again, and opens the collecting turn where there is none.
    opened as (
        insert into dialogues as d (
            workspace_id, id, channel_id, chat, status, last_seq, last_customer_seq, version, collecting_turn_id,
            created_at, updated_at)
        select f.workspace_id, f.dialogue_id, (array_agg(f.channel_id))[1], min(f.chat), 'PENDING', count(*),
               coalesce(max(f.rank) filter (where f.role = 'USER'), 0), count(*),
               (array_agg(f.turn_id) filter (where f.role = 'USER'))[1],
               min(f.at), max(f.at)
        from (select * from fresh order by workspace_id, dialogue_id, ord) f
        group by f.workspace_id, f.dialogue_id
        on conflict (workspace_id, id) do update set
            last_seq = d.last_seq + excluded.last_seq,
            last_customer_seq = case when excluded.last_customer_seq > 0
                then d.last_seq + excluded.last_customer_seq else d.last_customer_seq end,
            version = d.version + excluded.version,
            collecting_turn_id = coalesce(d.collecting_turn_id, excluded.collecting_turn_id),
            status = case when excluded.last_customer_seq > 0 and d.status in ('SNOOZED', 'RESOLVED')
                then 'PENDING' else d.status end,
            updated_at = greatest(d.updated_at, excluded.updated_at) + excluded.version * interval '1 microsecond'
        returning d.workspace_id, d.id, d.last_seq, d.collecting_turn_id, d.updated_at, d.xmax = 0 as created
    ),
    placed as materialized (
        select f.*, o.last_seq - f.size + f.rank as seq, o.created, o.collecting_turn_id,
               o.updated_at - (f.size - f.rank) * interval '1 microsecond' as moment
        from fresh f join opened o on o.workspace_id = f.workspace_id and o.id = f.dialogue_id
    ),
    written as (
        insert into messages (workspace_id, id, dialogue_id, seq, role, body, external_id, turn_id, created_at)
        select p.workspace_id, p.message_id, p.dialogue_id, p.seq, p.role, p.body, p.external_id,
               case when p.role = 'USER' then p.collecting_turn_id end, p.moment
        from placed p
    ),
    told as (
        insert into events (workspace_id, id, kind, dialogue_id, subject_id, occurred_at)
        select p.workspace_id, p.event_id, 'message.received', p.dialogue_id, p.message_id, p.moment
        from placed p
        union all
        select p.workspace_id, p.event_created_id, 'dialogue.created', p.dialogue_id, p.dialogue_id,
               p.moment - interval '1 microsecond'
        from placed p where p.created and p.rank = 1
    ),
    noted as (
        insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
        select p.workspace_id, p.event_id, event_group(p.workspace_id), p.moment from placed p
        union all
        select p.workspace_id, p.event_created_id, event_group(p.workspace_id), p.moment - interval '1 microsecond'
        from placed p where p.created and p.rank = 1
    ),
    kept as (
        insert into inbound_webhooks (
            workspace_id, id, channel_id, route, headers, body, outcome, message_id, dialogue_id, received_at)
        select p.workspace_id, p.webhook_id, p.channel_id, p.route, p.headers, p.raw, 'RECORDED', p.message_id,
               p.dialogue_id, p.at
        from placed p
    )
    select array_agg(p.ord), array_agg(p.ord) filter (where p.role = 'USER' and p.collecting_turn_id = p.turn_id)
    into v_fresh, v_opening
    from placed p;

    if v_opening is not null then
        with opening as materialized (
            select i.*
            from unnest(p_workspace, p_dialogue, p_agent, p_turn, p_job, p_at) with ordinality
                as i (workspace_id, dialogue_id, agent_id, turn_id, job_id, at, n)
            where i.n = any (v_opening)
        ),
        turned as (
            insert into turns (workspace_id, id, dialogue_id, agent_id, state, covered_through, current_run, created_at)
            select o.workspace_id, o.turn_id, o.dialogue_id, o.agent_id, 'COLLECTING', 0, 0, o.at from opening o
        ),
        queued as (
            insert into jobs (workspace_id, id, subject_id, lane, target_id, run_at)
            select o.workspace_id, o.job_id, o.dialogue_id, 'turn', o.turn_id, o.at from opening o
        )
        -- A dialogue opens one turn at most in a batch, so no key comes twice. Where a turn still runs or waits for its retry,
        -- its job is the head and decides when the key is due.
        insert into job_keys as k (workspace_id, subject_id, lane, next_run_at)
        select o.workspace_id, o.dialogue_id, 'turn', o.at
        from opening o
        order by o.workspace_id, o.dialogue_id
        on conflict (workspace_id, subject_id, lane) do update set
            next_run_at = case when k.next_run_at = 'infinity' then excluded.next_run_at else k.next_run_at end;
    end if;

    return query
    select f, 'RECORDED', p_message[f], p_dialogue[f] from unnest(v_fresh) f;

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
        )
        select k.ord, k.outcome, k.message_id, k.dialogue_id from known k;
    end if;
end
$$;
call hand_to_system('system_record(uuid[], uuid[], uuid[], uuid[], uuid[], text[], text[], bytea[], uuid[], text[], text[], text[], uuid[], uuid[], uuid[], uuid[], text[], jsonb[], bytea[], timestamptz[])');
