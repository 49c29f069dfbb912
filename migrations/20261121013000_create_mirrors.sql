-- Mirrors: what is said on one channel is shown in chats of another. What is to be shown is found out by comparing a dialogue
-- with its chat, so that whatever is done again changes nothing; the log says when to look.
alter table channels add column mirror_channel_id uuid;
alter table channels add column mirror_source text not null default '';
comment on column channels.mirror_channel_id is 'The channel whose chats show this one''s dialogues; NULL: nowhere.';
comment on column channels.mirror_source is 'The source that those chats are of where the dialogue names none; empty: none.';
create index channels_mirror_idx on channels (workspace_id, mirror_channel_id)
    where mirror_channel_id is not null and deleted_at is null;

create table mirror_places (
    workspace_id uuid primary key,
    epoch integer not null,
    position bigint not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
comment on table mirror_places is 'How far each workspace''s log was read for its mirrors.';
comment on column mirror_places.epoch is 'Which life of the log the position belongs to.';
comment on column mirror_places.position is 'The last position that was read.';
call protect_table('mirror_places');

create table mirrored_chats (
    workspace_id uuid not null,
    channel_id uuid not null,
    dialogue_id uuid not null,
    customer text not null,
    vendor_chat_id text not null,
    theirs boolean not null,
    through_seq bigint not null,
    last_error text,
    created_at timestamptz not null,
    primary key (workspace_id, channel_id, dialogue_id)
) with (fillfactor = 80);
comment on table mirrored_chats is 'The chats that show dialogues.';
comment on column mirrored_chats.channel_id is 'The channel that the chat is of.';
comment on column mirrored_chats.dialogue_id is 'The dialogue, which is of another channel. The vendor is told this id as the chat''s.';
comment on column mirrored_chats.customer is 'What the vendor is told as the customer''s id.';
comment on column mirrored_chats.vendor_chat_id is 'What the vendor calls the chat; empty: it is not opened yet.';
comment on column mirrored_chats.theirs is 'Whether people at the vendor began it.';
comment on column mirrored_chats.through_seq is 'The number of the last message that was looked at.';
comment on column mirrored_chats.last_error is 'Why it can''t be shown at present; NULL: it can.';
-- How the vendor's word about a chat finds it.
create index mirrored_chats_vendor_idx on mirrored_chats (workspace_id, vendor_chat_id) where vendor_chat_id <> '';
call protect_table('mirrored_chats');

create table mirrored_messages (
    workspace_id uuid not null,
    channel_id uuid not null,
    message_id uuid not null,
    dialogue_id uuid not null,
    state text not null check (state in ('STARTED', 'SHOWN', 'DEAD', 'THEIRS')),
    attempts integer not null,
    vendor_message_id text not null,
    error text,
    told text not null check (told in ('SENT', 'FAILED', 'DELIVERED', 'READ')),
    updated_at timestamptz not null,
    primary key (workspace_id, channel_id, message_id)
) with (fillfactor = 80);
comment on table mirrored_messages is 'Messages in the chats that show dialogues.';
comment on column mirrored_messages.state is 'STARTED: a try is under way, or nobody knows what came of one; it is made again under the same id. THEIRS: it was written there.';
comment on column mirrored_messages.attempts is 'How many tries were begun. A row is committed before its call is made.';
comment on column mirrored_messages.vendor_message_id is 'What the vendor calls it; empty: it did not say yet.';
comment on column mirrored_messages.error is 'Why it could not be shown; NULL: it was, or may be yet.';
comment on column mirrored_messages.told is 'What the vendor was told last of the way of the message to the customer.';
create index mirrored_messages_dialogue_idx on mirrored_messages (workspace_id, channel_id, dialogue_id);
-- How what we wrote ourselves is known when it comes back.
create index mirrored_messages_vendor_idx on mirrored_messages (workspace_id, vendor_message_id)
    where vendor_message_id <> '';
call protect_table('mirrored_messages');

-- Another lane of dialogues: one at a time, a dialogue is compared with its chat.
alter table job_keys drop constraint job_keys_lane_check;
alter table job_keys add constraint job_keys_lane_check check (lane in ('turn', 'out', 'timer', 'hook', 'mirror'));

-- Which workspaces have a channel that is mirrored: whose logs are to be read.
create function system_mirror_workspaces()
returns setof uuid
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    select distinct workspace_id from channels where mirror_channel_id is not null and deleted_at is null;
end;
call hand_to_system('system_mirror_workspaces()');

-- Reads the logs of these workspaces on, at most `p_limit` events each, and has the dialogues looked at that something was
-- said in. Jobs and the new place are one transaction, and the place is locked before it is read. A job that a worker holds
-- is not changed: what it may have missed has a job of its own behind it.
create function system_feed_mirrors(p_workspaces uuid[], p_limit integer, p_at timestamptz)
returns table (woken integer, more boolean)
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
        select p.workspace_id, l.epoch, case when p.epoch = l.epoch then p.position else 0 end as position
        from mirror_places p
        join event_logs l on l.workspace_id = p.workspace_id and (l.epoch <> p.epoch or l.last_position > p.position)
        where p.workspace_id = any (p_workspaces)
        order by p.workspace_id
        limit 256
        for update of p skip locked
    ),
    looked as materialized (
        select b.workspace_id, b.epoch, r.position, r.event_id,
               row_number() over (partition by b.workspace_id order by r.position) as n
        from behind b
        cross join lateral (
            select s.position, s.event_id from event_positions s
            where s.workspace_id = b.workspace_id and s.position > b.position
            order by s.position
            limit p_limit
        ) r
    ),
    moved as (
        update mirror_places p set epoch = m.epoch, position = m.position
        from (select k.workspace_id, k.epoch, max(k.position) as position from looked k group by 1, 2) m
        where p.workspace_id = m.workspace_id
    ),
    chosen as materialized (
        select k.workspace_id, d.id as dialogue_id, max(hook_place(k.epoch, k.position)) as place
        from looked k
        join events v on v.workspace_id = k.workspace_id and v.id = k.event_id
        join dialogues d on d.workspace_id = v.workspace_id and d.id = v.dialogue_id
        join channels c on c.workspace_id = d.workspace_id and c.id = d.channel_id
        where c.mirror_channel_id is not null and c.deleted_at is null
            and (v.kind like 'message.%' or v.kind like 'delivery.%')
        group by k.workspace_id, d.id
    ),
    queued as (
        insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at)
        select c.workspace_id, new_id(p_at), c.dialogue_id, 'mirror', c.dialogue_id, c.place, p_at from chosen c
    ),
    keyed as (
        insert into job_keys as k (workspace_id, subject_id, lane, next_run_at)
        select c.workspace_id, c.dialogue_id, 'mirror', p_at from chosen c
        order by c.workspace_id, c.dialogue_id
        on conflict (workspace_id, subject_id, lane) do update set
            next_run_at = case when k.next_run_at = 'infinity' then excluded.next_run_at else k.next_run_at end
    )
    select (select count(*) from chosen)::integer,
           coalesce((select bool_or(k.n = p_limit) from looked k), false) or (select count(*) from behind) = 256;
end
$$;
call hand_to_system('system_feed_mirrors(uuid[], integer, timestamptz)');

-- Ends a claimed look at a dialogue; `p_run_at`: it failed and is done again then. Answers whether the claim still held.
create function system_settle_mirror(
    p_worker uuid, p_workspace uuid, p_dialogue uuid, p_fence bigint, p_job uuid, p_run_at timestamptz
)
returns boolean
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    perform 1 from job_keys
    where workspace_id = p_workspace and subject_id = p_dialogue and lane = 'mirror' and fence = p_fence
        and locked_by = p_worker
    for update;
    if not found then
        return false;
    end if;
    if p_run_at is null then
        delete from jobs where workspace_id = p_workspace and id = p_job;
    else
        update jobs set run_at = p_run_at, failures = failures + 1 where workspace_id = p_workspace and id = p_job;
    end if;
    perform release_keys(array[p_workspace], array[p_dialogue], 'mirror');
    return true;
end
$$;
call hand_to_system('system_settle_mirror(uuid, uuid, uuid, bigint, uuid, timestamptz)');

-- Takes what a person wrote in a chat that shows a dialogue: it becomes a message of the dialogue, goes out over the dialogue's
-- own channel, and takes control from the agent if `p_takes`. Once: the key is the vendor's id of the message, in the channel
-- of the chat. `p_begins`: people began the chat, and the dialogue may be new. Runs as its caller, in one workspace.
create function relay_message(
    p_workspace uuid, p_mirror uuid, p_channel uuid, p_dialogue uuid, p_chat text, p_begins boolean, p_vendor_chat text,
    p_dedup_key text, p_digest bytea, p_message uuid, p_external_id text, p_body text, p_parts jsonb, p_metadata jsonb,
    p_sent_at timestamptz, p_delivery uuid, p_by text, p_takes boolean, p_returns_at timestamptz, p_at timestamptz
)
returns table (outcome text, message_id uuid, dialogue_id uuid)
language plpgsql
set search_path = public, pg_temp
as $$
#variable_conflict use_column
begin
    -- Keys before dialogues, as in system_record.
    insert into message_keys (workspace_id, channel_id, dedup_key, digest, message_id, dialogue_id, created_at)
    values (p_workspace, p_mirror, p_dedup_key, p_digest, p_message, p_dialogue, p_at)
    on conflict do nothing;
    if not found then
        return query
        select case when k.digest = p_digest then 'DUPLICATE' else 'CONFLICT' end, k.message_id, k.dialogue_id
        from message_keys k
        where k.workspace_id = p_workspace and k.channel_id = p_mirror and k.dedup_key = p_dedup_key;
        return;
    end if;
    if p_begins then
        insert into dialogues (
            workspace_id, id, channel_id, chat, status, last_seq, last_customer_seq, version, control_since, created_at,
            updated_at)
        values (p_workspace, p_dialogue, p_channel, p_chat, 'PENDING', 0, 0, 0, p_at, p_at, p_at)
        on conflict do nothing;
        if found then
            perform tell_event(p_workspace, 'dialogue.created', p_dialogue, p_dialogue, '{}', p_at);
        end if;
    end if;
    perform add_message(
        p_workspace, p_dialogue, p_message, 'EMPLOYEE', p_body, p_external_id, p_delivery, 'OPERATOR', p_at);
    update messages set parts = p_parts, metadata = p_metadata, sent_at = p_sent_at
    where workspace_id = p_workspace and id = p_message;
    insert into mirrored_messages (
        workspace_id, channel_id, message_id, dialogue_id, state, attempts, vendor_message_id, told, updated_at)
    values (p_workspace, p_mirror, p_message, p_dialogue, 'THEIRS', 0, p_external_id, 'SENT', p_at);
    if p_begins then
        insert into mirrored_chats (
            workspace_id, channel_id, dialogue_id, customer, vendor_chat_id, theirs, through_seq, created_at)
        values (p_workspace, p_mirror, p_dialogue, p_dialogue::text, p_vendor_chat, true, 0, p_at)
        on conflict do nothing;
    end if;
    perform person_spoke(p_workspace, p_dialogue, p_takes, 'employee_message', p_by, p_returns_at, p_at);
    return query select 'RECORDED', p_message, p_dialogue;
end
$$;
