//! What the vendor tells us of an account: form bodies in, events in our words out. Nothing is verified here, and nothing is
//! asked of the vendor: the bodies carry no signature, so what follows from them outside is asked for again first.
//! <https://www.amocrm.ru/developers/content/crm_platform/webhooks-format> (read 2026-11-20)

use domain::{
    FieldViolation,
    crm_event::{ChatMessage, CrmAccount, CrmEvent, CrmHook, UNKNOWN, Writer},
    part::{MAX_PARTS, Part, PartKind},
    vendor::NormalizeError,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    facts::{Word, custom_fields, ids, items, member, number, put, seconds, tags, text},
    form,
};

/// The most events of a body. The vendor's own have a handful.
const MOST_EVENTS: usize = 500;
/// The longest text of one fact, in bytes. Longer ones are cut: the body is kept whole.
const MOST_TEXT_BYTES: usize = 16_384;
/// The longest data of an event that we have no word for, in bytes of JSON.
const MOST_UNKNOWN_BYTES: usize = 4_096;

/// How a member of an entity is called there and here, and how it is read.
type Table = &'static [(&'static str, &'static str, Word)];

const LEAD: Table = &[
    ("id", "lead_id", Word::Number),
    ("name", "name", Word::Text),
    ("price", "price", Word::Number),
    ("pipeline_id", "pipeline_id", Word::Number),
    ("status_id", "status_id", Word::Number),
    ("old_pipeline_id", "old_pipeline_id", Word::Number),
    ("old_status_id", "old_status_id", Word::Number),
];
const CONTACT: Table = &[
    ("id", "contact_id", Word::Number),
    ("name", "name", Word::Text),
    ("company_name", "company_name", Word::Text),
    ("linked_company_id", "company_id", Word::Number),
];
const COMPANY: Table = &[("id", "company_id", Word::Number), ("name", "name", Word::Text)];
const CUSTOMER: Table = &[
    ("id", "customer_id", Word::Number),
    ("name", "name", Word::Text),
    ("next_price", "next_price", Word::Number),
    ("next_date", "next_time", Word::Moment),
    ("status_id", "status_id", Word::Number),
    ("old_status_id", "old_status_id", Word::Number),
];
const TASK: Table = &[
    ("id", "task_id", Word::Number),
    ("task_type", "task_type_id", Word::Number),
    ("text", "text", Word::Text),
    ("old_text", "old_text", Word::Text),
    ("status", "is_completed", Word::Flag),
    ("action_close", "just_completed", Word::Flag),
    ("complete_till", "complete_till", Word::Moment),
];
const NOTE: Table = &[
    ("id", "note_id", Word::Number),
    ("note_type", "note_type", Word::Number),
    ("text", "text", Word::Text),
    ("created_by", "created_user_id", Word::Number),
    ("metadata", "metadata", Word::Text),
];
const TALK: Table = &[
    ("talk_id", "talk_id", Word::Number),
    ("chat_id", "chat_id", Word::Text),
    ("contact_id", "contact_id", Word::Number),
    ("rate", "rate", Word::Number),
    ("is_in_work", "is_in_work", Word::Flag),
    ("is_read", "is_read", Word::Flag),
    ("origin", "origin", Word::Text),
];
const UNSORTED: Table = &[
    ("uid", "uid", Word::Text),
    ("category", "category", Word::Text),
    ("source", "source", Word::Text),
    ("source_uid", "source_uid", Word::Text),
    ("source_id", "source_id", Word::Number),
    ("pipeline_id", "pipeline_id", Word::Number),
    ("lead_id", "lead_id", Word::Number),
];
const MESSAGE: Table = &[
    ("id", "id", Word::Text),
    ("chat_id", "chat_id", Word::Text),
    ("talk_id", "talk_id", Word::Number),
    ("contact_id", "contact_id", Word::Number),
    ("text", "text", Word::Text),
    ("message_type", "message_type", Word::Text),
    ("origin", "origin", Word::Text),
    ("source_id", "source_id", Word::Number),
];
/// What every entity may have.
const COMMON: Table = &[
    ("responsible_user_id", "responsible_user_id", Word::Number),
    ("old_responsible_user_id", "old_responsible_user_id", Word::Number),
    ("created_user_id", "created_user_id", Word::Number),
    ("modified_user_id", "modified_user_id", Word::Number),
    ("created_at", "created_at", Word::Moment),
    ("updated_at", "updated_at", Word::Moment),
];

/// Reads a body.
pub(super) fn read(body: &[u8]) -> Result<CrmHook, NormalizeError> {
    let refused = |detail: String| NormalizeError { fields: vec![FieldViolation::new("body", detail)] };
    let form = form::read(body).map_err(|error| refused(error.to_string()))?;
    let account = form.tree.get("account");
    let mut hook = CrmHook {
        account: CrmAccount {
            id: account
                .and_then(|account| member(account, "id"))
                .or_else(|| form.tree.get("account_id"))
                .and_then(text),
            subdomain: account.and_then(|account| member(account, "subdomain")).and_then(text),
        },
        events: Vec::new(),
    };
    for (root, actions) in &form.tree {
        if matches!(root.as_str(), "account" | "account_id") {
            continue;
        }
        let Value::Object(actions) = actions else {
            hook.events.push(unknown(root, "", actions));
            continue;
        };
        for (action, node) in actions {
            for item in entities(node) {
                if hook.events.len() == MOST_EVENTS {
                    return Err(refused(format!("has more than {MOST_EVENTS} events")));
                }
                hook.events.push(event(root, action, item));
            }
        }
    }
    if form.replaced {
        for event in &mut hook.events {
            event.data.insert("charset_replaced".to_owned(), true.into());
        }
    }
    Ok(hook)
}

/// The entities under an action: a list, a map by ids, a single one, or nothing but ids. One sample nests its list twice.
fn entities(node: &Value) -> Vec<&Value> {
    items(node).into_iter().flat_map(|item| if item.is_array() { items(item) } else { vec![item] }).collect()
}

fn event(root: &str, action: &str, item: &Value) -> CrmEvent {
    let known = match (root, action) {
        ("leads" | "contacts" | "companies" | "customers", "note") => note(root, item),
        ("leads", _) => lead(action, item),
        ("contacts" | "companies", _) => contact(root, action, item),
        ("customers", _) => customer(action, item),
        ("task" | "tasks", _) => task(action, item),
        ("message", "add") => message(item, false),
        ("outgoing_message", "add") => message(item, true),
        ("talk", _) => talk(action, item),
        ("unsorted", _) => unsorted(action, item),
        _ => None,
    };
    let Some(Known { kind, mut data, id, message }) = known else { return unknown(root, action, item) };
    for fact in data.values_mut() {
        cut(fact);
    }
    let (key, lasting) = match id {
        Some(id) => (format!("{root}.{action}:{id}"), true),
        None => (key(root, action, item), has_moment(root, action, item)),
    };
    CrmEvent { kind, key, lasting, data, message }
}

/// An event that we have a word for.
struct Known {
    kind: &'static str,
    data: Map<String, Value>,
    /// The vendor's id of what happened, which never happens again.
    id: Option<String>,
    message: Option<ChatMessage>,
}

impl Known {
    fn new(kind: &'static str, data: Map<String, Value>) -> Self {
        Self { kind, data, id: None, message: None }
    }
}

fn facts(item: &Value, tables: &[Table]) -> Map<String, Value> {
    let mut data = Map::new();
    for (theirs, ours, word) in tables.iter().copied().flatten() {
        let value = member(item, theirs).and_then(|value| word.read(value));
        if !data.contains_key(*ours) {
            put(&mut data, ours, value);
        }
    }
    if let Some(given) = member(item, "tags") {
        data.insert("tags".to_owned(), tags(given));
    }
    if let Some(given) = member(item, "custom_fields") {
        data.insert("custom_fields".to_owned(), custom_fields(given));
    }
    // Older hooks have these alone.
    for (theirs, ours) in [("date_create", "created_at"), ("last_modified", "updated_at")] {
        if !data.contains_key(ours) {
            put(&mut data, ours, member(item, theirs).and_then(|value| Word::Moment.read(value)));
        }
    }
    data
}

/// The facts of an entity, or its id where nothing else is told. `None`: it isn't told which.
fn entity(item: &Value, table: Table, id: &str) -> Option<Map<String, Value>> {
    let mut data = facts(item, &[table, COMMON]);
    if !data.contains_key(id) {
        data.insert(id.to_owned(), number(item)?.into());
    }
    Some(data)
}

fn lead(action: &str, item: &Value) -> Option<Known> {
    let kind = match action {
        "add" => "lead.added",
        "update" => "lead.updated",
        "status" => "lead.stage_changed",
        "delete" => "lead.deleted",
        "restore" => "lead.restored",
        "responsible" => "lead.responsible_changed",
        _ => return None,
    };
    Some(Known::new(kind, entity(item, LEAD, "lead_id")?))
}

/// Contacts, and companies: these come as contacts of another type.
fn contact(root: &str, action: &str, item: &Value) -> Option<Known> {
    let company = root == "companies"
        || member(item, "type").and_then(text).is_some_and(|kind| kind.eq_ignore_ascii_case("company"));
    let kind = match action {
        "add" => "contact.added",
        "update" => "contact.updated",
        "delete" => "contact.deleted",
        "restore" => "contact.restored",
        "responsible" => "contact.responsible_changed",
        _ => return None,
    };
    let (table, id) = if company { (COMPANY, "company_id") } else { (CONTACT, "contact_id") };
    let mut data = entity(item, table, id)?;
    data.insert("type".to_owned(), if company { "company" } else { "contact" }.into());
    if let Some(leads) = member(item, "linked_leads_id") {
        data.insert("lead_ids".to_owned(), ids(leads).into());
    }
    Some(Known::new(kind, data))
}

fn customer(action: &str, item: &Value) -> Option<Known> {
    let kind = match action {
        "add" => "customer.added",
        "update" | "status" => "customer.updated",
        "delete" => "customer.deleted",
        "restore" => "customer.restored",
        "responsible" => "customer.responsible_changed",
        _ => return None,
    };
    Some(Known::new(kind, entity(item, CUSTOMER, "customer_id")?))
}

fn task(action: &str, item: &Value) -> Option<Known> {
    let kind = match action {
        "add" => "task.added",
        "update" => "task.updated",
        "delete" => "task.deleted",
        "responsible" => "task.responsible_changed",
        _ => return None,
    };
    let mut data = entity(item, TASK, "task_id")?;
    about(&mut data, item);
    let result = member(item, "result").and_then(|result| member(result, "text")).and_then(text);
    put(&mut data, "result", result.map(Value::from));
    Some(Known::new(kind, data))
}

fn note(root: &str, item: &Value) -> Option<Known> {
    let note = member(item, "note").unwrap_or(item);
    let mut data = facts(note, &[NOTE, COMMON]);
    about(&mut data, note);
    if !data.contains_key("entity_type") {
        let entity = match root {
            "leads" => "lead",
            "companies" => "company",
            "customers" => "customer",
            _ => "contact",
        };
        data.insert("entity_type".to_owned(), entity.into());
    }
    let id = data.get("note_id")?.to_string();
    Some(Known { id: Some(id), ..Known::new("note.added", data) })
}

fn talk(action: &str, item: &Value) -> Option<Known> {
    let kind = match action {
        "add" => "talk.added",
        "update" => "talk.updated",
        _ => return None,
    };
    let mut data = entity(item, TALK, "talk_id")?;
    about(&mut data, item);
    Some(Known::new(kind, data))
}

fn unsorted(action: &str, item: &Value) -> Option<Known> {
    let decided = member(item, "action").and_then(text);
    let kind = match (action, decided.as_deref()) {
        ("add", _) => "unsorted.added",
        ("update", _) => "unsorted.updated",
        ("delete", Some("accept")) => "unsorted.accepted",
        ("delete", Some("decline")) => "unsorted.declined",
        ("delete", _) => "unsorted.deleted",
        _ => return None,
    };
    let mut data = facts(item, &[UNSORTED, COMMON]);
    if !data.contains_key("uid") {
        data.insert("uid".to_owned(), text(item)?.into());
    }
    let of = |outer: &str, inner: &str| {
        member(item, outer).and_then(|outer| member(outer, inner)).map(ids).filter(|ids| !ids.is_empty())
    };
    let leads = ["data", "accept_result", "decline_result"].iter().find_map(|outer| of(outer, "leads"));
    put(&mut data, "lead_ids", leads.map(Value::from));
    put(&mut data, "contact_ids", of("data", "contacts").map(Value::from));
    put(&mut data, "company_ids", of("data", "companies").map(Value::from));
    let source = member(item, "source_data");
    let of_source = |name: &str| source.and_then(|source| member(source, name));
    put(&mut data, "from", of_source("from").and_then(text).map(Value::from));
    let chat = of_source("origin").and_then(|origin| member(origin, "chat_id")).and_then(text);
    put(&mut data, "chat_id", chat.map(Value::from));
    Some(Known::new(kind, data))
}

fn message(item: &Value, outgoing: bool) -> Option<Known> {
    let mut data = facts(item, &[MESSAGE, COMMON]);
    let id = data.remove("id")?.as_str()?.to_owned();
    data.insert("crm_message_id".to_owned(), id.clone().into());
    about(&mut data, item);
    let outgoing =
        outgoing || member(item, "type").and_then(text).is_some_and(|direction| direction == "outgoing");
    let author = member(item, "author");
    let of_author = |name: &str| author.and_then(|author| member(author, name)).and_then(text);
    put(&mut data, "author_id", of_author("id").map(Value::from));
    put(&mut data, "author_type", of_author("type").map(Value::from));
    put(&mut data, "author_name", of_author("name").map(Value::from));
    let parts: Vec<Part> =
        member(item, "attachment").map(items).unwrap_or_default().into_iter().filter_map(part).collect();
    if let Some(part) = parts.first() {
        data.insert("attachment_url".to_owned(), part.url.clone().into());
    }
    let whole = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let message = ChatMessage {
        id: id.clone(),
        // A bot is never taken for a person, and nor is a writer of whom nothing is told.
        writer: match (outgoing, whole("author_type").as_deref()) {
            (false, _) => Writer::Customer,
            (true, Some("bot") | None) => Writer::Program,
            (true, Some(_)) => Writer::Person,
        },
        text: whole("text").unwrap_or_default(),
        parts: parts.into_iter().take(MAX_PARTS).collect(),
        chat: whole("chat_id"),
        talk: data.get("talk_id").and_then(Value::as_i64),
        lead: data.get("lead_id").and_then(Value::as_i64),
        contact: data.get("contact_id").and_then(Value::as_i64),
        author: whole("author_name"),
        origin: whole("origin"),
        sent_at: member(item, "created_at").and_then(seconds),
    };
    let kind = if outgoing { "message.sent" } else { "message.received" };
    Some(Known { id: Some(id), message: Some(message), ..Known::new(kind, data) })
}

fn part(attachment: &Value) -> Option<Part> {
    let url = member(attachment, "link").and_then(text).filter(|url| url.starts_with("http"))?;
    let kind = match member(attachment, "type").and_then(text).unwrap_or_default().as_str() {
        "picture" | "sticker" => PartKind::Image,
        "voice" | "audio" => PartKind::Audio,
        "video" => PartKind::Video,
        _ => PartKind::File,
    };
    let name = member(attachment, "file_name").and_then(text).unwrap_or_default();
    Some(Part { kind, url, media_type: String::new(), name })
}

/// What a task, note, talk or message belongs to: `entity_type`, `entity_id`, and `lead_id` where that is a lead.
fn about(data: &mut Map<String, Value>, item: &Value) {
    let of = |name: &str| member(item, name);
    let entity = of("entity_type").and_then(text).or_else(|| of("element_type").and_then(text));
    // The numbers are the older way.
    let entity = match entity.as_deref() {
        Some("1" | "contact" | "contacts") => Some("contact"),
        Some("2" | "lead" | "leads") => Some("lead"),
        Some("3" | "company" | "companies") => Some("company"),
        Some("4" | "task" | "tasks") => Some("task"),
        Some("12" | "customer" | "customers") => Some("customer"),
        _ => None,
    };
    let id =
        ["entity_id", "element_id"].iter().find_map(|name| of(name).and_then(number)).filter(|id| *id != 0);
    put(data, "entity_type", entity.map(Value::from));
    put(data, "entity_id", id.map(Value::from));
    if entity == Some("lead") {
        put(data, "lead_id", id.map(Value::from));
    }
}

fn unknown(root: &str, action: &str, item: &Value) -> CrmEvent {
    let mut data = Map::new();
    data.insert("entity".to_owned(), root.into());
    data.insert("action".to_owned(), action.into());
    let fits = item.to_string().len() <= MOST_UNKNOWN_BYTES;
    put(&mut data, "item", fits.then(|| item.clone()));
    CrmEvent {
        kind: UNKNOWN,
        key: key(root, action, item),
        lasting: has_moment(root, action, item),
        data,
        message: None,
    }
}

/// The whole of it, so that two changes within one second are two.
fn key(root: &str, action: &str, item: &Value) -> String {
    let mut digest = Sha256::new();
    for part in [root, action, &item.to_string()] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    format!("digest:{}", hex::encode(digest.finalize()))
}

/// Whether it tells when it happened. When an entity was created says that of nothing but its creation.
fn has_moment(root: &str, action: &str, item: &Value) -> bool {
    let told = |name: &str| member(item, name).is_some();
    told("updated_at")
        || told("last_modified")
        || told("created_at") && (action == "add" || root == "unsorted")
}

fn cut(fact: &mut Value) {
    if let Value::String(text) = fact
        && text.len() > MOST_TEXT_BYTES
    {
        text.truncate(text.floor_char_boundary(MOST_TEXT_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    macro_rules! sample {
        ($name:literal) => {
            include_bytes!(concat!("../../fixtures/amocrm/", $name, ".form"))
        };
    }

    fn told(body: &[u8]) -> Vec<(&'static str, Value)> {
        let hook = read(body).unwrap();
        hook.events.into_iter().map(|event| (event.kind, Value::Object(event.data))).collect()
    }

    #[test]
    fn the_samples_of_the_vendor_are_told_in_our_words() {
        let hook = read(sample!("leads_update")).unwrap();
        let account = CrmAccount { id: Some("31000001".to_owned()), subdomain: Some("acme".to_owned()) };
        assert_eq!(hook.account, account);
        let lead = json!({
            "lead_id": 5001, "name": "Сделка 7", "price": 15000, "pipeline_id": 7_700_001, "status_id": 64_000_001,
            "responsible_user_id": 9001, "created_user_id": 9001, "modified_user_id": 9001,
            "created_at": "2026-03-03T01:06:40Z", "updated_at": "2026-03-03T10:15:30Z",
            "tags": [{ "id": 3301, "name": "vip" }],
            "custom_fields": [
                { "id": 88001, "name": "Город", "values": [{ "value": "Тула" }] },
                { "id": 88002, "name": "Продукты", "values": [{ "value": "A", "enum_id": 71 }, { "value": "B", "enum_id": 72 }] },
                { "id": 88003, "name": "Дата", "values": [{ "value": "1790600400" }] },
            ],
        });
        assert_eq!(told(sample!("leads_update")), [("lead.updated", lead)]);

        let stage = told(sample!("leads_status"));
        assert_eq!(stage[0].0, "lead.stage_changed");
        let of = |name: &str| stage[0].1[name].as_i64().unwrap();
        let stages = ["old_pipeline_id", "old_status_id", "pipeline_id", "status_id"].map(of);
        assert_eq!(stages, [7_700_001, 64_000_001, 7_700_001, 142]);

        let deleted = json!({ "lead_id": 5001, "pipeline_id": 7_700_001, "status_id": 143 });
        assert_eq!(told(sample!("leads_delete")), [("lead.deleted", deleted)]);
        let note = told(sample!("leads_note"));
        let metadata = r#"{"event_source":{"type":1,"author_name":"QA"}}"#;
        let expected = json!({
            "note_id": 991, "note_type": 4, "text": "Hi", "created_user_id": 9001, "metadata": metadata,
            "entity_type": "lead", "entity_id": 5001, "lead_id": 5001,
            "created_at": "2026-03-03 10:20:00", "updated_at": "2026-03-03 10:20:00",
        });
        assert_eq!(note, [("note.added", expected)]);
        let contact = told(sample!("contacts_add"));
        assert_eq!(
            (contact[0].0, &contact[0].1["lead_ids"], &contact[0].1["type"]),
            ("contact.added", &json!([5001]), &json!("contact"))
        );
        let phone = json!([{ "id": 87001, "code": "PHONE", "name": "Телефон", "values": [{ "value": "+79990000001", "enum_id": 161 }] }]);
        assert_eq!(contact[0].1["custom_fields"], phone);
        let task = told(sample!("task_update"));
        assert_eq!(
            (task[0].0, &task[0].1["is_completed"], &task[0].1["result"]),
            ("task.updated", &json!(true), &json!("Done"))
        );
        assert_eq!(
            (&task[0].1["lead_id"], &task[0].1["complete_till"]),
            (&json!(5001), &json!("2026-03-03 12:00:00"))
        );
        let both: Vec<_> = told(sample!("unsorted_add_and_talk_add"));
        assert_eq!((both[0].0, both[1].0), ("talk.added", "unsorted.added"));
        assert_eq!((&both[0].1["is_in_work"], &both[0].1["is_read"]), (&json!(true), &json!(false)));
        assert_eq!((&both[1].1["lead_ids"], &both[1].1["contact_ids"]), (&json!([5001]), &json!([6001])));
        let accepted = told(sample!("unsorted_delete"));
        assert_eq!((accepted[0].0, &accepted[0].1["lead_ids"]), ("unsorted.accepted", &json!([5001])));
    }

    #[test]
    fn a_message_is_read_with_its_lead_and_its_moment() {
        let hook = read(sample!("message_add")).unwrap();
        let [event] = &*hook.events else { panic!("{hook:?}") };
        assert_eq!((event.kind, event.lasting), ("message.received", true));
        assert_eq!(event.key, "message.add:0d4c2b1a-1111-4222-8333-444444444444");
        let message = event.message.as_ref().unwrap();
        assert_eq!((message.lead, message.contact, message.talk), (Some(5001), Some(6001), Some(412)));
        assert_eq!((message.text.as_str(), message.writer), ("Смотрите фото", Writer::Customer));
        assert_eq!(message.parts[0].kind, PartKind::Image);
        assert_eq!(message.sent_at.unwrap().unix_timestamp(), 1_772_533_100);
        let back = String::from_utf8_lossy(sample!("message_add"))
            .replace("%5Btype%5D=incoming", "%5Btype%5D=outgoing")
            .replace("%5Btype%5D=external", "%5Btype%5D=internal");
        let hook = read(back.as_bytes()).unwrap();
        assert_eq!(hook.events[0].kind, "message.sent");
        assert_eq!(hook.events[0].message.as_ref().unwrap().writer, Writer::Person);
        let bot = back.replace("%5Btype%5D=internal", "%5Btype%5D=bot");
        let hook = read(bot.as_bytes()).unwrap();
        assert_eq!(hook.events[0].message.as_ref().unwrap().writer, Writer::Program);
    }

    #[test]
    fn the_same_change_has_one_key_and_another_has_another() {
        let keys = |body: &str| -> Vec<_> {
            read(body.as_bytes())
                .unwrap()
                .events
                .into_iter()
                .map(|event| (event.key, event.lasting))
                .collect()
        };
        let lead = "leads[update][0][id]=1&leads[update][0][updated_at]=1772532930&leads[update][0][name]=";
        assert_eq!(keys(&format!("{lead}a")), keys(&format!("{lead}a&account[id]=7")));
        assert_ne!(keys(&format!("{lead}a")), keys(&format!("{lead}b")), "two changes in a second");
        assert!(keys(lead)[0].1 && !keys("leads[delete][0][id]=1")[0].1);
        assert_ne!(keys("leads[delete][0][id]=1"), keys("leads[delete][0][id]=2"));
    }

    #[test]
    fn odd_shapes_are_read_as_far_as_they_go() {
        let kinds =
            |body: &str| -> Vec<_> { told(body.as_bytes()).into_iter().map(|(kind, _)| kind).collect() };
        // Single ones, bare ids, lists in lists, maps by ids, and numbers as numbers.
        for body in [
            "leads[delete][id]=7",
            "leads[delete]=7",
            "leads[delete][0]=7",
            "leads[delete][0][0][id]=7",
            "leads[delete][7][id]=7",
            r#"{"leads": {"delete": [{"id": 7}]}}"#,
            r#"{"leads": {"delete": 7}}"#,
        ] {
            assert_eq!(told(body.as_bytes()), [("lead.deleted", json!({ "lead_id": 7 }))], "{body}");
        }
        assert_eq!(kinds("task[update][0][0][id]=1"), ["task.updated"]);
        assert_eq!(kinds("contacts[add][0][id]=1&contacts[add][0][type]=company"), ["contact.added"]);
        assert_eq!(
            told(b"contacts[add][0][id]=1&contacts[add][0][type]=company")[0].1["company_id"],
            json!(1)
        );
        assert_eq!(
            kinds("outgoing_message[add][0][id]=u&outgoing_message[add][0][text]=x"),
            ["message.sent"]
        );
        // What we have no word for is kept and marked: roots, actions, entities without their id.
        for body in [
            "add[0][id]=1",
            "gadgets[add][0][id]=1",
            "leads[explode][0][id]=1",
            "leads[add][0][name]=x",
            "talk=3",
            "message[add][0][text]=x",
            "leads=",
            "chat_template_review[add][0][id]=4",
        ] {
            assert_eq!(kinds(body), [UNKNOWN], "{body}");
        }
        assert_eq!(
            told(b"gadgets[add][0][id]=1")[0].1,
            json!({ "entity": "gadgets", "action": "add", "item": { "id": "1" } })
        );
        assert!(kinds("account[id]=1&account_id=2").is_empty() && kinds("").is_empty());
        assert_eq!(read(b"account_id=2").unwrap().account.id.unwrap(), "2");
        let many: Vec<_> = (0..=MOST_EVENTS).map(|n| format!("leads[delete][{n}]=1")).collect();
        assert!(read(many.join("&").as_bytes()).is_err());
        let lossy = told(b"leads[add][0][id]=1&leads[add][0][name]=%CF%F0");
        assert_eq!(lossy[0].1["charset_replaced"], json!(true));
    }
}
