-- When a key is due that its holder never gave back: before all others, so that what was begun is not put behind a backlog,
-- unless its head was moved past `p_at` while the key was held, as newer messages move the end of a quiet window.
create function freed_key_due(p_workspace uuid, p_subject uuid, p_lane text, p_at timestamptz)
returns timestamptz
language sql stable
set search_path = public, pg_temp
begin atomic
    select coalesce((
        select case when j.run_at > p_at then j.run_at else 'epoch' end
        from jobs j
        where j.workspace_id = p_workspace and j.subject_id = p_subject and j.lane = p_lane
        order by j.place, j.id limit 1), 'epoch');
end;

-- Says that this worker lives, and takes the keys of workers that don't: they are free at once, with their work still due.
-- What a worker held goes before all else: a reply that was about to be sent is younger than every message that waits.
-- Answers whether this worker's own lease had lapsed, which means that its keys were given away.
create function system_heartbeat(p_worker uuid, p_lease interval, p_at timestamptz)
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
    -- Also what is held by a worker whose row is gone: one that slept past its lease and woke up again.
    update job_keys set locked_by = null, next_run_at = freed_key_due(workspace_id, subject_id, lane, p_at)
    where locked_by is not null and locked_by not in (select id from workers);
    if found or v_lapsed is not null then
        perform pg_notify('switchboard_work', '');
    end if;
    return not v_known;
end
$$;
call hand_to_system('system_heartbeat(uuid, interval, timestamptz)');

-- Ends this worker: its keys are free at once.
create function system_retire(p_worker uuid, p_at timestamptz)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    delete from workers where id = p_worker;
    update job_keys set locked_by = null, next_run_at = freed_key_due(workspace_id, subject_id, lane, p_at) where locked_by = p_worker;
    update numberers set lease_until = '-infinity' where holder = p_worker;
    perform pg_notify('switchboard_work', '');
end
$$;
call hand_to_system('system_retire(uuid, timestamptz)');

-- Ends all workers but this one. For an embedded database alone, where a lock file says that no other process lives.
create function system_retire_others(p_worker uuid, p_at timestamptz)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    delete from workers where id <> p_worker;
    update job_keys set locked_by = null, next_run_at = freed_key_due(workspace_id, subject_id, lane, p_at) where locked_by is not null and locked_by <> p_worker;
    update numberers set lease_until = '-infinity' where holder is distinct from p_worker;
end
$$;
call hand_to_system('system_retire_others(uuid, timestamptz)');

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
revoke all on function release_keys(uuid[], uuid[], text) from switchboard_app;

-- Puts a claimed job off whose work failed for a reason of the database's: its key is given back, due at `p_at`.
create function system_put_off(
    p_worker uuid, p_workspace uuid, p_subject uuid, p_lane text, p_fence bigint, p_job uuid, p_at timestamptz
)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    perform 1 from job_keys
    where workspace_id = p_workspace and subject_id = p_subject and lane = p_lane and fence = p_fence
        and locked_by = p_worker
    for update;
    if found then
        update jobs set run_at = greatest(run_at, p_at) where workspace_id = p_workspace and id = p_job;
        perform release_keys(array[p_workspace], array[p_subject], p_lane);
    end if;
end
$$;
call hand_to_system('system_put_off(uuid, uuid, uuid, text, bigint, uuid, timestamptz)');
