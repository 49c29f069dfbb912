-- Takes a batch of messages of one channel over, in the transaction of its workspace: all of it or nothing. Imports make no
-- turn, and no job. It crosses no workspace; it is a system function because under row-level security rows would not be
-- found by keys that are computed.
--
-- `p_chat`, `p_begun`, `p_status` and `p_link` belong together: the dialogues of the batch, each once; the other arrays are
-- its messages, those of one dialogue in their order, each key once. Keys are taken before dialogues are locked, as in
-- `system_record`, and they are never swept: an import may be repeated after years.
--
-- Answers how many messages were recorded, how many dialogues began, and which messages, by their number from 1, are known
-- with another content. What is known otherwise is passed over.
create function system_import_messages(
    p_workspace uuid, p_channel uuid, p_dialogue uuid[], p_chat text[], p_begun timestamptz[], p_status text[],
    p_link jsonb[], p_of uuid[], p_dedup_key text[], p_digest bytea[], p_message uuid[], p_external_id text[],
    p_role text[], p_body text[], p_created timestamptz[], p_metadata jsonb[], p_at timestamptz
)
returns table (imported integer, begun integer, conflicts integer[])
language plpgsql security definer
set search_path = public, pg_temp
-- A batch is worth a plan of its own, by the size that its arrays have.
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
    v_keyed uuid[];
    v_fresh integer[];
    v_begun uuid[];
    -- The dialogues that began or get messages: the last one's number, and the moment.
    v_moving uuid[];
    v_lasts bigint[];
    v_moments timestamptz[];
    v_linking integer[];
    v_plain integer[];
    v_conflicts integer[];
    v_one integer;
begin
    if p_workspace is distinct from current_workspace() then
        raise exception 'an import belongs to the workspace of its transaction';
    end if;
    with keyed as (
        insert into message_keys (workspace_id, channel_id, dedup_key, digest, message_id, dialogue_id, created_at)
        select p_workspace, p_channel, i.dedup_key, i.digest, i.message_id, i.dialogue_id, 'infinity'
        from unnest(p_dedup_key, p_digest, p_message, p_of) as i (dedup_key, digest, message_id, dialogue_id)
        order by i.dedup_key
        on conflict do nothing
        returning message_id
    )
    select array_agg(message_id) into v_keyed from keyed;
    select array_agg(i.n order by i.n) into v_fresh
    from unnest(p_message) with ordinality as i (message_id, n) where i.message_id = any (v_keyed);

    -- Creates, locks and numbers the dialogues in one go, by the unique index and no other way: a dialogue that gets no
    -- message is locked alone. All but the moment of an old one is its own.
    with sizes as (
        select p_of[f.n] as id, count(*) as size from unnest(v_fresh) as f (n) group by p_of[f.n]
    ),
    opened as (
        insert into dialogues as d (
            workspace_id, id, channel_id, chat, status, last_seq, last_customer_seq, version, control_since, created_at,
            updated_at)
        select p_workspace, i.id, p_channel, i.chat, coalesce(i.status, 'PENDING'), coalesce(s.size, 0), 0,
               sign(coalesce(s.size, 0)), i.begun, i.begun, p_at
        from unnest(p_dialogue, p_chat, p_begun, p_status) as i (id, chat, begun, status)
        left join sizes s using (id)
        order by i.id
        on conflict (workspace_id, id) do update set
            last_seq = d.last_seq + excluded.last_seq,
            version = d.version + 1,
            updated_at = greatest(p_at, d.updated_at + interval '1 microsecond')
        where excluded.last_seq > 0
        returning d.id, d.last_seq, d.updated_at, d.xmax = 0 as begun
    )
    select array_agg(o.id), array_agg(o.last_seq), array_agg(o.updated_at), array_agg(o.id) filter (where o.begun)
    into v_moving, v_lasts, v_moments, v_begun
    from opened o;

    with facts as materialized (
        select new_id(p_at) as id, 'dialogue.created' as kind, d.id as dialogue_id, '{}'::jsonb as data,
               p_at - interval '1 microsecond' as at
        from unnest(v_begun) as d (id)
        union all
        select new_id(p_at), 'dialogue.imported', m.id, jsonb_build_object('messages', s.size), m.at
        from unnest(v_moving, v_moments) as m (id, at)
        join (select p_of[f.n] as id, count(*) as size from unnest(v_fresh) as f (n) group by p_of[f.n]) s using (id)
    ),
    told as (
        insert into events (workspace_id, id, kind, dialogue_id, subject_id, data, occurred_at)
        select p_workspace, f.id, f.kind, f.dialogue_id, f.dialogue_id, f.data, f.at from facts f
    )
    insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
    select p_workspace, f.id, event_group(p_workspace), f.at from facts f;

    -- Arrays of texts are walked from their beginning for each subscript: hence unnest.
    insert into messages (
        workspace_id, id, dialogue_id, seq, role, body, external_id, created_at, metadata)
    select p_workspace, f.id, m.id, m.last_seq - f.size + f.rank, f.role, f.body, f.external_id, f.created_at, f.metadata
    from (
        select i.*, row_number() over (partition by i.dialogue_id order by i.n) as rank,
               count(*) over (partition by i.dialogue_id) as size
        from unnest(p_message, p_of, p_role, p_body, p_external_id, p_created, p_metadata) with ordinality
            as i (id, dialogue_id, role, body, external_id, created_at, metadata, n)
        where i.n = any (v_fresh)
    ) f
    join unnest(v_moving, v_lasts) as m (id, last_seq) on m.id = f.dialogue_id;

    select array_agg(i.n order by i.id) into v_linking
    from unnest(p_dialogue, p_link) with ordinality as i (id, link, n) where i.link is not null;
    if v_linking is not null then
        perform take_identities(
            array_fill(p_workspace, array[cardinality(p_link)]), p_link, v_linking,
            array_fill(p_at, array[cardinality(p_link)]));
        -- New dialogues with customers that nobody has heard of, which is most of them, are done together; their
        -- `dialogue.created` tells of it.
        select array_agg(i.n order by i.id) into v_plain
        from unnest(p_dialogue, p_link) with ordinality as i (id, link, n)
        where i.link is not null and i.id = any (v_begun) and not exists (
            select from identities_of(i.link -> 'contact') t
            cross join lateral (
                select k.contact_id from contact_identities k
                where k.workspace_id = p_workspace and k.vendor = t.vendor and k.integration_id = t.integration_id
                    and k.external_id = t.external_id
                -- One by one: no plan may read all of them instead.
                offset 0
            ) k
            where k.contact_id <> (i.link #>> '{contact,id}')::uuid);
        with plain as materialized (
            select f.n, p_link[f.n] -> 'contact' as contact, p_link[f.n] -> 'crm' as crm, new_id(p_at) as event_id
            from unnest(v_plain) as f (n)
        ),
        made as (
            insert into contacts (workspace_id, id, name, phone, email, created_at, updated_at)
            select p_workspace, (f.contact ->> 'id')::uuid, coalesce(f.contact ->> 'name', ''),
                   coalesce(f.contact ->> 'phone', ''), coalesce(f.contact ->> 'email', ''), p_at, p_at
            from plain f where f.contact is not null
        ),
        told as (
            insert into events (workspace_id, id, kind, subject_id, occurred_at)
            select p_workspace, f.event_id, 'contact.created', (f.contact ->> 'id')::uuid, p_at
            from plain f where f.contact is not null
        ),
        noted as (
            insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
            select p_workspace, f.event_id, event_group(p_workspace), p_at from plain f where f.contact is not null
        )
        -- They are all there; this is an update by the unique index.
        insert into dialogues (
            workspace_id, id, channel_id, chat, status, last_seq, last_customer_seq, version, control_since, created_at,
            updated_at, contact_id, crm_integration_id, crm_lead_id, crm_contact_id, crm_source_id)
        select p_workspace, p_dialogue[f.n], p_channel, p_chat[f.n], 'PENDING', 0, 0, 0, p_at, p_at, p_at,
               (f.contact ->> 'id')::uuid, (f.crm ->> 'integration_id')::uuid, f.crm ->> 'lead_id', f.crm ->> 'contact_id',
               f.crm ->> 'source_external_id'
        from plain f
        on conflict (workspace_id, id) do update set
            contact_id = excluded.contact_id, crm_integration_id = excluded.crm_integration_id,
            crm_lead_id = excluded.crm_lead_id, crm_contact_id = excluded.crm_contact_id,
            crm_source_id = excluded.crm_source_id;
        foreach v_one in array v_linking loop
            continue when v_one = any (v_plain);
            perform link_dialogue(p_workspace, p_dialogue[v_one], p_link[v_one], p_at);
        end loop;
    end if;

    if coalesce(cardinality(v_fresh), 0) < cardinality(p_message) then
        select array_agg(i.n) into v_conflicts
        from unnest(p_dedup_key, p_digest) with ordinality as i (dedup_key, digest, n)
        cross join lateral (
            select k.digest from message_keys k
            where k.workspace_id = p_workspace and k.channel_id = p_channel and k.dedup_key = i.dedup_key
            offset 0
        ) k
        where k.digest <> i.digest;
    end if;
    return query select coalesce(cardinality(v_fresh), 0), coalesce(cardinality(v_begun), 0), coalesce(v_conflicts, '{}');
end
$$;
call hand_to_system('system_import_messages(uuid, uuid, uuid[], text[], timestamptz[], text[], jsonb[], uuid[], text[], bytea[], uuid[], text[], text[], text[], timestamptz[], jsonb[], timestamptz)');
