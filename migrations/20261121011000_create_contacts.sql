-- Customers, and what vendors call them.
create table contacts (
    workspace_id uuid not null,
    id uuid not null,
    name text not null default '',
    phone text not null default '',
    email text not null default '',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (workspace_id, id)
);
comment on table contacts is 'Customers. A dialogue names the one that it is held with.';
comment on column contacts.name is 'What the customer is called; empty: not known. The last that was told wins, as for phone and email.';
comment on column contacts.phone is 'The telephone number as it was told; empty: not known.';
comment on column contacts.email is 'The e-mail address as it was told; empty: not known.';
call protect_table('contacts');

create table contact_identities (
    workspace_id uuid not null,
    vendor text collate "C" not null,
    integration_id uuid not null,
    external_id text collate "C" not null,
    contact_id uuid not null,
    created_at timestamptz not null,
    primary key (workspace_id, vendor, integration_id, external_id)
);
comment on table contact_identities is 'What vendors call a contact: the way to find it.';
comment on column contact_identities.vendor is 'The vendor, or the kind of its ids where it has several.';
comment on column contact_identities.integration_id is 'Whose ids they are; the nil UUID: the vendor''s own, the same for all of its accounts.';
-- To look a customer up by an id alone.
create index contact_identities_external_idx on contact_identities (workspace_id, external_id);
create index contact_identities_contact_idx on contact_identities (workspace_id, contact_id);
call protect_table('contact_identities');

-- The identities that a contact is told with: `{"identities": [{"vendor", "integration_id", "external_id"}, …]}`, in order.
create function identities_of(p_contact jsonb)
returns table (vendor text, integration_id uuid, external_id text, n bigint)
language sql immutable parallel safe
begin atomic
    select i.value ->> 'vendor',
           coalesce((i.value ->> 'integration_id')::uuid, '00000000-0000-0000-0000-000000000000'),
           i.value ->> 'external_id', i.n
    from jsonb_array_elements(p_contact -> 'identities') with ordinality as i (value, n);
end;

-- Takes the identities of a batch that nobody has, in one order, for the contacts that their messages would make. Whoever
-- takes the same ones meanwhile waits for us, or we for them: after this statement all of them are there, and each belongs
-- to one contact, or to one that we are about to make.
create function take_identities(p_workspace uuid[], p_links jsonb[], p_which integer[], p_at timestamptz[])
returns void
language sql
set search_path = public, pg_temp
begin atomic
    insert into contact_identities (workspace_id, vendor, integration_id, external_id, contact_id, created_at)
    select distinct on (1, 2, 3, 4) p_workspace[w.n], i.vendor, i.integration_id, i.external_id,
           (p_links[w.n] #>> '{contact,id}')::uuid, p_at[w.n]
    from unnest(p_which) as w (n), identities_of(p_links[w.n] -> 'contact') i
    order by 1, 2, 3, 4, w.n
    on conflict do nothing;
end;

-- Finds the contact that is told of, or makes it, and notes what is told: the last that was said wins. Its identities have
-- been taken. It is the contact that one of them belongs to, the first if they belong to several (contacts are never
-- merged); else `p_known`, the dialogue's, unless that one has another id of the same kind and so is somebody else.
create function know_contact(p_workspace uuid, p_known uuid, p_contact jsonb, p_at timestamptz)
returns uuid
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_contact uuid;
    v_owner uuid;
    v_one record;
begin
    -- One by one and by all of the key: a join would be planned while the table is young, to read all of it.
    for v_one in select i.* from identities_of(p_contact) i order by i.n loop
        select k.contact_id into v_owner from contact_identities k
        where k.workspace_id = p_workspace and k.vendor = v_one.vendor and k.integration_id = v_one.integration_id
            and k.external_id = v_one.external_id;
        -- Held until the dialogue names it: a contact is deleted with its last dialogue.
        perform from contacts c where c.workspace_id = p_workspace and c.id = v_owner for key share;
        if found then
            v_contact := v_owner;
            exit;
        end if;
    end loop;

    if v_contact is null and p_known is not null then
        with theirs as materialized (
            select k.vendor, k.integration_id, k.external_id from contact_identities k
            where k.workspace_id = p_workspace and k.contact_id = p_known
        )
        select p_known into v_contact
        where not exists (
            select from identities_of(p_contact) i join theirs t using (vendor, integration_id)
            where t.external_id <> i.external_id);
    end if;

    if v_contact is null then
        v_contact := (p_contact ->> 'id')::uuid;
        insert into contacts (workspace_id, id, name, phone, email, created_at, updated_at)
        values (p_workspace, v_contact, coalesce(p_contact ->> 'name', ''), coalesce(p_contact ->> 'phone', ''),
            coalesce(p_contact ->> 'email', ''), p_at, p_at);
        perform tell_event(p_workspace, 'contact.created', null, v_contact, '{}', p_at);
    else
        update contacts c
        set name = coalesce(nullif(p_contact ->> 'name', ''), c.name),
            phone = coalesce(nullif(p_contact ->> 'phone', ''), c.phone),
            email = coalesce(nullif(p_contact ->> 'email', ''), c.email),
            updated_at = greatest(p_at, c.updated_at)
        where c.workspace_id = p_workspace and c.id = v_contact
            and (c.name <> coalesce(nullif(p_contact ->> 'name', ''), c.name)
                or c.phone <> coalesce(nullif(p_contact ->> 'phone', ''), c.phone)
                or c.email <> coalesce(nullif(p_contact ->> 'email', ''), c.email));
        if found then
            perform tell_event(p_workspace, 'contact.updated', null, v_contact, '{}', p_at);
        end if;
    end if;

    -- What was taken for another contact that is not going to be made.
    for v_one in select i.* from identities_of(p_contact) i loop
        update contact_identities k set contact_id = v_contact
        where k.workspace_id = p_workspace and k.vendor = v_one.vendor and k.integration_id = v_one.integration_id
            and k.external_id = v_one.external_id and k.contact_id <> v_contact
            and not exists (select from contacts c where c.workspace_id = p_workspace and c.id = k.contact_id);
    end loop;
    return v_contact;
end
$$;

-- Notes whom a dialogue is held with and what the CRM knows it as; what is not told stays. The caller has locked the
-- dialogue. `p_link`: `{"contact": {"id", "identities", "name", "phone", "email"}, "crm": {"integration_id", "lead_id",
-- "contact_id", "source_external_id"}}`, of which anything but the contact's id may be missing.
create function link_dialogue(p_workspace uuid, p_dialogue uuid, p_link jsonb, p_at timestamptz)
returns void
language plpgsql
set search_path = public, pg_temp
as $$
declare
    v_was dialogues;
    v_is dialogues;
    v_crm jsonb := p_link -> 'crm';
begin
    select * into v_was from dialogues where workspace_id = p_workspace and id = p_dialogue;
    v_is := v_was;
    if p_link ? 'contact' then
        v_is.contact_id := know_contact(p_workspace, v_was.contact_id, p_link -> 'contact', p_at);
    end if;
    v_is.crm_integration_id := coalesce((v_crm ->> 'integration_id')::uuid, v_was.crm_integration_id);
    v_is.crm_lead_id := coalesce(v_crm ->> 'lead_id', v_was.crm_lead_id);
    v_is.crm_contact_id := coalesce(v_crm ->> 'contact_id', v_was.crm_contact_id);
    v_is.crm_source_id := coalesce(v_crm ->> 'source_external_id', v_was.crm_source_id);
    if v_is is not distinct from v_was then
        return;
    end if;
    v_is.updated_at := v_was.updated_at + interval '1 microsecond';
    update dialogues
    set contact_id = v_is.contact_id, crm_integration_id = v_is.crm_integration_id, crm_lead_id = v_is.crm_lead_id,
        crm_contact_id = v_is.crm_contact_id, crm_source_id = v_is.crm_source_id, version = version + 1,
        updated_at = v_is.updated_at
    where workspace_id = p_workspace and id = p_dialogue;
    perform tell_event(p_workspace, 'dialogue.updated', p_dialogue, p_dialogue,
        jsonb_strip_nulls(jsonb_build_object('contact_id', v_is.contact_id, 'crm', jsonb_build_object(
            'integration_id', v_is.crm_integration_id, 'lead_id', v_is.crm_lead_id, 'contact_id', v_is.crm_contact_id,
            'source_external_id', v_is.crm_source_id))), v_is.updated_at);
end
$$;
