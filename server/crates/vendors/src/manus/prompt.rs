//! What a task is told. It takes one message at a time, so the dialogue is written into it.

use domain::{
    dialogue::{Message, Role},
    engine::Completion,
    part::PartKind,
    vendor::{FailureKind, Retry, VendorError},
};
use serde_json::{Value, json};

use super::failure;
use crate::transcript::entry;

/// The longest text of a message, in tokens as we estimate them. Manus takes about 5,000.
const MOST_TOKENS: usize = 4_500;
/// How many files a message may carry.
const MOST_FILES: usize = 10;

const TASK: &str = "You write to a customer. Below is the dialogue, oldest first; each entry begins with who wrote it. \
                    Answer what the customer wrote last. Your last message is sent to the customer as it is: it must \
                    hold the answer alone, and no notes on your work.";

/// The message that begins a task: the instructions and the dialogue, as much of its end as fits.
pub(super) fn first(request: &Completion) -> Result<Vec<Value>, VendorError> {
    let instructions = request.instructions.trim();
    let head = if instructions.is_empty() { TASK.to_owned() } else { format!("{instructions}\n\n{TASK}") };
    let newest = request.history.iter().rposition(|message| message.role == Role::Assistant);
    // What the customer wrote since the last reply must be in it; what was said before may be left out.
    let must = newest.map_or(0, |at| at + 1);
    content(&head, &request.history, must)
}

/// The message that goes on with a task: what others wrote after this message of the dialogue.
pub(super) fn since(request: &Completion, through: i64) -> Result<Vec<Value>, VendorError> {
    let news: Vec<Message> = request
        .history
        .iter()
        .filter(|message| message.seq > through && message.role != Role::Assistant)
        .cloned()
        .collect();
    content("", &news, 0)
}

fn content(head: &str, messages: &[Message], must: usize) -> Result<Vec<Value>, VendorError> {
    let entries: Vec<String> = messages.iter().map(entry).collect();
    let mut room = MOST_TOKENS.saturating_sub(tokens(head));
    let mut first = entries.len();
    while let Some(before) = first.checked_sub(1) {
        let needed = tokens(&entries[before]);
        if needed > room {
            break;
        }
        room -= needed;
        first = before;
    }
    if first > must {
        let detail = format!("the message is longer than Manus takes, about {MOST_TOKENS} tokens");
        return Err(failure(FailureKind::InputTooLong, &detail, Retry::Never));
    }
    let texts = [head].into_iter().chain(entries[first..].iter().map(String::as_str));
    let text = texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n");
    let mut content = vec![json!({ "type": "text", "text": text })];
    let files = messages[must..].iter().filter(|message| message.role == Role::User);
    let files = files.flat_map(|message| &message.parts).filter(|part| part.kind != PartKind::Location);
    content.extend(files.take(MOST_FILES).map(|part| {
        let mut file = json!({ "type": "file", "file_url": part.url });
        if !part.name.is_empty() {
            file["filename"] = json!(part.name);
        }
        if !part.media_type.is_empty() {
            file["mime_type"] = json!(part.media_type);
        }
        file
    }));
    Ok(content)
}

/// Estimates tokens from above: four letters of Latin script to one, two of any other.
fn tokens(text: &str) -> usize {
    let ascii = text.chars().filter(char::is_ascii).count();
    let other = text.chars().count() - ascii;
    ascii.div_ceil(4) + other.div_ceil(2) + 1
}

#[cfg(test)]
mod tests {
    use domain::part::Part;

    use super::*;
    use crate::conversation::tests::request;

    fn text(content: &[Value]) -> &str {
        content[0]["text"].as_str().unwrap()
    }

    #[test]
    fn a_task_begins_with_the_instructions_and_as_much_of_the_dialogue_as_fits() {
        let long = "word ".repeat(3_000);
        let request = request(&[
            (Role::User, &long),
            (Role::Assistant, "hi"),
            (Role::Employee, "⟦you⟧ mine"),
            (Role::User, "now?"),
        ]);
        let content = first(&request).unwrap();
        let expected = format!("Be kind.\n\n{TASK}\n\n⟦customer⟧ {long}\n\n⟦you⟧ hi");
        assert!(text(&content).starts_with(&expected), "{}", text(&content));
        assert!(text(&content).ends_with("⟦colleague⟧ [you⟧ mine\n\n⟦customer⟧ now?"));

        let mut longer = request.clone();
        longer.history[0].text = "word ".repeat(4_000);
        assert!(
            text(&first(&longer).unwrap()).contains("⟦you⟧ hi")
                && !text(&first(&longer).unwrap()).contains("word")
        );
        longer.history[3].text = "word ".repeat(4_000);
        assert_eq!(first(&longer).unwrap_err().kind, FailureKind::InputTooLong);
    }

    #[test]
    fn it_goes_on_with_what_is_new_and_carries_its_files() {
        let mut request = request(&[
            (Role::User, "one"),
            (Role::Assistant, "hi"),
            (Role::System, "note"),
            (Role::User, "two"),
        ]);
        let image = Part {
            kind: PartKind::Image,
            url: "https://x/a.png".into(),
            media_type: "image/png".into(),
            name: "a.png".into(),
        };
        let place = Part { kind: PartKind::Location, url: "geo:1,2".into(), ..image.clone() };
        request.history[3].parts = vec![image, place];
        let content = since(&request, 1).unwrap();
        let told =
            "⟦notice⟧ note\n\n⟦customer⟧ two\n[image “a.png”: https://x/a.png]\n[location “a.png”: geo:1,2]";
        assert_eq!(text(&content), told);
        let file = json!({"type": "file", "file_url": "https://x/a.png", "filename": "a.png", "mime_type": "image/png"});
        assert_eq!(content[1..], [file]);
    }
}
