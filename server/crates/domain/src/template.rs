//! Texts with variables: `{{name}}`, or `{{name|what stands there when it is missing}}`. `\{{` is two plain braces.
//!
//! A text is read once: what is put in for a variable is never read again, so nothing that a customer wrote, or a tool
//! noted of it, is ever expanded.

/// Where a variable's value is not from the agent's configuration but from what was noted of the dialogue.
const ATTRIBUTES: &str = "attributes.";
/// The longest name of an attribute, in characters.
const MAX_ATTRIBUTE_CHARS: usize = 100;

/// The variables that instructions may use, beside `attributes.<name>`.
pub const VARIABLES: &[&str] = &[
    "agent.display_name",
    "channel.display_name",
    "channel.vendor",
    "dialogue.chat",
    "dialogue.id",
    "now",
    "date",
    "time",
    "weekday",
    "time_zone",
    "language",
];

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Variable { name: &'a str, default: &'a str },
}

/// Reads a text part by part. What is wrong with it is named for people.
fn parse(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        if let Some(before) = rest[..at].strip_suffix('\\') {
            parts.push(Part::Text(before));
            parts.push(Part::Text("{{"));
            rest = &rest[at + 2..];
            continue;
        }
        parts.push(Part::Text(&rest[..at]));
        let inside = &rest[at + 2..];
        let end =
            inside.find("}}").ok_or_else(|| "has {{ without }}; plain braces are written \\{{".to_owned())?;
        let (name, default) = inside[..end].split_once('|').unwrap_or((&inside[..end], ""));
        parts.push(Part::Variable { name: name.trim(), default: default.trim() });
        rest = &inside[end + 2..];
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

fn is_known(name: &str) -> bool {
    VARIABLES.contains(&name)
        || name.strip_prefix(ATTRIBUTES).is_some_and(|name| {
            (1..=MAX_ATTRIBUTE_CHARS).contains(&name.chars().count()) && !name.contains(['{', '}'])
        })
}

/// Checks a text when it is saved.
///
/// # Errors
/// What is wrong with it, for people, to follow the field's name.
pub fn check(text: &str) -> Result<(), String> {
    let unknown = parse(text)?.into_iter().find_map(|part| match part {
        Part::Variable { name, .. } if !is_known(name) => Some(name.chars().take(100).collect::<String>()),
        _ => None,
    });
    unknown.map_or(Ok(()), |name| {
        let known = VARIABLES.join(", ");
        Err(format!("uses the unknown variable `{name}`; known are {known}, attributes.<name>"))
    })
}

/// Whether a text uses this variable.
pub fn uses(text: &str, variable: &str) -> bool {
    parse(text)
        .unwrap_or_default()
        .iter()
        .any(|part| matches!(part, Part::Variable { name, .. } if *name == variable))
}

/// Puts in the values; a missing or empty one becomes its default. A text that [`check`] would refuse, which was saved
/// before the rules were these, stays as it is.
pub fn render(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let Ok(parts) = parse(text) else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Variable { name, default } => match value(name).filter(|value| !value.is_empty()) {
                Some(value) => out.push_str(&value),
                None => out.push_str(default),
            },
        }
    }
    out
}

/// The attribute that a variable names. `None`: it names none.
pub fn attribute(name: &str) -> Option<&str> {
    name.strip_prefix(ATTRIBUTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_once() {
        let value = |name: &str| match name {
            "agent.display_name" => Some("Ann".to_owned()),
            "attributes.city" => Some("{{agent.display_name}} \\{{now}}".to_owned()),
            "attributes.empty" => Some(String::new()),
            _ => None,
        };
        for (text, rendered) in [
            ("", ""),
            ("no variables } { }}", "no variables } { }}"),
            ("I am {{agent.display_name}}.", "I am Ann."),
            ("{{ agent.display_name }}{{agent.display_name}}", "AnnAnn"),
            ("City: {{attributes.city}}", "City: {{agent.display_name}} \\{{now}}"),
            ("{{attributes.plan|none yet}}, {{attributes.empty | empty}}", "none yet, empty"),
            ("{{attributes.plan}}!", "!"),
            ("\\{{agent.display_name}}", "{{agent.display_name}}"),
            ("{{ not closed", "{{ not closed"),
        ] {
            assert_eq!(render(text, value), rendered, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for good in ["", "{{now}}", "{{attributes.a b}}", "{{language|English}}", "\\{{x}}"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, word) in [
            ("{{customer}}", "`customer`"),
            ("{{}}", "``"),
            ("{{attributes.}}", "`attributes.`"),
            ("{{now", "without"),
            ("{{{now}}}", "`{now`"),
        ] {
            assert!(check(bad).is_err_and(|detail| detail.contains(word)), "{bad}");
        }
        assert!(check("{{x}}").unwrap_err().contains("agent.display_name"));
    }

    #[test]
    fn uses_are_found() {
        assert!(uses("a {{ language | x }}", "language"));
        assert!(!uses("a language \\{{language}}", "language"));
    }
}
