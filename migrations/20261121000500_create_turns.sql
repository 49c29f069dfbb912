create table turns (
    workspace_id uuid not null,
    id uuid not null,
    dialogue_id uuid not null,
    agent_id uuid not null,
    state text not null check (state in ('COLLECTING', 'RUNNING', 'REPLIED', 'SILENT', 'FAILED')),
    reason text,
    covered_through bigint not null,
    current_run integer not null,
    restarts integer not null default 0,
    late boolean not null default false,
    waited_until timestamptz,
    reply_message_id uuid,
    created_at timestamptz not null,
    closed_at timestamptz,
    primary key (workspace_id, id),
    -- The one-reply rule: a turn is closed with a reply exactly when it has one, and it has room for one.
    constraint turns_one_reply check ((state = 'REPLIED') = (reply_message_id is not null)),
    constraint turns_closed check ((closed_at is not null) = (state in ('REPLIED', 'SILENT', 'FAILED')))
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
comment on table turns is 'One answer of an agent to the messages that came since the last.';
comment on column turns.reason is 'Why it stayed silent or failed, or what its reply is in place of an answer; while it runs, fallback_engine: its engine failed for good, and the agent''s other one is asked. NULL otherwise.';
comment on column turns.covered_through is 'The highest customer message that it covers; 0 while it collects.';
comment on column turns.current_run is 'The number of its newest run; 0: none. Only that run may commit.';
comment on column turns.restarts is 'How often a run was superseded by a newer message.';
comment on column turns.late is 'Whether it began so long after its first message that the agent''s policy for late messages applies.';
comment on column turns.waited_until is 'When the agent''s hours began that it waited for: from then on it may be late; NULL: it did not wait.';
comment on column turns.reply_message_id is 'Its reply; NULL: none.';
create index turns_dialogue_idx on turns (workspace_id, dialogue_id, id);
call protect_table('turns');

create table runs (
    workspace_id uuid not null,
    turn_id uuid not null,
    number integer not null,
    state text not null check (state in ('STARTED', 'WAITING', 'ANSWERED', 'SUPERSEDED', 'LOST', 'FAILED')),
    request jsonb not null,
    input_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    error text,
    started_at timestamptz not null,
    ended_at timestamptz,
    primary key (workspace_id, turn_id, number)
) with (fillfactor = 80);
comment on table runs is 'The tries of the engine at a turn.';
comment on column runs.state is 'WAITING: the engine works on it, nobody holds the turn, and its job says when to ask again.';
comment on column runs.request is 'What the engine was given: engine, instructions, tools, and the history by its numbers (messages never change).';
comment on column runs.error is 'Why it failed; NULL otherwise.';
call protect_table('runs');

create table run_steps (
    workspace_id uuid not null,
    turn_id uuid not null,
    step integer not null,
    run integer not null,
    answer jsonb not null,
    results jsonb,
    created_at timestamptz not null,
    primary key (workspace_id, turn_id, step)
);
comment on table run_steps is 'What the engine answered, step by step; committed before the tools that it calls run, so that a later run goes on from here.';
comment on column run_steps.results is 'What the tools gave, in the order of the calls; NULL: they have not run.';
call protect_table('run_steps');
