-- Claims due keys of dialogues' lanes, each with its head job, and raises their fences. Workspaces with due work share the
-- claim evenly, so that one with a long backlog slows nobody; what they leave is for the next claim. The walk over workspaces
-- begins behind `p_after`, which callers move on, and anew where nobody is left; it serves 256 workspaces at most and looks at
-- 10,000. None gets more than `p_most` of it, and those in `p_busy` get nothing now: a workspace whose engine hangs does not
-- fill the worker. Nor does one engine, or one receiver, fill its workspace: the channels in `p_turns` get no turn now, and
-- those in `p_outs` no delivery. Their backlog is walked past, which costs nothing to anybody else while there is none.
--
-- Only a worker that is known claims: the keys of any other would be swept by nobody. Heads are read by a statement of their
-- own, when the keys are locked: the one that locks them may still see jobs that their last holder has done.
create function system_claim(
    p_worker uuid, p_after uuid, p_limit integer, p_most integer, p_busy uuid[], p_turns uuid[], p_outs uuid[],
    p_at timestamptz
)
returns table (
    workspace_id uuid, subject_id uuid, lane text, fence bigint, job_id uuid, target_id uuid, failures integer,
    channel_id uuid)
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
declare
    v_workspace uuid[];
    v_subject uuid[];
    v_lane text[];
    v_fence bigint[];
    v_count integer;
    v_all boolean := p_turns = '{}' and p_outs = '{}';
begin
    perform 1 from workers where id = p_worker for key share;
    if not found then
        return;
    end if;

    loop
        with recursive waiting (workspace_id, next_run_at, due, seen) as (
            (select k.workspace_id, k.next_run_at, (k.next_run_at <= p_at)::integer, 1 from job_keys k
             where k.locked_by is null and k.next_run_at < 'infinity' and k.lane <> 'hook' and k.workspace_id > p_after
             order by k.workspace_id, k.next_run_at limit 1)
            union all
            (select f.workspace_id, f.next_run_at, w.due + (f.next_run_at <= p_at)::integer, w.seen + 1
             from waiting w
             cross join lateral (
                 -- The first of the next workspace is the one that is due first.
                 select k.workspace_id, k.next_run_at from job_keys k
                 where k.locked_by is null and k.next_run_at < 'infinity' and k.lane <> 'hook'
                     and k.workspace_id > w.workspace_id
                 order by k.workspace_id, k.next_run_at limit 1) f
             where w.due < 256 and w.seen < 10000)
        ),
        shares as materialized (
            select w.workspace_id, least(p_most, greatest(1, p_limit / count(*) over ())) as share
            from waiting w
            where w.workspace_id <> all (p_busy) and w.next_run_at <= p_at
        ),
        due as materialized (
            select k.workspace_id, k.subject_id, k.lane
            from shares s
            cross join lateral (
                select j.workspace_id, j.subject_id, j.lane
                from job_keys j
                where j.workspace_id = s.workspace_id and j.locked_by is null and j.next_run_at < 'infinity'
                    and j.lane <> 'hook'
                    and j.next_run_at <= p_at
                    and (v_all or coalesce((
                        select d.channel_id from dialogues d
                        where d.workspace_id = j.workspace_id and d.id = j.subject_id), j.subject_id)
                        <> all (case j.lane when 'turn' then p_turns when 'out' then p_outs else '{}' end))
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
        select array_agg(l.workspace_id), array_agg(l.subject_id), array_agg(l.lane), array_agg(l.fence)
        into v_workspace, v_subject, v_lane, v_fence
        from locked l;
        -- Behind the last that was served nobody waits: the walk begins anew at once.
        exit when v_subject is not null or p_after = '00000000-0000-0000-0000-000000000000';
        p_after := '00000000-0000-0000-0000-000000000000';
    end loop;

    return query
    select l.workspace_id, l.subject_id, l.lane, l.fence, j.id, j.target_id, j.failures,
           (select d.channel_id from dialogues d where d.workspace_id = l.workspace_id and d.id = l.subject_id)
    from unnest(v_workspace, v_subject, v_lane, v_fence) as l (workspace_id, subject_id, lane, fence)
    cross join lateral (
        select h.id, h.target_id, h.failures from jobs h
        where h.workspace_id = l.workspace_id and h.subject_id = l.subject_id and h.lane = l.lane
        order by h.place, h.id limit 1
    ) j;
    get diagnostics v_count = row_count;
    -- A key without a job is empty, whatever it said.
    if v_count < coalesce(cardinality(v_subject), 0) then
        update job_keys k set locked_by = null, next_run_at = 'infinity'
        from unnest(v_workspace, v_subject, v_lane) as l (workspace_id, subject_id, lane)
        where k.workspace_id = l.workspace_id and k.subject_id = l.subject_id and k.lane = l.lane and not exists (
            select 1 from jobs h
            where h.workspace_id = l.workspace_id and h.subject_id = l.subject_id and h.lane = l.lane);
    end if;
end
$$;
call hand_to_system('system_claim(uuid, uuid, integer, integer, uuid[], uuid[], uuid[], timestamptz)');

-- Claims due keys of the lane hook, each with its head job, and raises their fences. Endpoints with due keys share the claim
-- evenly, and none gets more than `p_most` of it; those in `p_busy` get nothing now. So neither an endpoint's backlog nor one
-- that hangs slows the others. The walk over endpoints begins behind `p_after`, which callers move on; it serves
-- 256 endpoints at most and looks at 10,000.
create function system_claim_hooks(
    p_worker uuid, p_after uuid, p_limit integer, p_most integer, p_busy uuid[], p_at timestamptz
)
returns table (
    workspace_id uuid, subject_id uuid, lane text, fence bigint, job_id uuid, target_id uuid, failures integer,
    endpoint_id uuid)
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
declare
    v_workspace uuid[];
    v_subject uuid[];
    v_lane text[];
    v_fence bigint[];
    v_endpoint uuid[];
    v_count integer;
begin
    perform 1 from workers where id = p_worker for key share;
    if not found then
        return;
    end if;

    loop
        with recursive waiting (endpoint_id, next_run_at, due, seen) as (
            (select k.endpoint_id, k.next_run_at, (k.next_run_at <= p_at)::integer, 1 from job_keys k
             where k.locked_by is null and k.next_run_at < 'infinity' and k.lane = 'hook' and k.endpoint_id > p_after
             order by k.endpoint_id, k.next_run_at limit 1)
            union all
            (select f.endpoint_id, f.next_run_at, w.due + (f.next_run_at <= p_at)::integer, w.seen + 1
             from waiting w
             cross join lateral (
                 -- The first of the next endpoint is the one that is due first.
                 select k.endpoint_id, k.next_run_at from job_keys k
                 where k.locked_by is null and k.next_run_at < 'infinity' and k.lane = 'hook'
                     and k.endpoint_id > w.endpoint_id
                 order by k.endpoint_id, k.next_run_at limit 1) f
             where w.due < 256 and w.seen < 10000)
        ),
        shares as materialized (
            select w.endpoint_id, least(p_most, greatest(1, p_limit / count(*) over ())) as share
            from waiting w
            where w.endpoint_id <> all (p_busy) and w.next_run_at <= p_at
        ),
        due as materialized (
            select k.workspace_id, k.subject_id, k.lane
            from shares s
            cross join lateral (
                select j.workspace_id, j.subject_id, j.lane
                from job_keys j
                where j.endpoint_id = s.endpoint_id and j.locked_by is null and j.next_run_at < 'infinity'
                    and j.lane = 'hook'
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
            returning k.workspace_id, k.subject_id, k.lane, k.fence, k.endpoint_id
        )
        select array_agg(l.workspace_id), array_agg(l.subject_id), array_agg(l.lane), array_agg(l.fence), array_agg(l.endpoint_id)
        into v_workspace, v_subject, v_lane, v_fence, v_endpoint
        from locked l;
        -- Behind the last that was served nobody waits: the walk begins anew at once.
        exit when v_subject is not null or p_after = '00000000-0000-0000-0000-000000000000';
        p_after := '00000000-0000-0000-0000-000000000000';
    end loop;

    return query
    select l.workspace_id, l.subject_id, l.lane, l.fence, j.id, j.target_id, j.failures, l.endpoint_id
    from unnest(v_workspace, v_subject, v_lane, v_fence, v_endpoint) as l (workspace_id, subject_id, lane, fence, endpoint_id)
    cross join lateral (
        select h.id, h.target_id, h.failures from jobs h
        where h.workspace_id = l.workspace_id and h.subject_id = l.subject_id and h.lane = l.lane
        order by h.place, h.id limit 1
    ) j;
    get diagnostics v_count = row_count;
    -- A key without a job is empty, whatever it said.
    if v_count < coalesce(cardinality(v_subject), 0) then
        update job_keys k set locked_by = null, next_run_at = 'infinity'
        from unnest(v_workspace, v_subject, v_lane) as l (workspace_id, subject_id, lane)
        where k.workspace_id = l.workspace_id and k.subject_id = l.subject_id and k.lane = l.lane and not exists (
            select 1 from jobs h
            where h.workspace_id = l.workspace_id and h.subject_id = l.subject_id and h.lane = l.lane);
    end if;
end
$$;
call hand_to_system('system_claim_hooks(uuid, uuid, integer, integer, uuid[], timestamptz)');

-- When the next key of a dialogue falls due, after `p_after` where that is not NULL, but for workspaces in `p_busy`; NULL: none waits.
create function system_next_due(p_busy uuid[], p_after timestamptz)
returns timestamptz
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    select min(next_run_at) from job_keys
    where locked_by is null and next_run_at < 'infinity' and lane <> 'hook' and workspace_id <> all (p_busy)
        and (p_after is null or next_run_at > p_after);
end;
call hand_to_system('system_next_due(uuid[], timestamptz)');

-- When the next key of the lane hook falls due, but for endpoints in `p_busy`; NULL: none waits.
create function system_next_due_hook(p_busy uuid[])
returns timestamptz
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    -- By endpoint, each with its first: a long backlog is not walked through.
    with recursive waiting (endpoint_id) as (
        (select k.endpoint_id from job_keys k
         where k.locked_by is null and k.next_run_at < 'infinity' and k.lane = 'hook'
         order by k.endpoint_id limit 1)
        union all
        (select (select k.endpoint_id from job_keys k
                 where k.locked_by is null and k.next_run_at < 'infinity' and k.lane = 'hook'
                     and k.endpoint_id > w.endpoint_id
                 order by k.endpoint_id limit 1)
         from waiting w where w.endpoint_id is not null)
    )
    select min(f.next_run_at)
    from waiting w
    cross join lateral (
        select k.next_run_at from job_keys k
        where k.locked_by is null and k.next_run_at < 'infinity' and k.lane = 'hook' and k.endpoint_id = w.endpoint_id
        order by k.next_run_at limit 1
    ) f
    where w.endpoint_id <> all (p_busy);
end;
call hand_to_system('system_next_due_hook(uuid[])');
