//! What the README says to type, typed.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use prost::Message as _;
use serde_json::{Value, json};

use crate::harness::Dir;
use crate::restart::{Process, values};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{name}")).unwrap()
}

/// The fenced blocks of a kind.
fn blocks(readme: &str, kind: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = readme;
    while let Some((_, after)) = rest.split_once(&format!("```{kind}\n")) {
        let (block, after) = after.split_once("```").unwrap();
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

/// The commands of the console blocks, each whole.
fn commands(readme: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for block in blocks(readme, "console") {
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                commands.push(command.to_owned());
                continue;
            }
            let command = commands.last_mut().unwrap();
            assert!(command.ends_with('\\'), "{line} goes on with nothing");
            command.push('\n');
            command.push_str(line);
        }
    }
    commands
}

#[test]
fn the_quick_start_talks() {
    let blocks = blocks(&read("README.md"), "sh");
    assert_eq!(blocks[..2], ["./start\n", "./test\n"], "the first two commands");
    let demo = blocks.last().unwrap();
    assert!(demo.contains("./start demo"), "{demo}");
    let output = Command::new("sh").arg("-ec").arg(demo).current_dir(ROOT).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    for line in
        ["customer  Hello!", "agent     You wrote 1 message: “Hello!”", "customer  Is my order on its way?"]
    {
        assert!(said.contains(line), "{line} is missing in:\n{said}\n{complained}");
    }
    assert_eq!(said.matches("agent     ").count(), 2, "{said}");
}

#[test]
fn the_translation_shows_the_same_commands() {
    for kind in ["sh", "console"] {
        assert_eq!(blocks(&read("README.md"), kind), blocks(&read("README.ru.md"), kind));
    }
}

/// Somebody at a terminal who follows the README: types its lines, and puts in what earlier answers showed.
struct Reader {
    home: PathBuf,
    data: PathBuf,
    /// Where the server of this story listens, for where the README's would.
    addresses: BTreeMap<&'static str, String>,
    /// What stands in `<…>`.
    known: BTreeMap<&'static str, String>,
    /// Variables that were set.
    variables: String,
}

impl Reader {
    fn sh(&self, command: &str) -> Command {
        let mut line = format!("{}\n{command}", self.variables);
        for (written, real) in &self.addresses {
            line = line.replace(written, real);
        }
        for (name, value) in &self.known {
            line = line.replace(&format!("<{name}>"), value);
        }
        assert!(!line.contains("<dialogue id>") && !line.contains("<channel id>"), "not shown yet: {line}");
        assert!(!line.contains("<integration id>"), "not shown yet: {line}");
        assert!(!line.contains("<agent id>") && !line.contains("<agent token>"), "not shown yet: {line}");
        // The reader's home is another, the toolchain is not.
        let toolchain = |name: &str, folder: &str| {
            std::env::var_os(name).unwrap_or_else(|| {
                Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(folder).into_os_string()
            })
        };
        let mut sh = Command::new("sh");
        sh.arg("-ec")
            .arg(line)
            .current_dir(ROOT)
            .env("CARGO_HOME", toolchain("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", toolchain("RUSTUP_HOME", ".rustup"))
            .env("HOME", &self.home)
            .env("SWITCHBOARD_DATA_DIR", &self.data)
            .env("NO_PROXY", "127.0.0.1")
            .env("OPENAI_API_KEY", "sk-none")
            .env_remove("SWITCHBOARD_ENDPOINT")
            .env_remove("SWITCHBOARD_API_KEY");
        sh
    }

    fn run(&self, command: &str) -> String {
        let output = self.sh(command).output().unwrap();
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}\n{said}\n{complained}");
        said.into_owned()
    }

    fn learn(&mut self, name: &'static str, value: impl Into<String>) {
        self.known.insert(name, value.into());
    }
}

/// The cells of a table with one row, by heading.
fn only_row(table: &str) -> BTreeMap<&str, &str> {
    let lines: Vec<&str> = table.lines().collect();
    let [headings, row] = lines[..] else { panic!("one row was expected:\n{table}") };
    headings.split_whitespace().zip(row.split_whitespace()).collect()
}

/// What `grpcurl` is told to call, checked against the contract on a machine without it.
fn check_grpcurl(command: &str) {
    let what = command.split_whitespace().last().unwrap();
    if what == "list" {
        return;
    }
    let (service, method) = what.split_once('/').unwrap_or_else(|| panic!("no method in {command}"));
    let files = prost_types::FileDescriptorSet::decode(switchboard_sdk::FILE_DESCRIPTOR_SET).unwrap().file;
    let found = files.iter().any(|file| {
        let services =
            file.service.iter().filter(|each| format!("{}.{}", file.package(), each.name()) == service);
        services.flat_map(|each| &each.method).any(|each| each.name() == method)
    });
    assert!(found, "the contract has no {what}");
    let (_, body) = command.split_once("-d '").unwrap();
    let _: Value = serde_json::from_str(body.split('\'').next().unwrap()).unwrap();
}

#[tokio::test]
async fn the_calls_of_the_readme_work_in_their_order() {
    let dir = Dir::new();
    let home = dir.path().to_owned();
    let data = home.join(".local/share/switchboard");
    let process = Process::start(&data);
    let addresses = values(&data.join("listeners"), &["http", "grpc"]).await;
    let reader = Reader {
        home,
        data,
        addresses: ["127.0.0.1:8000", "127.0.0.1:50051", "127.0.0.1:4010"]
            .into_iter()
            .zip(addresses.into_iter().chain(["127.0.0.1:0".to_owned()]))
            .collect(),
        known: BTreeMap::new(),
        variables: String::new(),
    };
    tokio::task::spawn_blocking(|| type_all(reader)).await.unwrap();
    process.stop();
}

fn type_all(mut reader: Reader) {
    let (commands, mut typed) = (commands(&read("README.md")), BTreeMap::new());
    for command in &commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        // The word that tells one kind of line from another.
        let kind = match words[..] {
            [first, ..] if first.starts_with("KEY=") => "KEY",
            ["./start", program, ..] if program != "agents" => program,
            ["./start", "agents", what, ..] => what,
            ["curl", ..] if command.contains("/new_message") => "new_message",
            ["curl", ..] if command.contains("/dialogue ") => "dialogue",
            ["curl", ..] => "channel",
            ["grpcurl", ..] => "grpcurl",
            _ => panic!("the README says to type {command}, and this story knows not what for"),
        };
        *typed.entry(kind).or_insert(0) += 1;
        match kind {
            "KEY" => {
                reader.variables.clone_from(command);
                assert!(reader.run("echo $KEY").starts_with("sbk_"), "the key is found");
            }
            "create" => {
                let table = reader.run(command);
                let row = only_row(&table);
                reader.learn("agent id", row["ID"]);
                reader.learn("agent token", row["TOKEN"]);
            }
            "channel" => {
                let made: Value = serde_json::from_str(&reader.run(command)).unwrap();
                reader.learn("channel id", made["id"].as_str().unwrap_or_else(|| panic!("{made}")));
            }
            "new_message" => {
                let answer: Value = serde_json::from_str(&reader.run(command)).unwrap();
                assert_eq!(answer, json!({ "status": "Message processed successfully" }));
            }
            "dialogue" => {
                let said: Value = serde_json::from_str(&reader.run(command)).unwrap();
                let said: Vec<_> = said.as_array().unwrap_or_else(|| panic!("{said}")).iter().collect();
                assert_eq!(
                    (said[0]["role"].as_str(), said[0]["text"].as_str()),
                    (Some("USER"), Some("Hello"))
                );
                assert_eq!((said.len(), said[1]["role"].as_str()), (2, Some("ASSISTANT")));
            }
            "send" => {
                let said = reader.run(command);
                assert!(said.contains("RECORDED") && said.contains("ASSISTANT"), "{said}");
            }
            "dialogues" if words[2] == "list" => {
                let table = reader.run(command);
                // The channel's own chat has no name: the row has a cell less than there are headings.
                let row = table.lines().nth(1).unwrap_or_else(|| panic!("{table}"));
                reader.learn("dialogue id", row.split_whitespace().next().unwrap());
            }
            "dialogues" if words[2] == "turn" => {
                let shown = reader.run(command);
                for told in ["REPLIED", "1 calls", "\"instructions\"", "prompt "] {
                    assert!(shown.contains(told), "{told} is missing in\n{shown}");
                }
            }
            "preview" => {
                let answer = reader.run(command);
                assert!(
                    answer.contains("Do you deliver to Spain?") && answer.contains("1 calls"),
                    "{answer}"
                );
            }
            "replay" => {
                let diff = reader.run(command);
                assert!(diff.contains("turns,") && diff.contains("0 without an answer"), "{diff}");
            }
            "dialogues" if words[2] == "show" => {
                let shown = reader.run(command);
                let turn = shown.lines().last().and_then(|line| line.split_whitespace().next());
                reader.learn("turn id", turn.unwrap_or_default());
                for said in ["Hello", "Do you deliver to Spain?", "REPLIED"] {
                    assert!(shown.contains(said), "{said} is missing in\n{shown}");
                }
            }
            "dialogues" => {
                let wanted = match words[2] {
                    "take" => "HUMAN",
                    "reply" => "OPERATOR",
                    "release" => "AGENT",
                    other => panic!("dialogues {other} is typed, and this story knows not what for"),
                };
                let said = reader.run(command);
                assert!(said.contains(wanted), "{wanted} is missing in\n{said}");
            }
            "channels" => {
                let listed: Value = serde_json::from_str(reader.run(command).trim()).unwrap();
                assert_eq!(listed["id"].as_str(), reader.known.get("channel id").map(String::as_str));
            }
            "endpoints" => {
                let made = reader.run(command);
                assert!(made.contains("message.received") && made.contains("secret: whsec_"), "{made}");
            }
            "vendors" => assert!(reader.run(command).contains("amocrm")),
            "integrations" if words[2] == "list" => assert!(reader.run(command).starts_with("ID")),
            "integrations" if words[2] == "create" => {
                let table = reader.run(command);
                reader.learn("integration id", only_row(&table)["ID"]);
            }
            // Whatever it finds: this machine may know nobody outside.
            "integrations" => assert!(reader.run(command).starts_with("STEP")),
            "watch" => watch(&reader, command),
            "simulate" => simulate(&reader, command),
            "grpcurl" => {
                check_grpcurl(command);
                if Command::new("grpcurl").arg("-version").output().is_ok() {
                    let said = reader.run(command);
                    assert!(said.contains("AgentsService") || said.contains("Support"), "{said}");
                }
            }
            other => panic!("{other} is typed, and this story knows not what for"),
        }
    }
    let wanted = [
        ("KEY", 1),
        ("channel", 1),
        ("channels", 1),
        ("create", 2),
        ("dialogue", 1),
        ("dialogues", 6),
        ("endpoints", 1),
        ("grpcurl", 2),
        ("integrations", 3),
        ("new_message", 1),
        ("preview", 1),
        ("replay", 1),
        ("send", 1),
        ("simulate", 1),
        ("vendors", 1),
        ("watch", 1),
    ];
    assert_eq!(typed, BTreeMap::from(wanted), "nothing of the README was left out");
}

/// The simulator says with which variables a server uses it.
fn simulate(reader: &Reader, command: &str) {
    let mut child = reader.sh(&format!("exec {command}")).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said: Vec<_> = lines.take_while(|line| !line.contains("Ctrl-C")).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let said = said.join("\n");
    for variable in [
        "OPENAI_BASE_URL=http://127.0.0.1:",
        "ANTHROPIC_API_KEY=",
        "SWITCHBOARD_ALLOW_PRIVATE_TARGETS=",
        "edna is at http://127.0.0.1:",
        "amoCRM is at http://127.0.0.1:",
        "chats_secret=",
    ] {
        assert!(said.contains(variable), "{variable} is missing in\n{said}");
    }
}

/// Watching ends when the person has seen enough.
fn watch(reader: &Reader, command: &str) {
    let mut child = reader.sh(&format!("exec {command}")).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (sender, seen) = std::sync::mpsc::channel();
    // On a thread of its own, so that a log that stays silent fails the story instead of holding it up.
    let reading = std::thread::spawn(move || {
        for line in lines.filter(|line| line.contains("message.replied")) {
            let _ = sender.send(line);
        }
    });
    let replies = (0..2).filter(|_| seen.recv_timeout(Duration::from_mins(1)).is_ok()).count();
    child.kill().unwrap();
    child.wait().unwrap();
    reading.join().unwrap();
    assert_eq!(replies, 2, "both answers are in the log");
}
