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
    sent_at timestamptz,
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
comment on column turns.sent_at is 'When the first of its messages was written, as its sender says, where that was more than a second before it was recorded; NULL: none was.';
comment on column turns.late is 'Whether it began so long after its first message that the agent''s policy for late messages applies.';
comment on column turns.waited_until is 'Until when it waited for the agent''s hours, or for the person who holds the dialogue: from then on it may be late; NULL: it did not wait.';
comment on column turns.reply_message_id is 'Its reply; NULL: none.';
create index turns_dialogue_idx on turns (workspace_id, dialogue_id, id);
call protect_table('turns');

create table runs (
    workspace_id uuid not null,
    turn_id uuid not null,
    number integer not null,
    state text not null check (state in ('STARTED', 'WAITING', 'ANSWERED', 'SUPERSEDED', 'LOST', 'FAILED')),
    request jsonb not null,
    prompt_hash text,
    calls bigint not null default 0,
    unknown_calls bigint not null default 0,
    input_tokens bigint,
    cached_input_tokens bigint,
    output_tokens bigint,
    cost_micros bigint,
    currency text,
    error text,
    started_at timestamptz not null,
    ended_at timestamptz,
    primary key (workspace_id, turn_id, number)
) with (fillfactor = 80);
comment on table runs is 'The tries of the engine at a turn.';
comment on column runs.state is 'WAITING: the engine works on it, nobody holds the turn, and its job says when to ask again.';
comment on column runs.request is 'What the engine was given (domain::manifest::Prompt): engine, instructions, tools, and the history by its numbers (messages never change). While it runs, and if it was lost: the agent''s settings and the history''s bounds.';
comment on column runs.prompt_hash is 'SHA-256 of what the engine was given, hexadecimal (domain::manifest::digest); NULL: it was not asked, or the run was lost.';
comment on column runs.calls is 'How many calls of the engine it made that may cost money.';
comment on column runs.unknown_calls is 'How many of them didn''t say what they used: they are missing from the sums.';
comment on column runs.input_tokens is 'Input tokens, the cached included; NULL: no call told.';
comment on column runs.cached_input_tokens is 'Of these, what came from the vendor''s cache; NULL: no call told.';
comment on column runs.output_tokens is 'Output tokens; NULL: no call told.';
comment on column runs.cost_micros is 'The cost in millionths of the currency''s unit; NULL: no call has a price, or they have several currencies.';
comment on column runs.currency is 'ISO 4217; several: there are several; NULL: no call has a price.';
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

-- What calls used and cost together: domain::cost::Spent. Costs of several currencies are not added up.
create function sum_spent(
    p_calls bigint, p_unknown_calls bigint, p_input_tokens bigint, p_cached_input_tokens bigint, p_output_tokens bigint,
    p_cost_micros bigint, p_currencies bigint, p_currency text
)
returns jsonb
language sql immutable
return jsonb_strip_nulls(jsonb_build_object(
    'calls', coalesce(p_calls, 0), 'unknown_calls', coalesce(p_unknown_calls, 0), 'input_tokens', p_input_tokens,
    'cached_input_tokens', p_cached_input_tokens, 'output_tokens', p_output_tokens,
    'cost_micros', case when p_currencies = 1 and p_currency <> 'several' then p_cost_micros end,
    'currency', case when p_currencies > 1 then 'several' else p_currency end));

-- What the runs of a turn used and cost together: those before `p_before` and `p_spent`, or all where that is NULL.
create function turn_spent(p_workspace uuid, p_turn uuid, p_before integer, p_spent jsonb)
returns jsonb
language sql stable
begin atomic
    select sum_spent(sum(s.calls)::bigint, sum(s.unknown_calls)::bigint, sum(s.input_tokens)::bigint,
        sum(s.cached_input_tokens)::bigint, sum(s.output_tokens)::bigint, sum(s.cost_micros)::bigint,
        count(distinct s.currency), min(s.currency))
    from (
        select r.calls, r.unknown_calls, r.input_tokens, r.cached_input_tokens, r.output_tokens, r.cost_micros, r.currency
        from runs r
        where r.workspace_id = p_workspace and r.turn_id = p_turn and (p_before is null or r.number < p_before)
        union all
        select (p_spent ->> 'calls')::bigint, (p_spent ->> 'unknown_calls')::bigint, (p_spent ->> 'input_tokens')::bigint,
            (p_spent ->> 'cached_input_tokens')::bigint, (p_spent ->> 'output_tokens')::bigint,
            (p_spent ->> 'cost_micros')::bigint, p_spent ->> 'currency'
        where p_spent is not null
    ) s;
end;
