//! What the README says to type, typed.

use std::process::Command;

/// The fenced blocks of the README that are marked as shell.
fn blocks(readme: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = readme;
    while let Some((_, after)) = rest.split_once("```sh\n") {
        let (block, after) = after.split_once("```").unwrap();
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

#[test]
fn the_quick_start_talks() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let readme = std::fs::read_to_string(format!("{root}/README.md")).unwrap();
    let blocks = blocks(&readme);
    assert_eq!(blocks[..2], ["./start\n", "./test\n"], "the first two commands");
    let demo = blocks.last().unwrap();
    assert!(demo.contains("./start demo"), "{demo}");
    let output = Command::new("sh").arg("-ec").arg(demo).current_dir(root).output().unwrap();
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
    let read = |name| std::fs::read_to_string(format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert_eq!(blocks(&read("README.md")), blocks(&read("README.ru.md")));
    let console =
        |text: &str| text.split("```console\n").nth(1).unwrap().split("```").next().unwrap().to_owned();
    assert_eq!(console(&read("README.md")), console(&read("README.ru.md")));
}
