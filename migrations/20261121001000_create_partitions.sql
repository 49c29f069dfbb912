-- Makes the monthly partitions of this month and the next three. Rows of a month without one fall into the default
-- partition, so a server that slept for a year loses nothing.
--
-- Attaching a partition takes the owner of the table, so this one function belongs to the owner who migrates.
create function system_make_partitions(p_at timestamptz)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
    v_table text;
    v_month timestamptz;
    v_name text;
begin
    -- One process at a time; the others find the partitions made.
    perform pg_advisory_xact_lock(hashtext('switchboard.system_make_partitions'));
    foreach v_table in array array['messages', 'inbound_webhooks', 'events'] loop
        for i in 0..3 loop
            v_month := date_trunc('month', p_at at time zone 'UTC') at time zone 'UTC' + make_interval(months => i);
            v_name := v_table || to_char(v_month at time zone 'UTC', '"_"YYYY"_"MM');
            continue when to_regclass(v_name) is not null;
            begin
                execute format(
                    'create table %I partition of %I for values from (%L) to (%L)', v_name, v_table,
                    uuid_of_moment(v_month),
                    uuid_of_moment((v_month at time zone 'UTC' + interval '1 month') at time zone 'UTC'));
            exception when check_violation then
                -- The default partition already holds rows of that month; they stay there, and so do the later ones.
                raise log 'partition % can''t be made: the default partition holds rows of it', v_name;
            end;
        end loop;
    end loop;
end
$$;

-- The smallest UUIDv7 of a moment: 48 bits of milliseconds, then nothing.
create function uuid_of_moment(p_at timestamptz) returns uuid
language sql immutable parallel safe
return (lpad(to_hex((extract(epoch from p_at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid;

revoke all on function system_make_partitions(timestamptz) from switchboard_system;
grant execute on function system_make_partitions(timestamptz) to switchboard_app;
