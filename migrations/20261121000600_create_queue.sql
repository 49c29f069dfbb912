-- Waiting work, in the mailbox shape: one row per key, and that row is the lock. A dialogue has three keys: `turn` (one run
-- at a time), `out` (its deliveries) and `timer` (when control returns to the agent). A key is strictly first in, first out: its head is the job with the smallest id,
-- `next_run_at` is the head's, and while the head waits nothing behind it runs.
create table job_keys (
    workspace_id uuid not null,
    subject_id uuid not null,
    lane text not null check (lane in ('turn', 'out', 'timer')),
    next_run_at timestamptz not null,
    locked_by uuid,
    fence bigint not null default 0,
    primary key (workspace_id, subject_id, lane)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
comment on table job_keys is 'The mailboxes of waiting work.';
comment on column job_keys.subject_id is 'The dialogue.';
comment on column job_keys.next_run_at is 'When its head is due; infinity: it is empty.';
comment on column job_keys.locked_by is 'The worker that holds it; NULL: nobody does.';
comment on column job_keys.fence is 'Rises with every claim; every write under the lock names it, so that a holder that lost the key can''t write.';
create index job_keys_due_idx on job_keys (workspace_id, next_run_at) where locked_by is null and next_run_at < 'infinity';
create index job_keys_locked_idx on job_keys (locked_by) where locked_by is not null;
call protect_table('job_keys');

create table jobs (
    workspace_id uuid not null,
    id uuid not null,
    subject_id uuid not null,
    lane text not null,
    target_id uuid not null,
    failures integer not null default 0,
    run_at timestamptz not null,
    latest_at timestamptz,
    primary key (workspace_id, id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
comment on table jobs is 'Waiting work.';
comment on column jobs.target_id is 'What it is about: the turn in the lane turn, the delivery in the lane out, the dialogue in the lane timer.';
comment on column jobs.failures is 'How often it failed so far.';
comment on column jobs.run_at is 'When it is due. Newer messages move a collecting turn''s.';
comment on column jobs.latest_at is 'What newer messages may not move it past; NULL: nothing moves it.';
create index jobs_key_idx on jobs (workspace_id, subject_id, lane, id);
call protect_table('jobs');

create table workers (
    id uuid primary key,
    lease_until timestamptz not null
);
comment on table workers is 'The running server processes. One row a process is beaten, not one a key; when its lease lapses its keys are given back.';
comment on column workers.lease_until is 'By the database''s own clock.';
grant select, insert, update, delete on workers to switchboard_system;
