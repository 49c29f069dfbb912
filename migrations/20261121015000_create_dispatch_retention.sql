-- Deletes dispatches, with their attempts, that came to their end before `p_before`: at most `p_limit`, the oldest of each
-- workspace first. Those that wait stay, however old they are. Answers how many went. Events stay: ReplayEvents makes new
-- dispatches of them.
--
-- By each workspace's key, whose ids rise with time: no index of its own, which every dispatch would pay for.
create function system_sweep_dispatches(p_before timestamptz, p_limit integer)
returns bigint
language sql security definer
set search_path = public, pg_temp
begin atomic
    with old as materialized (
        select o.workspace_id, o.id
        from (select distinct workspace_id from webhook_endpoints) w
        cross join lateral (
            select d.workspace_id, d.id from dispatches d
            where d.workspace_id = w.workspace_id and d.id < uuid_of_moment(p_before) and d.settled_at < p_before
            order by d.id
            limit p_limit
            for update skip locked
        ) o
        limit p_limit
    ),
    attempts as (
        delete from dispatch_attempts a using old o where a.workspace_id = o.workspace_id and a.dispatch_id = o.id
    ),
    gone as (
        delete from dispatches d using old o where d.workspace_id = o.workspace_id and d.id = o.id returning 1
    )
    select count(*) from gone;
end;
call hand_to_system('system_sweep_dispatches(timestamptz, integer)');
