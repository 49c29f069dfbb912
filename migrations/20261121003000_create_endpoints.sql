create table webhook_endpoints (
    workspace_id uuid not null,
    id uuid not null,
    display_name text not null,
    url text not null,
    kinds text[] not null,
    channel_id uuid,
    schedule text not null check (schedule in ('STANDARD', 'SANDBOX')),
    active boolean not null,
    disabled_reason text,
    secret_sealed bytea not null,
    previous_secret_sealed bytea,
    previous_secret_until timestamptz,
    failing_since timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    primary key (workspace_id, id)
);
comment on table webhook_endpoints is 'Where events are posted to.';
comment on column webhook_endpoints.kinds is 'Only events of these types; empty: of any.';
comment on column webhook_endpoints.channel_id is 'Only events of this channel and its dialogues; NULL: of any.';
comment on column webhook_endpoints.schedule is 'When a failed dispatch is tried again.';
comment on column webhook_endpoints.active is 'Whether events are posted to it. While not, its place stands still and its due jobs are parked: due at infinity.';
comment on column webhook_endpoints.disabled_reason is 'Why it was made inactive by itself: gone, failing; NULL: it was not.';
comment on column webhook_endpoints.secret_sealed is 'The Standard Webhooks secret, encrypted (version, key id, nonce, ciphertext).';
comment on column webhook_endpoints.previous_secret_sealed is 'The secret before it, encrypted likewise; NULL: there was none.';
comment on column webhook_endpoints.previous_secret_until is 'Until when the secret before it signs, too; NULL: there was none.';
comment on column webhook_endpoints.failing_since is 'When the first of the failures was that no success has followed; NULL: there is none.';
comment on column webhook_endpoints.deleted_at is 'When it was deleted; NULL: it was not. Its dispatches still name it.';
call protect_table('webhook_endpoints');

-- Apart from the endpoints: a place moves with every batch of events, and who moves it locks it.
create table endpoint_places (
    workspace_id uuid not null,
    endpoint_id uuid not null,
    epoch integer not null,
    position bigint not null,
    fed_at timestamptz not null,
    primary key (workspace_id, endpoint_id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
comment on table endpoint_places is 'How far each endpoint has read its workspace''s log.';
comment on column endpoint_places.epoch is 'Which life of the log the position belongs to.';
comment on column endpoint_places.position is 'The last position that was read.';
comment on column endpoint_places.fed_at is 'The millisecond in the ids of the newest batch of dispatches. The next batch''s is later whatever the clocks of the processes say, so dispatches are listed in the order of the log.';
call protect_table('endpoint_places');

create table dispatches (
    workspace_id uuid not null,
    id uuid not null,
    endpoint_id uuid not null,
    event_id uuid not null,
    kind text not null,
    dialogue_id uuid,
    state text not null check (state in ('PENDING', 'STARTED', 'DELIVERED', 'DEAD')),
    reason text,
    attempts integer not null,
    next_attempt_at timestamptz,
    replay boolean not null,
    created_at timestamptz not null,
    settled_at timestamptz,
    primary key (workspace_id, id)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
comment on table dispatches is 'Events on their way to endpoints.';
comment on column dispatches.kind is 'The event''s.';
comment on column dispatches.dialogue_id is 'The event''s; NULL: it has none.';
comment on column dispatches.reason is 'Why it is dead; NULL: it is not.';
comment on column dispatches.attempts is 'How many attempts were begun; the number of the newest.';
comment on column dispatches.next_attempt_at is 'When the next attempt is due; NULL: none is.';
comment on column dispatches.replay is 'Whether it was made by hand, of an event that may have been dispatched before.';
comment on column dispatches.settled_at is 'When it came to its final state; NULL: it has not.';
-- The state stands in no index: every dispatch changes it at least twice, and so the changes stay in place (HOT).
create index dispatches_endpoint_idx on dispatches (workspace_id, endpoint_id, id);
call protect_table('dispatches');

create table dispatch_attempts (
    workspace_id uuid not null,
    dispatch_id uuid not null,
    number integer not null,
    state text not null check (state in ('STARTED', 'SUCCEEDED', 'FAILED', 'UNKNOWN')),
    http_status integer,
    error text,
    response_excerpt text,
    started_at timestamptz not null,
    ended_at timestamptz,
    primary key (workspace_id, dispatch_id, number)
) with (fillfactor = 80);
comment on table dispatch_attempts is 'The tries at a dispatch. A row is committed before its call is made.';
comment on column dispatch_attempts.state is 'UNKNOWN: nobody knows whether the endpoint took it.';
comment on column dispatch_attempts.http_status is 'The endpoint''s; NULL: there was none.';
comment on column dispatch_attempts.error is 'What went wrong; NULL: nothing.';
comment on column dispatch_attempts.response_excerpt is 'The first 1,024 characters of the endpoint''s answer; NULL: there was none.';
call protect_table('dispatch_attempts');

-- Another lane of the queue. Endpoints belong to strangers and may be slow or many, so theirs is claimed apart from
-- the lanes of dialogues, and each kind of claim has an index of its own: neither walks over the other's backlog.
alter table job_keys drop constraint job_keys_lane_check;
alter table job_keys add constraint job_keys_lane_check check (lane in ('turn', 'out', 'timer', 'hook'));
comment on column job_keys.subject_id is 'The dialogue; in the lane hook what hook_subject gives for endpoint and dialogue.';
comment on column jobs.place is 'Its place in its lane: the dialogue''s version when it was added, under the dialogue''s lock, or in the lane hook what hook_place gives. Ids come from clocks, which differ.';
comment on column jobs.target_id is 'What it is about: the turn in the lane turn, the delivery in the lane out, the dialogue in the lane timer, the dispatch in the lane hook.';
alter table job_keys add column endpoint_id uuid;
comment on column job_keys.endpoint_id is 'The endpoint whose dispatches wait here, by which the lane hook is claimed; NULL in the lanes of dialogues.';
drop index job_keys_due_idx;
create index job_keys_due_idx on job_keys (workspace_id, next_run_at)
    where locked_by is null and next_run_at < 'infinity' and lane <> 'hook';
create index job_keys_hook_due_idx on job_keys (endpoint_id, next_run_at)
    where locked_by is null and next_run_at < 'infinity' and lane = 'hook';
