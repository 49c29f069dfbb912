-- Says that this worker lives, and takes the keys of workers that don't: they are free at once, with their work still due.
-- Keys that a worker held go before all others when they are freed: what was begun is not put behind a backlog. A reply that was
-- about to be sent is younger than every message that waits.
-- Answers whether this worker's own lease had lapsed, which means that its keys were given away.
create function system_heartbeat(p_worker uuid, p_lease interval)
returns boolean
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
    v_known boolean;
    v_lapsed uuid[];
begin
    update workers set lease_until = clock_timestamp() + p_lease where id = p_worker;
    v_known := found;
    if not v_known then
        insert into workers (id, lease_until) values (p_worker, clock_timestamp() + p_lease);
    end if;

    with gone as (
        delete from workers w
        where w.id in (select id from workers where lease_until < clock_timestamp() order by id for update skip locked)
        returning w.id
    )
    select array_agg(id) into v_lapsed from gone;
    if v_lapsed is not null then
        update job_keys set locked_by = null, next_run_at = 'epoch' where locked_by = any (v_lapsed);
        perform pg_notify('switchboard_work', '');
    end if;
    return not v_known;
end
$$;
call hand_to_system('system_heartbeat(uuid, interval)');

-- Ends this worker: its keys are free at once.
create function system_retire(p_worker uuid)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    delete from workers where id = p_worker;
    update job_keys set locked_by = null, next_run_at = 'epoch' where locked_by = p_worker;
    update numberers set lease_until = '-infinity' where holder = p_worker;
    perform pg_notify('switchboard_work', '');
end
$$;
call hand_to_system('system_retire(uuid)');

-- Ends all workers but this one. For an embedded database alone, where a lock file says that no other process lives.
create function system_retire_others(p_worker uuid)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    delete from workers where id <> p_worker;
    update job_keys set locked_by = null, next_run_at = 'epoch' where locked_by is not null and locked_by <> p_worker;
    update numberers set lease_until = '-infinity' where holder is distinct from p_worker;
end
$$;
call hand_to_system('system_retire_others(uuid)');

-- Claims due keys, each with its head job, and raises their fences. Workspaces with due work share the claim evenly, so
-- that one with a long backlog slows nobody; what they leave is for the next claim. The walk over workspaces begins behind
-- `p_after`, which callers move on, and looks at 256 of them at most.
create function system_claim(p_worker uuid, p_after uuid, p_limit integer, p_at timestamptz)
returns table (
    workspace_id uuid, subject_id uuid, lane text, fence bigint, job_id uuid, target_id uuid, failures integer)
language plpgsql security definer
set search_path = public, pg_temp
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
    with recursive waiting (workspace_id, n) as (
        (select k.workspace_id, 1 from job_keys k
         where k.locked_by is null and k.next_run_at < 'infinity' and k.workspace_id > p_after
         order by k.workspace_id limit 1)
        union all
        (select (select k.workspace_id from job_keys k
                 where k.locked_by is null and k.next_run_at < 'infinity' and k.workspace_id > w.workspace_id
                 order by k.workspace_id limit 1), w.n + 1
         from waiting w where w.workspace_id is not null and w.n < 256)
    ),
    shares as materialized (
        select w.workspace_id, greatest(1, p_limit / count(*) over ()) as share
        from waiting w where w.workspace_id is not null
    ),
    due as materialized (
        select k.workspace_id, k.subject_id, k.lane
        from shares s
        cross join lateral (
            select j.workspace_id, j.subject_id, j.lane
            from job_keys j
            where j.workspace_id = s.workspace_id and j.locked_by is null and j.next_run_at < 'infinity'
                and j.next_run_at <= p_at
            order by j.next_run_at
            limit s.share
            for update skip locked
        ) k
        limit p_limit
    ),
    locked as (
        update job_keys k set locked_by = p_worker, fence = k.fence + 1
        from due d
        where k.workspace_id = d.workspace_id and k.subject_id = d.subject_id and k.lane = d.lane
        returning k.workspace_id, k.subject_id, k.lane, k.fence
    )
    select l.workspace_id, l.subject_id, l.lane, l.fence, j.id, j.target_id, j.failures
    from locked l
    left join lateral (
        select h.id, h.target_id, h.failures from jobs h
        where h.workspace_id = l.workspace_id and h.subject_id = l.subject_id and h.lane = l.lane
        order by h.place, h.id limit 1
    ) j on true;
end
$$;
call hand_to_system('system_claim(uuid, uuid, integer, timestamptz)');

-- When the next key falls due, of any workspace; NULL: none waits. What a worker sleeps until.
create function system_next_due()
returns timestamptz
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    select min(next_run_at) from job_keys where locked_by is null and next_run_at < 'infinity';
end;
call hand_to_system('system_next_due()');

-- Gives keys back: each is due when its head is. Called inside the other functions, when they have written all else.
-- The rows are locked by the caller; this is a statement of its own, so that it sees jobs that were committed meanwhile.
create function release_keys(p_workspace uuid[], p_subject uuid[], p_lane text)
returns void
language sql
set search_path = public, pg_temp
begin atomic
    update job_keys k
    set locked_by = null,
        next_run_at = coalesce((
            select j.run_at from jobs j
            where j.workspace_id = k.workspace_id and j.subject_id = k.subject_id and j.lane = k.lane
            order by j.place, j.id limit 1), 'infinity')
    from unnest(p_workspace, p_subject) as i (workspace_id, subject_id)
    where k.workspace_id = i.workspace_id and k.subject_id = i.subject_id and k.lane = p_lane;
end;
revoke all on function release_keys(uuid[], uuid[], text) from public;
grant execute on function release_keys(uuid[], uuid[], text) to switchboard_system;
