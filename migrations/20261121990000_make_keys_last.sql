-- On a young table every index seems equally good, and gathered statements are planned once. Among equals the planner takes
-- the index that was made last, so the keys by which rows are found are made last. A later index on one of these tables is
-- followed by the same.
do $$
declare
    v_key record;
begin
    for v_key in
        select c.conrelid::regclass as of_table, c.conname as name, pg_get_constraintdef(c.oid) as definition
        from pg_constraint c
        where c.contype = 'p'
            and c.conrelid in ('dialogues'::regclass, 'messages'::regclass, 'turns'::regclass, 'deliveries'::regclass, 'jobs'::regclass)
        order by c.conrelid
    loop
        execute format('alter table %s drop constraint %I, add constraint %2$I %s', v_key.of_table, v_key.name,
            v_key.definition);
    end loop;
end
$$;
