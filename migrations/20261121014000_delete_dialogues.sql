-- Deleting dialogues. What indexes find goes at once, with the dialogue; the rest, and what engines keep, is left to jobs.
create table erasures (
    workspace_id uuid not null,
    id uuid not null,
    dialogue_id uuid not null,
    deletion_id uuid,
    kind text not null check (kind in ('ROWS', 'CONVERSATION')),
    channel_id uuid,
    since timestamptz,
    engine text,
    notes jsonb,
    failures integer not null default 0,
    left_behind boolean not null default false,
    run_at timestamptz not null,
    done_at timestamptz,
    created_at timestamptz not null,
    primary key (workspace_id, id)
);
comment on table erasures is 'What is to be deleted still. Done ones stay for 30 days without content: by them a repeated call is known.';
comment on column erasures.dialogue_id is 'The dialogue, which may be there again: its chat has the same id.';
comment on column erasures.deletion_id is 'The deletion of the dialogue that it belongs to; NULL: a conversation that nobody knows any more.';
comment on column erasures.kind is 'ROWS: what no index finds in our tables; CONVERSATION: what an engine keeps.';
comment on column erasures.channel_id is 'Of ROWS, the dialogue''s channel; else NULL.';
comment on column erasures.since is 'Of ROWS, when the dialogue began; else NULL.';
comment on column erasures.engine is 'Of a CONVERSATION, the engine as in engine_notes; else NULL.';
comment on column erasures.notes is 'Of a CONVERSATION, what the engine is told it by; NULL when it is done.';
comment on column erasures.failures is 'How often it failed so far.';
comment on column erasures.left_behind is 'Whether it was given up.';
comment on column erasures.run_at is 'When it is due; while somebody works on it, when others may.';
comment on column erasures.done_at is 'When it was done or given up; NULL: it is to be done.';
create index erasures_due_idx on erasures (run_at) where done_at is null;
create index erasures_dialogue_idx on erasures (workspace_id, dialogue_id);
call protect_table('erasures');

-- Turns of deleted dialogues still cost what they cost.
alter table rehearsals drop constraint rehearsals_kind_check;
alter table rehearsals add constraint rehearsals_kind_check check (kind in ('PREVIEW', 'REPLAY', 'TURN'));
comment on table rehearsals is 'What previews and replays of agents used and cost, and turns whose dialogue was deleted.';

-- Deletes a dialogue. Answers whether there was one. What is worked on in it loses its claim: the keys stay, with a higher
-- fence, so that an older claim never fits a dialogue that begins anew under the same id.
create function delete_dialogue(p_workspace uuid, p_dialogue uuid, p_deletion uuid, p_at timestamptz)
returns boolean
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_was dialogues;
    v_at timestamptz;
    v_messages bigint;
    v_turns bigint;
    v_deliveries bigint;
begin
    select * into v_was from dialogues where workspace_id = p_workspace and id = p_dialogue for update;
    if not found then
        return false;
    end if;
    v_at := greatest(p_at, v_was.updated_at + interval '1 microsecond');

    insert into erasures (workspace_id, id, dialogue_id, deletion_id, kind, channel_id, since, run_at, created_at)
    values (p_workspace, p_deletion, p_dialogue, p_deletion, 'ROWS', v_was.channel_id, v_was.created_at, p_at, p_at);
    insert into erasures (workspace_id, id, dialogue_id, deletion_id, kind, engine, notes, run_at, created_at)
    select n.workspace_id, new_id(p_at), p_dialogue, p_deletion, 'CONVERSATION', n.engine, n.notes, p_at, p_at
    from engine_notes n where n.workspace_id = p_workspace and n.dialogue_id = p_dialogue;
    delete from engine_notes n where n.workspace_id = p_workspace and n.dialogue_id = p_dialogue;

    insert into rehearsals (workspace_id, id, agent_id, kind, calls, unknown_calls, input_tokens, cached_input_tokens,
        output_tokens, cost_micros, currency, created_at)
    select t.workspace_id, t.id, t.agent_id, 'TURN', (s.spent ->> 'calls')::bigint, (s.spent ->> 'unknown_calls')::bigint,
        (s.spent ->> 'input_tokens')::bigint, (s.spent ->> 'cached_input_tokens')::bigint,
        (s.spent ->> 'output_tokens')::bigint, (s.spent ->> 'cost_micros')::bigint, s.spent ->> 'currency', t.created_at
    from turns t, lateral (select turn_spent(t.workspace_id, t.id, null, null) as spent offset 0) s
    where t.workspace_id = p_workspace and t.dialogue_id = p_dialogue and (s.spent ->> 'calls')::bigint > 0;

    delete from run_steps s using turns t
    where t.workspace_id = p_workspace and t.dialogue_id = p_dialogue and s.workspace_id = t.workspace_id and s.turn_id = t.id;
    delete from runs r using turns t
    where t.workspace_id = p_workspace and t.dialogue_id = p_dialogue and r.workspace_id = t.workspace_id and r.turn_id = t.id;
    delete from turns t where t.workspace_id = p_workspace and t.dialogue_id = p_dialogue;
    get diagnostics v_turns = row_count;
    delete from attempts a using deliveries d
    where d.workspace_id = p_workspace and d.dialogue_id = p_dialogue and a.workspace_id = d.workspace_id
        and a.delivery_id = d.id;
    delete from deliveries d where d.workspace_id = p_workspace and d.dialogue_id = p_dialogue;
    get diagnostics v_deliveries = row_count;
    delete from messages m where m.workspace_id = p_workspace and m.dialogue_id = p_dialogue;
    get diagnostics v_messages = row_count;
    delete from dialogues d where d.workspace_id = p_workspace and d.id = p_dialogue;

    if v_was.contact_id is not null then
        -- Whoever links another dialogue to it has a share of this lock.
        perform 1 from contacts c where c.workspace_id = p_workspace and c.id = v_was.contact_id for update;
        if not exists (select from dialogues d where d.workspace_id = p_workspace and d.contact_id = v_was.contact_id) then
            delete from contact_identities k where k.workspace_id = p_workspace and k.contact_id = v_was.contact_id;
            delete from contacts c where c.workspace_id = p_workspace and c.id = v_was.contact_id;
            perform tell_event(p_workspace, 'contact.deleted', null, v_was.contact_id, '{}', v_at);
        end if;
    end if;
    perform tell_event(p_workspace, 'dialogue.deleted', p_dialogue, p_dialogue,
        jsonb_build_object('messages', v_messages, 'turns', v_turns, 'deliveries', v_deliveries), v_at);

    delete from jobs j where j.workspace_id = p_workspace and j.subject_id = p_dialogue and j.lane in ('turn', 'out', 'timer');
    update job_keys k set fence = k.fence + 1, locked_by = null, next_run_at = 'infinity'
    where k.workspace_id = p_workspace and k.subject_id = p_dialogue and k.lane in ('turn', 'out', 'timer');
    return true;
end
$$;

-- Deletes what no index finds of a deleted dialogue: the raw calls and de-duplication keys of messages that are not there any
-- more, what endpoints answered, and what events say beside that they happened and what it cost. One that began anew under the
-- same id keeps its own.
create function erase_rows(p_workspace uuid, p_erasure uuid)
returns void
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_is erasures;
    v_from uuid;
    v_until uuid;
begin
    select * into v_is from erasures e where e.workspace_id = p_workspace and e.id = p_erasure;
    v_from := uuid_of_moment(v_is.since - interval '1 day');
    v_until := uuid_of_moment(v_is.created_at + interval '1 millisecond');
    delete from message_keys k
    where k.workspace_id = p_workspace and k.channel_id = v_is.channel_id and k.dialogue_id = v_is.dialogue_id
        and not exists (select from messages m where m.workspace_id = k.workspace_id and m.id = k.message_id);
    delete from inbound_webhooks w
    where w.workspace_id = p_workspace and w.dialogue_id = v_is.dialogue_id and w.id >= v_from
        and not exists (select from messages m where m.workspace_id = w.workspace_id and m.id = w.message_id);
    update dispatch_attempts a set response_excerpt = null
    from dispatches d
    where d.workspace_id = p_workspace and d.dialogue_id = v_is.dialogue_id and d.id >= v_from and d.id < v_until
        and a.workspace_id = d.workspace_id and a.dispatch_id = d.id and a.response_excerpt is not null;
    update events e
    set data = jsonb_strip_nulls(jsonb_build_object('usage', e.data -> 'usage', 'messages', e.data -> 'messages'))
    where e.workspace_id = p_workspace and e.dialogue_id = v_is.dialogue_id and e.id >= v_from and e.id < v_until
        and e.kind not in ('dialogue.deleted', 'dialogue.forgotten') and e.data <> '{}';
end
$$;

-- Ends an erasure. The last of a deletion leaves an event.
create function end_erasure(p_workspace uuid, p_erasure uuid, p_left_behind boolean, p_at timestamptz)
returns void
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_deletion uuid;
    v_dialogue uuid;
begin
    select e.deletion_id, e.dialogue_id into v_deletion, v_dialogue
    from erasures e where e.workspace_id = p_workspace and e.id = p_erasure;
    -- All of the deletion, in one order: the last one must see the others' end.
    perform 1 from erasures e
    where e.workspace_id = p_workspace and e.dialogue_id = v_dialogue and e.deletion_id = v_deletion order by e.id for update;
    update erasures e set done_at = p_at, left_behind = p_left_behind, notes = null
    where e.workspace_id = p_workspace and e.id = p_erasure and e.done_at is null;
    if found and v_deletion is not null and not exists (
        select from erasures e where e.workspace_id = p_workspace and e.dialogue_id = v_dialogue
            and e.deletion_id = v_deletion and e.done_at is null)
    then
        perform tell_event(p_workspace, 'dialogue.forgotten', v_dialogue, v_dialogue, jsonb_build_object('left_behind', coalesce((
            select jsonb_agg(e.engine order by e.engine) from erasures e
            where e.workspace_id = p_workspace and e.dialogue_id = v_dialogue and e.deletion_id = v_deletion
                and e.left_behind), '[]')), p_at);
    end if;
end
$$;

-- Takes erasures that are due, until `p_until`; and forgets those that were done long ago.
create function system_due_erasures(p_at timestamptz, p_until timestamptz, p_limit integer)
returns table (workspace_id uuid, id uuid)
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    update erasures e set run_at = p_until
    from (
        select d.workspace_id, d.id from erasures d
        where d.run_at <= p_at and d.done_at is null
        order by d.run_at limit p_limit
        for update skip locked
    ) due
    where e.workspace_id = due.workspace_id and e.id = due.id
    returning e.workspace_id, e.id;
end
$$;
call hand_to_system('system_due_erasures(timestamptz, timestamptz, integer)');

create function system_sweep_erasures(p_at timestamptz)
returns void
language sql security definer
set search_path = public, pg_temp
begin atomic
    delete from erasures e where e.done_at < p_at - interval '30 days';
end;
call hand_to_system('system_sweep_erasures(timestamptz)');
