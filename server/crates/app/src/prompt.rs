//! What an engine is given: the one place where a [`Completion`] is put together, for turns, previews and replays alike.
//! Pure: facts in, request out, so that the same facts give the same bytes.
//!
//! What is not among the facts can't reach the model, whatever a customer writes: they are of one dialogue, and hold no
//! secret.

use domain::{
    DialogueId, Timestamp,
    agent::Engine,
    dialogue::{DialogueFacts, Message, Role},
    engine::{Completion, Step, ToolSpec},
    language,
    profile::Profile,
    template,
    window::HistoryWindow,
};
use serde_json::Value;
use store::turns::OpenStep;

/// All that a request depends on.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    /// Who writes, and how.
    pub(crate) engine: &'a Engine,
    /// What the agent's owner wants the model to be told first, with its variables.
    pub(crate) instructions: &'a str,
    /// What the agent knows and may do.
    pub(crate) profile: &'a Profile,
    /// What is known of the dialogue beside its messages.
    pub(crate) known: &'a DialogueFacts,
    /// The dialogue.
    pub(crate) dialogue: DialogueId,
    /// The dialogue so far, oldest first; what this turn answers comes last.
    pub(crate) history: &'a [Message],
    /// How much of it the engine is given.
    pub(crate) window: HistoryWindow,
    /// The steps of this turn so far, with what their tools gave.
    pub(crate) steps: Vec<Step>,
    /// The tools that may be called.
    pub(crate) tools: Vec<ToolSpec>,
    /// Which run of the turn it is.
    pub(crate) run: i32,
    /// The present moment.
    pub(crate) at: Timestamp,
    /// What the engine noted of the dialogue.
    pub(crate) notes: Option<Value>,
}

/// Puts the request together.
pub(crate) fn build(facts: Facts<'_>) -> Completion {
    // All else looks at no more than the engine is given, so that a recording has all that it takes.
    let facts = Facts { history: facts.window.cut(facts.history), ..facts };
    Completion {
        engine: facts.engine.clone(),
        dialogue: facts.dialogue,
        instructions: instructions(&facts),
        history: facts.history.to_vec(),
        at: facts.at,
        run: facts.run,
        tools: facts.tools,
        steps: facts.steps,
        notes: facts.notes,
    }
}

/// The instructions with their variables put in, and a sentence about the language where they don't speak of it.
fn instructions(facts: &Facts<'_>) -> String {
    let clock = facts.profile.zone().at(facts.at);
    let language = language(facts);
    let mut text = template::render(facts.instructions, |name| {
        Some(match name {
            "agent.display_name" => facts.known.agent.clone(),
            "channel.display_name" => facts.known.channel.clone(),
            "channel.vendor" => facts.known.vendor.clone(),
            "dialogue.chat" => facts.known.chat.clone(),
            "dialogue.id" => facts.dialogue.to_string(),
            "now" => clock.now.clone(),
            "date" => clock.date.clone(),
            "time" => clock.time.clone(),
            "weekday" => clock.weekday.to_owned(),
            "time_zone" => facts.profile.time_zone.clone(),
            "language" => language.unwrap_or_default().to_owned(),
            _ => match facts.known.attributes.get(template::attribute(name)?)? {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            },
        })
    });
    // What is in it is never read for variables.
    let crm = facts.known.crm.as_ref().and_then(|crm| facts.profile.crm.tell(crm, facts.at));
    if let Some(crm) = crm {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&crm);
    }
    if let Some(language) = language.filter(|_| !template::uses(facts.instructions, "language")) {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str("Answer in ");
        text.push_str(language);
        text.push('.');
    }
    text
}

/// The English name of the language to answer in. `None`: the agent says nothing of languages.
fn language(facts: &Facts<'_>) -> Option<&'static str> {
    let said = facts.history.iter().rev().filter(|message| message.role == Role::User);
    let code = language::detect(said.map(|message| message.text.as_str()), &facts.profile.languages);
    language::name(code.unwrap_or(&facts.profile.default_language))
}

/// A committed step, as this engine may be given it: what another vendor wanted handed back is none of its business.
pub(crate) fn known_step(open: &OpenStep, results: Vec<Value>, engine: &Engine) -> Step {
    let mut answer = open.answer.clone();
    if open.vendor.as_ref().is_some_and(|vendor| *vendor != engine.vendor) {
        answer.carry = None;
    }
    Step { answer, results }
}

#[cfg(test)]
mod tests {
    use domain::{MessageId, engine::Answer};
    use serde_json::json;
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    fn message(text: &str) -> Message {
        Message {
            id: MessageId(Uuid::nil()),
            dialogue: DialogueId(Uuid::nil()),
            seq: 1,
            role: Role::User,
            text: text.to_owned(),
            parts: Vec::new(),
            external_id: "1".to_owned(),
            turn: None,
            created_at: Timestamp::UNIX_EPOCH,
            metadata: serde_json::Map::new(),
            sent_at: None,
        }
    }

    fn engine(vendor: &str) -> Engine {
        serde_json::from_value(json!({
            "vendor": vendor, "model": "", "temperature": null, "max_output_tokens": null, "settings": {}
        }))
        .unwrap()
    }

    fn told(instructions: &str, profile: &Profile, said: &str) -> String {
        let known = DialogueFacts {
            agent: "Ann".to_owned(),
            channel: "Shop".to_owned(),
            vendor: "generic_http".to_owned(),
            chat: "77".to_owned(),
            attributes: json!({ "plan": "gold", "visits": 3, "note": "{{agent.display_name}}" }),
            crm: None,
        };
        build(Facts {
            engine: &engine("mock"),
            instructions,
            profile,
            known: &known,
            dialogue: DialogueId(Uuid::nil()),
            history: &[message(said)],
            window: profile.history,
            steps: Vec::new(),
            tools: Vec::new(),
            run: 1,
            at: datetime!(2026-11-21 23:30 UTC),
            notes: None,
        })
        .instructions
    }

    #[test]
    fn variables_are_put_in() {
        let profile = Profile { time_zone: "Asia/Tokyo".to_owned(), ..Profile::default() };
        for (instructions, text) in [
            ("I am {{agent.display_name}} of {{channel.display_name}}.", "I am Ann of Shop."),
            ("{{channel.vendor}} {{dialogue.chat}}", "generic_http 77"),
            ("{{date}} {{time}} {{weekday}} {{time_zone}}", "2026-11-22 08:30 Sunday Asia/Tokyo"),
            ("{{now}}", "2026-11-22T08:30:00+09:00"),
            ("{{attributes.plan}} {{attributes.visits}} {{attributes.none|-}}", "gold 3 -"),
            ("{{attributes.note}}", "{{agent.display_name}}"),
            ("{{language|any}}", "any"),
        ] {
            assert_eq!(told(instructions, &profile, "{{now}}"), text, "{instructions}");
        }
    }

    #[test]
    fn the_language_is_told_in_a_sentence_or_where_it_is_asked_for() {
        let profile = Profile {
            languages: vec!["en".to_owned(), "ru".to_owned()],
            default_language: "en".to_owned(),
            ..Profile::default()
        };
        let russian = "Здравствуйте, когда вы открыты?";
        assert_eq!(told("Be kind.", &profile, russian), "Be kind.\n\nAnswer in Russian.");
        assert_eq!(told("", &profile, "👍"), "Answer in English.");
        assert_eq!(told("Speak {{language}}.", &profile, russian), "Speak Russian.");
        assert_eq!(told("Be kind.", &Profile::default(), russian), "Be kind.");
    }

    #[test]
    fn what_one_vendor_wants_back_is_not_given_to_another() {
        let open = OpenStep {
            answer: Answer { carry: Some(json!("signed")), ..Answer::default() },
            results: None,
            vendor: Some("gemini".to_owned()),
        };
        let carry = |vendor: &str| known_step(&open, Vec::new(), &engine(vendor)).answer.carry;
        assert_eq!((carry("gemini"), carry("openai")), (Some(json!("signed")), None));
    }
}
