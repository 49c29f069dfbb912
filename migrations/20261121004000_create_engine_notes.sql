-- What engines that keep conversations of their own want to be given again, and turns that wait for such an engine.
create table engine_notes (
    workspace_id uuid not null,
    dialogue_id uuid not null,
    engine text not null,
    notes jsonb not null,
    updated_at timestamptz not null,
    primary key (workspace_id, dialogue_id, engine)
) with (fillfactor = 80);
comment on table engine_notes is 'What an engine noted of a dialogue, such as the vendor''s conversation.';
comment on column engine_notes.engine is 'The vendor, and the integration where there is one: `dify` or `dify:<id>`. Another account knows nothing of it.';
comment on column engine_notes.notes is 'The vendor''s own; nobody else reads it.';
call protect_table('engine_notes');

-- Lets turns wait for their engine: its notes are kept, the run is WAITING, the job is due when the engine is to be asked
-- again, and the key is given back. A turn that newer messages have superseded, or whose agent no longer holds the dialogue,
-- is due at once. Locks dialogues first, in the order of workspace and id, and keys of the queue last.
create function system_wait_turns(
    p_worker uuid, p_workspace uuid[], p_dialogue uuid[], p_turn uuid[], p_run integer[], p_fence bigint[], p_job uuid[],
    p_engine text[], p_notes jsonb[], p_run_at timestamptz[], p_at timestamptz
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
    v_due integer[];
begin
    perform 1 from dialogues d
    where (d.workspace_id, d.id) in (select * from unnest(p_workspace, p_dialogue))
    order by d.workspace_id, d.id for update;

    select array_agg(c.ord), array_agg(c.ord) filter (where c.due) into v_good, v_due
    from (
        select i.ord::integer as ord,
               d.status <> 'PENDING'
                   or d.collecting_turn_id is not distinct from t.id and d.last_customer_seq > t.covered_through as due
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
        from unnest(p_workspace, p_dialogue, p_turn, p_run, p_job, p_engine, p_notes, p_run_at) with ordinality
            as i (workspace_id, dialogue_id, turn_id, run, job_id, engine, notes, run_at, n)
        where i.n = any (v_good)
    ),
    noted as (
        insert into engine_notes (workspace_id, dialogue_id, engine, notes, updated_at)
        select i.workspace_id, i.dialogue_id, i.engine, i.notes, p_at from input i
        on conflict (workspace_id, dialogue_id, engine) do update set
            notes = excluded.notes, updated_at = excluded.updated_at
    ),
    waiting as (
        update runs r set state = 'WAITING'
        from input i
        where r.workspace_id = i.workspace_id and r.turn_id = i.turn_id and r.number = i.run and r.state <> 'WAITING'
    ),
    put_off as (
        -- Newer messages may have moved it meanwhile.
        update jobs j set run_at = greatest(j.run_at, case when i.ord = any (v_due) then p_at else i.run_at end)
        from input i where j.workspace_id = i.workspace_id and j.id = i.job_id
    )
    select i.ord from input i;

    perform release_keys(
        (select array_agg(p_workspace[g]) from unnest(v_good) g), (select array_agg(p_dialogue[g]) from unnest(v_good) g),
        'turn');
end
$$;
call hand_to_system('system_wait_turns(uuid, uuid[], uuid[], uuid[], integer[], bigint[], uuid[], text[], jsonb[], timestamptz[], timestamptz)');

-- Lets turns that wait for their engine be asked about now: after the agent's quiet window where newer messages have
-- superseded them, else at once. Turns that are worked on, or don't wait for an engine, stay as they are.
create function system_wake_turns(p_workspace uuid[], p_dialogue uuid[], p_at timestamptz)
returns void
language plpgsql security definer
set search_path = public, pg_temp
set lock_timeout = '1s'
set enable_seqscan = off
as $$
begin
    -- Most dialogues that something happens to have no such turn; these are not locked for it.
    perform 1 from dialogues d
    where (d.workspace_id, d.id) in (select * from unnest(p_workspace, p_dialogue))
        and exists (
            select 1 from jobs j
            join turns t on t.workspace_id = j.workspace_id and t.id = j.target_id
            join runs r on r.workspace_id = t.workspace_id and r.turn_id = t.id and r.number = t.current_run
            where j.workspace_id = d.workspace_id and j.subject_id = d.id and j.lane = 'turn' and r.state = 'WAITING')
    order by d.workspace_id, d.id for update;

    with woken as (
        update jobs j
        set run_at = case
                when d.collecting_turn_id is not distinct from t.id and d.last_customer_seq > t.covered_through
                    then greatest(p_at, least(
                        p_at + (a.reply_policy ->> 'quiet_window_ms')::bigint * interval '1 millisecond', j.latest_at))
                else p_at
            end
        from dialogues d, turns t, runs r, agents a, job_keys k
        where (d.workspace_id, d.id) in (select * from unnest(p_workspace, p_dialogue))
            and j.workspace_id = d.workspace_id and j.subject_id = d.id and j.lane = 'turn'
            and t.workspace_id = j.workspace_id and t.id = j.target_id and t.state = 'RUNNING'
            and r.workspace_id = t.workspace_id and r.turn_id = t.id and r.number = t.current_run and r.state = 'WAITING'
            and a.workspace_id = t.workspace_id and a.id = t.agent_id
            and k.workspace_id = d.workspace_id and k.subject_id = d.id and k.lane = 'turn' and k.locked_by is null
        returning j.workspace_id, j.subject_id, j.run_at
    )
    update job_keys k set next_run_at = w.run_at
    from woken w
    where k.workspace_id = w.workspace_id and k.subject_id = w.subject_id and k.lane = 'turn' and k.locked_by is null;
end
$$;
call hand_to_system('system_wake_turns(uuid[], uuid[], timestamptz)');
