//! Texts of callers who tell a dialogue in one, with marks that say who said what: `⟦customer⟧ …`.

use crate::model::Given;

/// Reads a text in which who said what is marked; another is the customer's.
pub(crate) fn read(text: &str) -> Vec<Given> {
    let mut given = Vec::new();
    for (at, entry) in text.split("⟦").enumerate() {
        match entry.split_once("⟧ ") {
            Some(("customer", said)) => given.push(Given::User(said.trim_end().to_owned())),
            Some(("you", said)) => given.push(Given::Assistant(said.trim_end().to_owned())),
            Some((who, said)) => given.push(Given::System(format!("{who}: {}", said.trim_end()))),
            None if at == 0 && !text.contains('⟦') => given.push(Given::User(entry.to_owned())),
            None if entry.is_empty() => {}
            None => given.push(Given::System(entry.trim_end().to_owned())),
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_say_who_said_what() {
        let user = |text: &str| Given::User(text.to_owned());
        assert_eq!(read("hello"), [user("hello")]);
        let expected = [
            Given::System("Be kind.".into()),
            user("a\nb"),
            Given::Assistant("c".into()),
            Given::System("notice: d".into()),
            user("e"),
        ];
        assert_eq!(read("Be kind.\n\n⟦customer⟧ a\nb\n\n⟦you⟧ c\n⟦notice⟧ d\n⟦customer⟧ e"), expected);
    }
}
