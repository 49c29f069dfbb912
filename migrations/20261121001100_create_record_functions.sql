-- Records gathered inbound messages, of any workspaces, in one statement and so in one transaction: raw request,
-- de-duplication key, dialogue, message, turn, event and job. Either all of the batch is there or nothing.
--
-- The caller has sorted repeats inside the batch out: (workspace, channel, dedup key) is unique in it. Dialogues are locked
-- in the order of workspace and id, keys of the queue last.
--
-- Answers one row per message, by its number in the batch from 1. A message whose key another transaction is just
-- committing gets no outcome and leaves no trace: the caller offers it again and then sees it.
create function system_record(
    p_webhook uuid[], p_workspace uuid[], p_channel uuid[], p_agent uuid[], p_dialogue uuid[], p_chat text[],
    p_dedup_key text[], p_digest bytea[], p_message uuid[], p_external_id text[], p_role text[], p_body text[],
    p_turn uuid[], p_job uuid[], p_event uuid[], p_event_created uuid[], p_route text[], p_headers jsonb[],
    p_raw bytea[], p_at timestamptz[]
)
returns table (ord integer, outcome text, message_id uuid, dialogue_id uuid, turn_opened boolean)
language plpgsql security definer
set search_path = public, pg_temp
set lock_timeout = '50ms'
-- Planning these statements anew would cost more than running them.
set plan_cache_mode = force_generic_plan
set jit = off
as $$
#variable_conflict use_column
begin
    return query
    with input as materialized (
        select i.*, i.n::integer as ord
        from unnest(
            p_webhook, p_workspace, p_channel, p_agent, p_dialogue, p_chat, p_dedup_key, p_digest, p_message,
            p_external_id, p_role, p_body, p_turn, p_job, p_event, p_event_created, p_route, p_headers, p_raw, p_at
        ) with ordinality as i (
            webhook_id, workspace_id, channel_id, agent_id, dialogue_id, chat, dedup_key, digest, message_id,
            external_id, role, body, turn_id, job_id, event_id, event_created_id, route, headers, raw, at, n)
    ),
    keyed as (
        insert into message_keys (workspace_id, channel_id, dedup_key, digest, message_id, dialogue_id, created_at)
        select i.workspace_id, i.channel_id, i.dedup_key, i.digest, i.message_id, i.dialogue_id, i.at
        from input i order by i.workspace_id, i.channel_id, i.dedup_key
        on conflict do nothing
        returning workspace_id, message_id
    ),
    fresh as materialized (
        select i.*,
               row_number() over dialogue as rank,
               count(*) over (partition by i.workspace_id, i.dialogue_id) as size
        from input i
        where (i.workspace_id, i.message_id) in (select k.workspace_id, k.message_id from keyed k)
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
               (array_agg(f.turn_id order by f.ord) filter (where f.role = 'USER'))[1],
               min(f.at), max(f.at)
        from fresh f
        group by f.workspace_id, f.dialogue_id
        order by f.workspace_id, f.dialogue_id
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
               o.updated_at - (f.size - f.rank) * interval '1 microsecond' as moment,
               f.role = 'USER' and o.collecting_turn_id = f.turn_id as opens_turn
        from fresh f join opened o on o.workspace_id = f.workspace_id and o.id = f.dialogue_id
    ),
    written as (
        insert into messages (workspace_id, id, dialogue_id, seq, role, body, external_id, turn_id, created_at)
        select p.workspace_id, p.message_id, p.dialogue_id, p.seq, p.role, p.body, p.external_id,
               case when p.role = 'USER' then p.collecting_turn_id end, p.moment
        from placed p
    ),
    facts as (
        select p.workspace_id, p.event_id as id, 'message.received' as kind, p.dialogue_id, p.message_id as subject_id,
               p.moment
        from placed p
        union all
        select p.workspace_id, p.event_created_id, 'dialogue.created', p.dialogue_id, p.dialogue_id,
               p.moment - interval '1 microsecond'
        from placed p where p.created and p.rank = 1
    ),
    told as (
        insert into events (workspace_id, id, kind, dialogue_id, subject_id, occurred_at)
        select f.workspace_id, f.id, f.kind, f.dialogue_id, f.subject_id, f.moment from facts f
    ),
    noted as (
        insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
        select f.workspace_id, f.id, event_group(f.workspace_id), f.moment from facts f
    ),
    turned as (
        insert into turns (workspace_id, id, dialogue_id, agent_id, state, covered_through, current_run, created_at)
        select p.workspace_id, p.turn_id, p.dialogue_id, p.agent_id, 'COLLECTING', 0, 0, p.moment
        from placed p where p.opens_turn
    ),
    queued as (
        insert into jobs (workspace_id, id, subject_id, lane, target_id, run_at)
        select p.workspace_id, p.job_id, p.dialogue_id, 'turn', p.turn_id, p.at
        from placed p where p.opens_turn
    ),
    -- A dialogue may open only one turn per batch, so no key comes twice. Where a turn still runs or waits for its retry,
    -- its job is the head and decides when the key is due.
    woken as (
        insert into job_keys as k (workspace_id, subject_id, lane, next_run_at)
        select p.workspace_id, p.dialogue_id, 'turn', p.at
        from placed p where p.opens_turn
        order by p.workspace_id, p.dialogue_id
        on conflict (workspace_id, subject_id, lane) do update set
            next_run_at = case when k.next_run_at = 'infinity' then excluded.next_run_at else k.next_run_at end
    ),
    judged as materialized (
        select i.ord, i.workspace_id, i.webhook_id, i.channel_id, i.route, i.headers, i.raw, i.at,
               coalesce(p.message_id, k.message_id) as message_id,
               coalesce(p.dialogue_id, k.dialogue_id) as dialogue_id,
               coalesce(p.opens_turn, false) as turn_opened,
               case when p.message_id is not null then 'RECORDED'
                    when k.digest = i.digest then 'DUPLICATE'
                    when k.digest is not null then 'CONFLICT' end as outcome
        from input i
        left join placed p on p.ord = i.ord
        left join message_keys k
            on k.workspace_id = i.workspace_id and k.channel_id = i.channel_id and k.dedup_key = i.dedup_key
    ),
    clashed as (
        insert into events (workspace_id, id, kind, dialogue_id, subject_id, occurred_at)
        select j.workspace_id, i.event_id, 'message.conflict', j.dialogue_id, j.message_id, j.at
        from judged j join input i on i.ord = j.ord
        where j.outcome = 'CONFLICT'
        returning workspace_id, id, occurred_at
    ),
    clashes_noted as (
        insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
        select c.workspace_id, c.id, event_group(c.workspace_id), c.occurred_at from clashed c
    ),
    kept as (
        insert into inbound_webhooks (
            workspace_id, id, channel_id, route, headers, body, outcome, message_id, dialogue_id, received_at)
        select j.workspace_id, j.webhook_id, j.channel_id, j.route, j.headers, j.raw, j.outcome, j.message_id,
               j.dialogue_id, j.at
        from judged j where j.outcome is not null
        -- A batch that is offered again, because its connection was lost while it committed, has its calls kept already.
        on conflict (workspace_id, id) do nothing
    )
    select j.ord, j.outcome, j.message_id, j.dialogue_id, j.turn_opened from judged j order by j.ord;

    perform pg_notify('switchboard_work', '');
end
$$;
call hand_to_system('system_record(uuid[], uuid[], uuid[], uuid[], uuid[], text[], text[], bytea[], uuid[], text[], text[], text[], uuid[], uuid[], uuid[], uuid[], text[], jsonb[], bytea[], timestamptz[])');
