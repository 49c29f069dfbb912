-- What both the application and the gathered functions do to a dialogue, one at a time. They run as their caller.

-- A UUIDv7 of a moment, for rows that no caller could prepare an id for.
create function new_id(p_at timestamptz) returns uuid
language sql volatile parallel safe
return encode(
    substring(uuid_send(uuid_of_moment(p_at)) for 6)
    || set_byte(substring(uuid_send(gen_random_uuid()) from 7 for 2), 0,
        (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112)
    || substring(uuid_send(gen_random_uuid()) from 9), 'hex')::uuid;

-- Writes one event with the note that asks for its place. The caller has locked the dialogue.
create function tell_event(
    p_workspace uuid, p_kind text, p_dialogue uuid, p_subject uuid, p_data jsonb, p_at timestamptz
)
returns void
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_event uuid := new_id(p_at);
begin
    insert into events (workspace_id, id, kind, dialogue_id, subject_id, data, occurred_at)
    values (p_workspace, v_event, p_kind, p_dialogue, p_subject, p_data, p_at);
    insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
    values (p_workspace, v_event, event_group(p_workspace), p_at);
end
$$;

-- Whether the agent may speak in a dialogue: while it holds it, and to end what it says where it set the dialogue aside
-- itself. Once people hold it, never.
create function agent_may_speak(p_status text, p_reason text, p_by text) returns boolean
language sql immutable parallel safe
return p_status = 'PENDING' or p_status <> 'OPEN' and p_by = 'agent' and p_reason = 'set_status';

-- Adds a message of ours to a dialogue, and its delivery where one is asked for. Locks the dialogue. Answers nothing where
-- there is no such dialogue.
create function add_message(
    p_workspace uuid, p_dialogue uuid, p_message uuid, p_role text, p_body text, p_external_id text,
    p_delivery uuid, p_author text, p_at timestamptz
)
returns boolean
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_seq bigint;
    v_at timestamptz;
    v_channel uuid;
    v_version bigint;
begin
    update dialogues set last_seq = last_seq + 1, version = version + 1,
        updated_at = greatest(p_at, updated_at + interval '1 microsecond')
    where workspace_id = p_workspace and id = p_dialogue
    returning last_seq, updated_at, channel_id, version into v_seq, v_at, v_channel, v_version;
    if not found then
        return false;
    end if;
    insert into messages (workspace_id, id, dialogue_id, seq, role, body, external_id, created_at)
    values (p_workspace, p_message, p_dialogue, v_seq, p_role, p_body, p_external_id, v_at);
    if p_delivery is null then
        return true;
    end if;
    perform tell_event(p_workspace, 'message.sent', p_dialogue, p_message,
        jsonb_build_object('delivery_id', p_delivery, 'author', p_author), v_at);
    insert into deliveries (workspace_id, id, dialogue_id, message_id, channel_id, author, state, attempts, next_attempt_at,
        created_at)
    values (p_workspace, p_delivery, p_dialogue, p_message, v_channel, p_author, 'PENDING', 0, p_at, p_at);
    insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at)
    values (p_workspace, new_id(p_at), p_dialogue, 'out', p_delivery, v_version, p_at);
    insert into job_keys as k (workspace_id, subject_id, lane, next_run_at) values (p_workspace, p_dialogue, 'out', p_at)
    on conflict (workspace_id, subject_id, lane) do update set
        next_run_at = case when k.next_run_at = 'infinity' then excluded.next_run_at else k.next_run_at end;
    return true;
end
$$;

-- Gives a dialogue to another holder: OPEN a human, PENDING the agent, SNOOZED and RESOLVED nobody. Each change is an event,
-- and a message of the role SYSTEM, which the agent finds in its history. `p_returns_at`: when a human's control goes back
-- to the agent by itself, or when what was set aside does; a human who holds the dialogue already moves that moment. Answers whether the holder changed.
create function change_control(
    p_workspace uuid, p_dialogue uuid, p_status text, p_reason text, p_by text, p_returns_at timestamptz,
    p_at timestamptz
)
returns boolean
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_was text;
    v_at timestamptz;
    v_marker uuid;
    v_returns_at timestamptz := case when p_status in ('OPEN', 'SNOOZED') then p_returns_at end;
begin
    select status into v_was from dialogues where workspace_id = p_workspace and id = p_dialogue for update;
    if not found or v_was = p_status and p_returns_at is null then
        return false;
    end if;
    update dialogues set control_returns_at = v_returns_at, control_span = v_returns_at - p_at
    where workspace_id = p_workspace and id = p_dialogue and control_returns_at is distinct from v_returns_at;
    if v_returns_at is not null then
        update jobs set run_at = v_returns_at
        where workspace_id = p_workspace and subject_id = p_dialogue and lane = 'timer';
        if not found then
            -- The lane never holds another.
            insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at)
            values (p_workspace, new_id(p_at), p_dialogue, 'timer', p_dialogue, 0, v_returns_at);
        end if;
        insert into job_keys (workspace_id, subject_id, lane, next_run_at)
        values (p_workspace, p_dialogue, 'timer', v_returns_at)
        on conflict (workspace_id, subject_id, lane) do update set next_run_at = excluded.next_run_at;
    end if;
    if v_was = p_status then
        return false;
    end if;
    -- What waited for the person who held it is the agent's now. A turn that waits for the agent's hours is looked at, and
    -- waits on.
    if p_status = 'PENDING' then
        update jobs j set run_at = p_at
        from turns t
        where j.workspace_id = p_workspace and j.subject_id = p_dialogue and j.lane = 'turn' and j.run_at > p_at
            and t.workspace_id = j.workspace_id and t.id = j.target_id and t.state = 'COLLECTING' and t.waited_until > p_at;
        if found then
            update job_keys k set next_run_at = (
                select j.run_at from jobs j
                where j.workspace_id = k.workspace_id and j.subject_id = k.subject_id and j.lane = k.lane
                order by j.place, j.id limit 1)
            where k.workspace_id = p_workspace and k.subject_id = p_dialogue and k.lane = 'turn' and k.locked_by is null;
        end if;
    end if;

    v_marker := new_id(p_at);
    perform add_message(p_workspace, p_dialogue, v_marker, 'SYSTEM',
        case p_status
            when 'OPEN' then 'A person has taken this dialogue over.'
            when 'PENDING' then 'The agent answers in this dialogue again.'
            when 'SNOOZED' then 'This dialogue was set aside.'
            else 'This dialogue was resolved.'
        end, v_marker::text, null, null, p_at);
    update dialogues set status = p_status, control_since = updated_at, control_reason = p_reason, control_by = p_by
    where workspace_id = p_workspace and id = p_dialogue
    returning updated_at into v_at;
    perform tell_event(p_workspace, 'dialogue.control_changed', p_dialogue, v_marker,
        jsonb_build_object('from', v_was, 'to', p_status, 'reason', p_reason, 'by', p_by), v_at);
    return true;
end
$$;

-- A person has said something. `p_takes`: that takes the dialogue from the agent, until `p_returns_at` if that is not NULL.
-- A human who holds the dialogue already is still there, whoever may take it: the span that was agreed when it was taken
-- begins anew, so that control never goes back in the midst of a conversation. Answers whether the holder changed.
create function person_spoke(
    p_workspace uuid, p_dialogue uuid, p_takes boolean, p_reason text, p_by text, p_returns_at timestamptz, p_at timestamptz
)
returns boolean
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_status text;
    v_until timestamptz;
begin
    select status,
           case when status = 'OPEN' then greatest(control_returns_at, p_at + control_span) end
    into v_status, v_until
    from dialogues where workspace_id = p_workspace and id = p_dialogue for update;
    if p_takes then
        -- Later than what was agreed, never sooner.
        v_until := greatest(v_until, p_returns_at);
    elsif v_status is distinct from 'OPEN' then
        return false;
    end if;
    return change_control(p_workspace, p_dialogue, 'OPEN', p_reason, p_by, v_until, p_at);
end
$$;

-- Ends a claimed timer: control returns to the agent if it is due, else the timer waits on.
create function system_return_control(
    p_worker uuid, p_workspace uuid, p_dialogue uuid, p_fence bigint, p_job uuid, p_at timestamptz
)
returns void
language plpgsql security definer
set search_path = public, pg_temp
set lock_timeout = '1s'
as $$
declare
    v_status text;
    v_returns_at timestamptz;
begin
    select status, control_returns_at into v_status, v_returns_at
    from dialogues where workspace_id = p_workspace and id = p_dialogue for update;
    perform 1 from job_keys
    where workspace_id = p_workspace and subject_id = p_dialogue and lane = 'timer' and fence = p_fence
        and locked_by = p_worker
    for update;
    if not found then
        return;
    end if;
    if v_status in ('OPEN', 'SNOOZED') and v_returns_at > p_at then
        update jobs set run_at = v_returns_at where workspace_id = p_workspace and id = p_job;
    else
        delete from jobs where workspace_id = p_workspace and id = p_job;
        if v_status in ('OPEN', 'SNOOZED') and v_returns_at is not null then
            perform change_control(p_workspace, p_dialogue, 'PENDING', 'timer', '', null, p_at);
        end if;
    end if;
    perform release_keys(array[p_workspace], array[p_dialogue], 'timer');
end
$$;
call hand_to_system('system_return_control(uuid, uuid, uuid, bigint, uuid, timestamptz)');
