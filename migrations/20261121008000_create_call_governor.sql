-- The governor of calls: how often an account outside is called, by all processes together. What the vendor counts is calls
-- as they come to it, so places are moments of real time, by the one clock that all processes see.

-- Grants the next place in a rate under a key, evenly spaced at 6/7 of it and no sooner than in `p_ahead`: `pause` says in how
-- long it begins. Where that would be longer than `p_longest`, none is granted and `pause` says when to come again.
create function grant_call(
    p_workspace uuid, p_key text, p_rate float8, p_ahead interval, p_longest interval,
    out granted boolean, out pause interval
)
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_slot timestamptz;
    v_now timestamptz;
begin
    insert into governors (workspace_id, key, next_at) values (p_workspace, p_key, '-infinity') on conflict do nothing;
    select g.next_at into v_slot from governors g where g.workspace_id = p_workspace and g.key = p_key for update;
    -- After the row is ours: whoever waited for it must not get a place in the past.
    v_now := clock_timestamp();
    v_slot := greatest(v_slot, v_now + p_ahead);
    pause := v_slot - v_now;
    granted := pause <= p_longest;
    if granted then
        update governors g set next_at = v_slot + interval '1 second' * (7.0 / 6.0 / p_rate)
        where g.workspace_id = p_workspace and g.key = p_key;
    end if;
end
$$;

-- Notes that a call was refused as one too many, and lets nobody pass for a while: for `p_pause`, or else for a time that
-- doubles with each refusal of the last minute, from a second to a minute. `p_only_after`: only where a call was refused
-- within the last minute, else NULL comes back.
create function refuse_calls(p_workspace uuid, p_key text, p_pause interval, p_only_after boolean)
returns interval
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_held governors;
    v_now timestamptz;
    v_pause interval;
begin
    insert into governors (workspace_id, key, next_at) values (p_workspace, p_key, '-infinity') on conflict do nothing;
    select * into v_held from governors g where g.workspace_id = p_workspace and g.key = p_key for update;
    v_now := clock_timestamp();
    if v_held.refused_at is null or v_held.refused_at < v_now - interval '1 minute' then
        if p_only_after then
            return null;
        end if;
        v_held.refusals := 0;
    end if;
    v_pause := coalesce(p_pause, interval '1 second' * least(60, 2 ^ least(v_held.refusals, 6)));
    -- Calls that were under way together are refused together: that is one refusal.
    update governors g
    set next_at = greatest(g.next_at, v_now + v_pause), refused_at = v_now,
        refusals = case when v_held.refusals > 0 and v_held.next_at > v_now + interval '1 second'
            then v_held.refusals else v_held.refusals + 1 end
    where g.workspace_id = p_workspace and g.key = p_key;
    return greatest(v_held.next_at - v_now, v_pause);
end
$$;
