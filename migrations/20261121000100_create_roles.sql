-- The two roles beside the owner who migrates.
--
-- switchboard_app     what the server works as: every table is seen through row-level security, one workspace at a time.
-- switchboard_system  owns the few functions that cross workspaces (resolve, gathered writes, claim, sweep); nobody logs
--                     in as it, and it owns no table.
--
-- Roles belong to the whole cluster, and databases of one cluster may be migrated at the same moment: whoever comes second
-- finds the role made.
do $$
begin
    create role switchboard_system nologin;
exception when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
    create role switchboard_app nologin;
exception when duplicate_object or unique_violation then null;
end
$$;

-- An owner that is no superuser must be a member to hand functions over and to SET ROLE.
do $$
begin
    execute format('grant switchboard_system, switchboard_app to %I', current_user);
exception when others then
    -- A concurrent grant of the same membership; the membership is there.
    if sqlstate not in ('XX000', '40001', '23505') then raise; end if;
end
$$;

grant usage on schema public to switchboard_app, switchboard_system;

-- PostgreSQL lets everybody call a new function. Other roles of the cluster have no business with ours; of the two, each may
-- call helpers, which run as their caller. (What PUBLIC has by default can't be taken from one schema alone.)
alter default privileges revoke execute on functions from public;

-- The workspace that the transaction works in. After a transaction that set it, a connection reads the empty string, which
-- is no UUID: hence nullif. NULL matches no row.
create function current_workspace() returns uuid
language sql stable parallel safe
return nullif(current_setting('app.workspace_id', true), '')::uuid;

-- Puts a table behind its workspace: the app sees the current workspace's rows, the system functions see all.
create procedure protect_table(p_table regclass)
language plpgsql
as $$
begin
    execute format('alter table %s enable row level security', p_table);
    execute format('alter table %s force row level security', p_table);
    execute format(
        'create policy workspace on %s to switchboard_app using (workspace_id = current_workspace())
         with check (workspace_id = current_workspace())', p_table);
    execute format('create policy system on %s to switchboard_system using (true) with check (true)', p_table);
    execute format('grant select, insert, update, delete on %s to switchboard_app, switchboard_system', p_table);
end
$$;

-- Hands a function that crosses workspaces to switchboard_system and lets the app alone call it.
create procedure hand_to_system(p_function regprocedure)
language plpgsql
as $$
begin
    execute format('grant create on schema public to switchboard_system');
    execute format('alter function %s owner to switchboard_system', p_function);
    execute format('revoke create on schema public from switchboard_system');
    execute format('revoke all on function %s from public', p_function);
    execute format('grant execute on function %s to switchboard_app', p_function);
end
$$;
grant execute on function current_workspace() to switchboard_app, switchboard_system;
-- From here on, for what later migrations create.
alter default privileges in schema public grant execute on functions to switchboard_app, switchboard_system;
