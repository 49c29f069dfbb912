-- On a young table every index seems equally good, and gathered statements are planned once. Among equals the planner takes
-- the index that was made last, so the keys by which rows are found are made last. A later index on one of these tables is
-- followed by the same. After the keys come the indexes that can be taken for no other question than their own: those of few
-- rows, and those that begin with something else than the workspace.
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

drop index deliveries_withheld_idx, deliveries_dialogue_idx;
create index deliveries_dialogue_idx on deliveries (dialogue_id, workspace_id, id);
create index deliveries_withheld_idx on deliveries (workspace_id, message_id) where state = 'WITHHELD';
