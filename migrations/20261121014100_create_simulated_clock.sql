-- The clock of a simulation: one row where a database holds nothing but what is simulated, else none.
create table simulated_clock (
    single boolean primary key default true check (single),
    ahead interval not null
);
comment on table simulated_clock is 'How far business time is ahead of the machines'' clocks, for all processes. No row: this database is no simulation.';
comment on column simulated_clock.ahead is 'It only grows.';
grant select, insert, update on simulated_clock to switchboard_system;

-- Makes this database a simulation, which it stays. Only one without a workspace becomes one: other data is real. Answers
-- whether it is one.
create function system_begin_simulation()
returns boolean
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    -- Two processes may start at once.
    lock table workspaces in share row exclusive mode;
    if not exists (select from simulated_clock) and not exists (select from workspaces) then
        insert into simulated_clock (ahead) values ('0');
    end if;
    return exists (select from simulated_clock);
end
$$;
grant update on workspaces to switchboard_system;
call hand_to_system('system_begin_simulation()');

-- How far business time is ahead, in microseconds. NULL: this database is no simulation.
create function system_clock_ahead()
returns bigint
language sql stable security definer
set search_path = public, pg_temp
begin atomic
    select (extract(epoch from c.ahead) * 1000000)::bigint from simulated_clock c;
end;
call hand_to_system('system_clock_ahead()');

-- Moves business time ahead for all processes, and tells them. Answers as `system_clock_ahead` does.
create function system_advance_clock(p_by interval)
returns bigint
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    update simulated_clock set ahead = ahead + greatest(p_by, '0');
    perform pg_notify('switchboard_clock', '');
    return system_clock_ahead();
end
$$;
call hand_to_system('system_advance_clock(interval)');
