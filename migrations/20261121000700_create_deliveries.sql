create table deliveries (
    workspace_id uuid not null,
    id uuid not null,
    dialogue_id uuid not null,
    message_id uuid not null,
    channel_id uuid not null,
    author text not null check (author in ('AGENT', 'OPERATOR', 'AUTOMATION', 'SYSTEM')),
    state text not null check (state in ('PENDING', 'STARTED', 'DELIVERED', 'UNCERTAIN', 'HELD', 'WITHHELD', 'DEAD')),
    reason text,
    attempts integer not null,
    text_from integer,
    text_chars integer,
    next_attempt_at timestamptz,
    slot_at timestamptz,
    created_at timestamptz not null,
    settled_at timestamptz,
    vendor_message_id text,
    receipt text check (receipt in ('SENT', 'FAILED', 'DELIVERED', 'READ')),
    receipt_error text,
    receipt_at timestamptz,
    template jsonb,
    primary key (workspace_id, id)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
comment on table deliveries is 'Outbound messages on their way.';
comment on column deliveries.author is 'Who had it sent: what the guard asks.';
comment on column deliveries.state is 'UNCERTAIN: it may have arrived, and is sent again all the same; HELD: it may have arrived, and waits for a person.';
comment on column deliveries.reason is 'Why it was withheld, is held or dead; NULL otherwise.';
comment on column deliveries.text_from is 'The first character, from 1, of the part of the message''s text that it carries; NULL: it carries all of it.';
comment on column deliveries.text_chars is 'How many characters of the text it carries; NULL: all.';
comment on column deliveries.attempts is 'How many attempts were begun; the number of the newest.';
comment on column deliveries.next_attempt_at is 'When the next attempt is due; NULL: none is.';
comment on column deliveries.slot_at is 'The place in its channel''s rate that the governor granted it; NULL: it needs none, or has used it.';
comment on column deliveries.settled_at is 'When it came to its final state; NULL: it has not.';
comment on column deliveries.vendor_message_id is 'What the vendor calls the message; NULL: it gave no name.';
comment on column deliveries.receipt is 'The furthest that the vendor told of the message after it took it; NULL: nothing.';
comment on column deliveries.receipt_error is 'Why the vendor could not deliver it; NULL: it did not say so.';
comment on column deliveries.receipt_at is 'When that was, by the vendor''s clock where it says; NULL: it told nothing.';
comment on column deliveries.template is 'What makes the message a template of the vendor''s, in the vendor''s words; NULL: it is none.';
create index deliveries_dialogue_idx on deliveries (workspace_id, dialogue_id, id);
-- What an agent's history marks as never sent.
create index deliveries_withheld_idx on deliveries (workspace_id, message_id) where state = 'WITHHELD';
-- How a vendor's word about a message finds it.
create index deliveries_vendor_message_idx on deliveries (workspace_id, channel_id, vendor_message_id)
    where vendor_message_id is not null;
create index deliveries_dead_idx on deliveries (workspace_id, id) where state = 'DEAD';
call protect_table('deliveries');

create table attempts (
    workspace_id uuid not null,
    delivery_id uuid not null,
    number integer not null,
    state text not null check (state in ('STARTED', 'SUCCEEDED', 'FAILED', 'UNKNOWN')),
    http_status integer,
    error text,
    response_excerpt text,
    started_at timestamptz not null,
    ended_at timestamptz,
    primary key (workspace_id, delivery_id, number)
) with (fillfactor = 80);
comment on table attempts is 'The tries at a delivery. A row is committed before its call is made.';
comment on column attempts.state is 'UNKNOWN: nobody knows whether the receiver took the message.';
comment on column attempts.http_status is 'The receiver''s; NULL: there was none.';
comment on column attempts.error is 'What went wrong; NULL: nothing.';
comment on column attempts.response_excerpt is 'The first 1,024 characters of the receiver''s answer; NULL: there was none.';
call protect_table('attempts');

create table governors (
    workspace_id uuid not null,
    key text not null,
    next_at timestamptz not null,
    refused_at timestamptz,
    refusals integer not null default 0,
    primary key (workspace_id, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
comment on table governors is 'Which moment of a limited rate is free next. Grants lie evenly apart, so that no window of a second holds more than its share.';
comment on column governors.key is 'What is limited: channel:<id>, or integration:<id>.';
comment on column governors.refused_at is 'When the vendor refused a call as one too many; NULL: never.';
comment on column governors.refusals is 'How often it did in a row, with less than a minute between.';
call protect_table('governors');
