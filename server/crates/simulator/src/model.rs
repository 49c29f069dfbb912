//! The scripted model behind every vendor of models. It is deterministic: it says what the customer wrote since the last
//! reply, unless the newest message of the customer begins with directives.
//!
//! | directive | what it does |
//! | --- | --- |
//! | `/slow <ms>` | answers after so many milliseconds |
//! | `/pace <ms>` | writes a streamed answer with so many milliseconds between two tokens |
//! | `/tokens <n>` | answers with so many words |
//! | `/fail`, `/fail once` | answers 503; `once`: only when it sees this message for the first time |
//! | `/fail permanent` | refuses for good, as a vendor whose account is used up |
//! | `/refuse` | refuses to answer, as a model does |
//! | `/recite` | says everything that it was given |
//! | `/tool <tool> <name> <value>` | calls the tool with these arguments, or with the JSON object that follows its name, then says what it gave |
//!
//! Texts of the customer that begin with `⟦` are notes of the caller, and no messages.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{fault::Fault, vendor::Refusal};

/// How much of the customer's messages an answer quotes, in characters.
const MAX_QUOTE_CHARS: usize = 2_000;
/// The longest pause and the most words that a directive can ask for.
const MOST: u64 = 600_000;

/// What a model remembers: the messages that it has failed on once.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashSet<String>>);

impl Memory {
    /// Gives the model for one call, with the fault that it has to show.
    pub(crate) fn model(&self, fault: Option<Fault>) -> Model<'_> {
        Model { memory: self, fault }
    }
}

/// The model, for one call.
pub(crate) struct Model<'a> {
    memory: &'a Memory,
    fault: Option<Fault>,
}

/// What a model is given, in the order of the request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Given {
    /// What it is told first.
    System(String),
    /// What the customer says.
    User(String),
    /// An image, named by its kind.
    Image(String),
    /// What it said itself.
    Assistant(String),
    /// It called tools.
    Called,
    /// What a tool gave.
    Result(String),
}

/// What it says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Said {
    /// The text, in tokens: joined, they are the text.
    pub(crate) tokens: Vec<String>,
    /// The call of a tool: its name and arguments.
    pub(crate) call: Option<(String, Value)>,
    /// Whether the arguments are to be written so that they are no JSON.
    pub(crate) malformed: bool,
    /// Whether it refuses; the text says so.
    pub(crate) refused: bool,
    /// Whether it reached the longest output.
    pub(crate) cut: bool,
    /// How long it thinks.
    pub(crate) delay: Duration,
    /// How long each token takes.
    pub(crate) pace: Duration,
    /// Tokens in, which are words.
    pub(crate) input_tokens: i64,
    /// Tokens out.
    pub(crate) output_tokens: i64,
}

impl Said {
    /// The text.
    pub(crate) fn text(&self) -> String {
        self.tokens.concat()
    }

    /// The arguments of the call, as a model writes them.
    pub(crate) fn arguments(&self) -> String {
        let mut text = self.call.as_ref().map(|(_, arguments)| arguments.to_string()).unwrap_or_default();
        if self.malformed {
            text.pop();
        }
        text
    }
}

impl Model<'_> {
    /// Answers; `most` is the longest output.
    pub(crate) fn answer(
        &self,
        given: &[Given],
        tools: &[String],
        most: Option<u64>,
    ) -> Result<Said, Refusal> {
        let newest = given.iter().rev().find_map(|given| match given {
            Given::User(text) if !is_note(text) => Some(text.as_str()),
            _ => None,
        });
        let script = Script::read(newest.unwrap_or_default());
        match script.fails {
            Some(Fails::Always) => return Err(Refusal::Down),
            Some(Fails::ForGood) => return Err(Refusal::QuotaUsedUp),
            Some(Fails::Once) if self.forgets(newest.unwrap_or_default()) => return Err(Refusal::Down),
            _ => {}
        }
        let mut said = Said {
            delay: script.delay,
            pace: script.pace,
            malformed: self.fault == Some(Fault::BadArguments),
            refused: script.refuses,
            ..Said::default()
        };
        let result = given.iter().rev().map_while(|given| match given {
            Given::Result(text) => Some(Some(text)),
            // Images may follow the results that they belong to.
            Given::Image(_) => Some(None),
            _ => None,
        });
        let result = result.flatten().next();
        let text = match (script.tool, result) {
            _ if self.fault == Some(Fault::EmptyAnswer) => String::new(),
            _ if script.refuses => "I can't help with that.".to_owned(),
            (Some((tool, _)), Some(result)) => format!("{tool} gave {result}"),
            (Some((tool, arguments)), None) if tools.contains(&tool) => {
                said.call = Some((tool, arguments));
                String::new()
            }
            (Some((tool, _)), None) => format!("I have no tool {tool}"),
            (None, _) if script.recites => recited(given),
            (None, _) if script.tokens > 0 => {
                (1..=script.tokens).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ")
            }
            (None, _) => quote(given),
        };
        said.tokens = text.split_inclusive(' ').map(str::to_owned).collect();
        if let Some(most) = most.and_then(|most| usize::try_from(most).ok())
            && said.tokens.len() > most
        {
            said.tokens.truncate(most);
            said.cut = true;
        }
        said.input_tokens = given.iter().map(Given::tokens).sum();
        let called =
            said.call.as_ref().map_or(0, |(name, arguments)| words(name) + words(&arguments.to_string()));
        said.output_tokens = words(&said.text()) + called;
        Ok(said)
    }

    /// Whether this text is seen for the first time; it is remembered.
    fn forgets(&self, text: &str) -> bool {
        self.memory.0.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned())
    }
}

impl Given {
    fn tokens(&self) -> i64 {
        match self {
            Self::System(text) | Self::User(text) | Self::Assistant(text) | Self::Result(text) => words(text),
            Self::Image(_) => 100,
            Self::Called => 0,
        }
    }
}

/// What the beginning of a message tells the model to do.
#[derive(Debug, Default, PartialEq)]
struct Script {
    delay: Duration,
    pace: Duration,
    tokens: u64,
    fails: Option<Fails>,
    refuses: bool,
    recites: bool,
    tool: Option<(String, Value)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Fails {
    Always,
    Once,
    ForGood,
}

impl Script {
    /// Reads the directives at the beginning of a text; what is not quite one ends them.
    fn read(text: &str) -> Self {
        let mut script = Self::default();
        let mut rest = text.trim_start();
        while let Some(after) = script.directive(rest) {
            rest = after.trim_start();
        }
        script
    }

    /// Reads one directive and gives what follows it.
    fn directive<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let (word, rest) = split(text);
        match word {
            "/slow" | "/pace" | "/tokens" => {
                let (number, rest) = split(rest);
                let number: u64 = number.parse().ok().filter(|number| *number <= MOST)?;
                match word {
                    "/slow" => self.delay = Duration::from_millis(number),
                    "/pace" => self.pace = Duration::from_millis(number),
                    _ => self.tokens = number,
                }
                Some(rest)
            }
            "/fail" => {
                let (how, after) = split(rest);
                let (fails, rest) = match how {
                    "once" => (Fails::Once, after),
                    "permanent" => (Fails::ForGood, after),
                    _ => (Fails::Always, rest),
                };
                self.fails = Some(fails);
                Some(rest)
            }
            "/refuse" => {
                self.refuses = true;
                Some(rest)
            }
            "/recite" => {
                self.recites = true;
                Some(rest)
            }
            "/tool" => {
                let (tool, rest) = split(rest);
                let arguments = match serde_json::from_str::<Value>(rest) {
                    Ok(arguments) if arguments.is_object() => arguments,
                    _ => {
                        let (name, value) = split(rest);
                        let value: Vec<_> = value.split_whitespace().collect();
                        if value.is_empty() {
                            return None;
                        }
                        json!({ "name": name, "value": value.join(" ") })
                    }
                };
                self.tool = Some((tool.to_owned(), arguments));
                Some("")
            }
            _ => None,
        }
    }
}

/// Takes off the first word.
fn split(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

fn is_note(text: &str) -> bool {
    text.starts_with('⟦')
}

/// Says what the customer wrote since the last reply.
fn quote(given: &[Given]) -> String {
    let since = given.iter().rposition(|given| matches!(given, Given::Assistant(_))).map_or(0, |at| at + 1);
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for given in &given[since..] {
        match given {
            Given::User(text) if !is_note(text) => texts.push(format!("“{text}”")),
            Given::Image(kind) => images.push(kind.as_str()),
            _ => {}
        }
    }
    let mut quoted = texts.join(", ");
    if let Some((at, _)) = quoted.char_indices().nth(MAX_QUOTE_CHARS) {
        quoted.truncate(at);
        quoted.push('…');
    }
    let noun = if texts.len() == 1 { "message" } else { "messages" };
    let seen = if images.is_empty() { String::new() } else { format!(" I see: {}", images.join(", ")) };
    format!("You wrote {} {noun}: {quoted}{seen}", texts.len())
}

fn recited(given: &[Given]) -> String {
    let said = given.iter().filter_map(|given| match given {
        Given::System(text) | Given::User(text) | Given::Assistant(text) | Given::Result(text) => {
            Some(text.as_str())
        }
        Given::Image(_) | Given::Called => None,
    });
    said.collect::<Vec<_>>().join("\n")
}

/// Counts the words, which this model takes for tokens.
fn words(text: &str) -> i64 {
    i64::try_from(text.split_whitespace().count()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Given {
        Given::User(text.to_owned())
    }

    fn answer(given: &[Given]) -> Result<Said, Refusal> {
        Memory::default().model(None).answer(given, &["look_up".to_owned()], None)
    }

    #[test]
    fn it_quotes_what_was_written_since_its_last_reply() {
        let given = [
            Given::System("Be kind.".into()),
            user("hello"),
            Given::Assistant("hi".into()),
            user("are you"),
            user("⟦colleague⟧ a moment"),
            Given::Image("image/png".into()),
            user("there?"),
        ];
        let said = answer(&given).unwrap();
        assert_eq!(said.text(), "You wrote 2 messages: “are you”, “there?” I see: image/png");
        assert_eq!((said.input_tokens, said.output_tokens), (110, 10));
    }

    #[test]
    fn directives_follow_each_other() {
        let said = answer(&[user("/slow 20 /pace 5 /tokens 3 please")]).unwrap();
        assert_eq!((said.text().as_str(), said.tokens.len()), ("word1 word2 word3", 3));
        assert_eq!((said.delay, said.pace), (Duration::from_millis(20), Duration::from_millis(5)));
        assert!(answer(&[user("/refuse")]).unwrap().refused);
        let recited = answer(&[Given::System("Be kind.".into()), user("/recite")]).unwrap();
        assert_eq!(recited.text(), "Be kind.\n/recite");
        for no_directive in ["/slow x", "/slow 600001", "please /fail", "/tool", "/tool look_up", "/other"] {
            let said = answer(&[user(no_directive)]).unwrap();
            assert!(said.text().starts_with("You wrote 1 message"), "{no_directive}");
        }
    }

    #[test]
    fn it_fails_as_told() {
        let memory = Memory::default();
        let ask = |text: &str| memory.model(None).answer(&[user(text)], &[], None).map(drop);
        assert_eq!((ask("/fail"), ask("/fail")), (Err(Refusal::Down), Err(Refusal::Down)));
        assert_eq!((ask("/fail once a"), ask("/fail once a")), (Err(Refusal::Down), Ok(())));
        assert_eq!(ask("/fail permanent"), Err(Refusal::QuotaUsedUp));
    }

    #[test]
    fn it_calls_a_tool_and_says_what_it_gave() {
        let given = [user("/tool look_up order  42 b"), Given::Called, Given::Result("{\"ok\":true}".into())];
        let said = answer(&given[..1]).unwrap();
        assert_eq!(said.call, Some(("look_up".into(), json!({"name": "order", "value": "42 b"}))));
        assert_eq!(answer(&given).unwrap().text(), "look_up gave {\"ok\":true}");
        let said = answer(&[user("/tool look_up {\"id\": [1]}")]).unwrap();
        assert_eq!(said.call, Some(("look_up".into(), json!({"id": [1]}))));
        assert_eq!(answer(&[user("/tool other a b")]).unwrap().text(), "I have no tool other");
    }

    #[test]
    fn it_shows_the_faults_of_models() {
        let memory = Memory::default();
        let ask = |fault, text: &str| {
            memory.model(Some(fault)).answer(&[user(text)], &["t".to_owned()], Some(2)).unwrap()
        };
        assert_eq!(ask(Fault::EmptyAnswer, "hi").text(), "");
        let said = ask(Fault::BadArguments, "/tool t a b");
        assert!(serde_json::from_str::<Value>(&said.arguments()).is_err());
        let cut = ask(Fault::HangMs(0), "/tokens 3");
        assert!(cut.cut && cut.text() == "word1 word2 ");
    }
}
