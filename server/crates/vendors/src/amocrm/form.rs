//! Reads the vendor's form bodies: trees, written as PHP writes them into the names of form fields.
//!
//! `leads[add][0][id]=5001` becomes `{"leads": {"add": [{"id": "5001"}]}}`. An object whose keys are exactly 0 to n-1 is a
//! list; other numbers are ids. A name that comes twice holds what came last, as in PHP. What is no number of brackets is a
//! name like any other; what is no percent escape stands for itself; bytes that are no UTF-8 are replaced, and told of.

use std::{borrow::Cow, collections::HashMap};

use serde_json::{Map, Value};

/// The most fields of a body. A lead with every field that an account may have has some hundreds.
const MOST_FIELDS: usize = 10_000;
/// The deepest nesting. The vendor's own bodies go to eight.
const MOST_DEPTH: usize = 16;
/// The longest part of a name, in bytes.
const MOST_NAME_BYTES: usize = 256;

/// A body, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Form {
    /// The tree: objects, lists and strings; out of JSON, whatever else JSON has.
    pub(super) tree: Map<String, Value>,
    /// Whether something was replaced because it is no UTF-8, or is U+0000.
    pub(super) replaced: bool,
}

/// Why a body can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// Too many fields.
    #[error("has more than {MOST_FIELDS} fields")]
    TooMany,
    /// Nested too deep.
    #[error("is nested deeper than {MOST_DEPTH}")]
    TooDeep,
    /// A part of a name is too long.
    #[error("has a name longer than {MOST_NAME_BYTES} bytes")]
    NameTooLong,
    /// It begins like JSON and is none, or no object.
    #[error("must be a JSON object, or a form")]
    NotJson,
}

/// Reads a body. One that begins with a brace is JSON of the same tree, whatever its header says: no form of the vendor's does.
///
/// # Errors
/// What is too much of it.
pub(super) fn read(body: &[u8]) -> Result<Form, FormError> {
    if body.trim_ascii_start().starts_with(b"{") {
        return read_json(body);
    }
    let (mut root, mut replaced) = (Branch::default(), false);
    let (mut name, mut decoded) = (Vec::new(), Vec::new());
    let mut fields = 0;
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        fields += 1;
        if fields > MOST_FIELDS {
            return Err(FormError::TooMany);
        }
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        decode(&pair[..at], &mut name);
        decode(pair.get(at + 1..).unwrap_or_default(), &mut decoded);
        let value = text(&decoded, &mut replaced).into_owned();
        *root.place(&name, &mut replaced)? = Node::Leaf(value);
    }
    let tree = root.nodes.into_iter().map(|(name, node)| (name, node.into_value())).collect();
    Ok(Form { tree, replaced })
}

/// A text, with what can't be stored replaced: what is no UTF-8, and U+0000.
fn text<'a>(bytes: &'a [u8], replaced: &mut bool) -> Cow<'a, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.contains(&0) => Cow::Borrowed(text),
        _ => {
            *replaced = true;
            Cow::Owned(String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}"))
        }
    }
}

/// A place in the tree while it grows.
#[derive(Debug)]
enum Node {
    Leaf(String),
    Branch(Branch),
}

/// What is under a name, in the order of appearance.
#[derive(Debug, Default)]
struct Branch {
    nodes: Vec<(String, Node)>,
    /// Where each is, as soon as there are so many that looking for them takes longer.
    places: HashMap<String, usize>,
}

impl Branch {
    /// From how many on they are looked up.
    const MANY: usize = 16;

    /// Where a name of so many brackets leads.
    fn place(&mut self, name: &[u8], replaced: &mut bool) -> Result<&mut Node, FormError> {
        let (root, mut rest) = split_root(name);
        let mut place = self.child(root, replaced)?;
        let mut depth = 1;
        while let Some((part, behind)) = next_part(rest) {
            depth += 1;
            if depth > MOST_DEPTH {
                return Err(FormError::TooDeep);
            }
            rest = behind;
            // A value that stands where a branch is needed gives way.
            if let Node::Leaf(_) = place {
                *place = Node::Branch(Self::default());
            }
            let Node::Branch(branch) = place else { return Err(FormError::NotJson) };
            place = if part.is_empty() {
                let next = branch.next_index();
                branch.child(next.as_bytes(), replaced)?
            } else {
                branch.child(part, replaced)?
            };
        }
        Ok(place)
    }

    fn child(&mut self, name: &[u8], replaced: &mut bool) -> Result<&mut Node, FormError> {
        if name.len() > MOST_NAME_BYTES {
            return Err(FormError::NameTooLong);
        }
        let name = text(name, replaced);
        let at = match self.find(&name) {
            Some(at) => at,
            None => self.add(name.into_owned()),
        };
        Ok(&mut self.nodes[at].1)
    }

    fn find(&self, name: &str) -> Option<usize> {
        // Nearly always it is the last one: the fields of an entity stand side by side.
        if self.nodes.last().is_some_and(|(last, _)| last == name) {
            return Some(self.nodes.len() - 1);
        }
        if self.nodes.len() < Self::MANY {
            return self.nodes.iter().position(|(known, _)| known == name);
        }
        self.places.get(name).copied()
    }

    fn add(&mut self, name: String) -> usize {
        let at = self.nodes.len();
        if at + 1 == Self::MANY {
            self.places = self.nodes.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        }
        if at + 1 >= Self::MANY {
            self.places.insert(name.clone(), at);
        }
        self.nodes.push((name, Node::Leaf(String::new())));
        at
    }

    /// The key of what is appended. Where that index is taken by a number that is an id, one that nothing else can have.
    fn next_index(&self) -> String {
        let index = self.nodes.len().to_string();
        if self.find(&index).is_some() { format!("[{index}]") } else { index }
    }
}

impl Node {
    fn into_value(self) -> Value {
        match self {
            Self::Leaf(text) => Value::String(text),
            Self::Branch(branch) => {
                let in_order = branch.nodes.iter().enumerate().all(|(at, (name, _))| is_index(name, at));
                if in_order {
                    return branch.nodes.into_iter().map(|(_, node)| node.into_value()).collect();
                }
                let members: Map<_, _> =
                    branch.nodes.into_iter().map(|(name, node)| (name, node.into_value())).collect();
                into_list(members)
            }
        }
    }
}

/// Whether a name is this index, as we write it.
fn is_index(name: &str, at: usize) -> bool {
    match (name.as_bytes(), at) {
        ([digit @ b'0'..=b'9'], at) => usize::from(digit - b'0') == at,
        (_, 10..) => name == at.to_string(),
        _ => false,
    }
}

/// Splits a name before its brackets. Without a whole pair behind something it is a name like any other.
fn split_root(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().position(|byte| *byte == b'[') {
        Some(at) if at > 0 && name[at..].contains(&b']') => name.split_at(at),
        _ => (name, &[]),
    }
}

/// The next part in brackets, and what is behind it. What follows without brackets is ignored, as PHP does.
fn next_part(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = rest.strip_prefix(b"[")?;
    let end = inside.iter().position(|byte| *byte == b']')?;
    Some((&inside[..end], &inside[end + 1..]))
}

/// Decodes `+` and percent escapes.
fn decode(encoded: &[u8], into: &mut Vec<u8>) {
    const fn digit(byte: u8) -> Option<u8> {
        match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            b'A'..=b'F' => Some(byte - b'A' + 10),
            _ => None,
        }
    }
    into.clear();
    let mut rest = encoded;
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = match (byte, behind) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            into.push(high << 4 | low);
            rest = &behind[2..];
        } else {
            into.push(if byte == b'+' { b' ' } else { byte });
            rest = behind;
        }
    }
}

fn read_json(body: &[u8]) -> Result<Form, FormError> {
    let text = String::from_utf8_lossy(body);
    let mut replaced = matches!(text, Cow::Owned(_));
    let mut tree: Map<String, Value> = serde_json::from_str(&text).map_err(|_| FormError::NotJson)?;
    let mut fields = 0;
    tree = std::mem::take(&mut tree)
        .into_iter()
        .map(|(name, mut value)| {
            measure(&mut value, 1, &mut fields, &mut replaced)?;
            make_lists(&mut value);
            Ok((clean_name(name, &mut replaced)?, value))
        })
        .collect::<Result<_, FormError>>()?;
    Ok(Form { tree, replaced })
}

fn clean_name(name: String, replaced: &mut bool) -> Result<String, FormError> {
    if name.len() > MOST_NAME_BYTES {
        return Err(FormError::NameTooLong);
    }
    Ok(clean(name, replaced))
}

fn clean(text: String, replaced: &mut bool) -> String {
    if !text.contains('\0') {
        return text;
    }
    *replaced = true;
    text.replace('\0', "\u{fffd}")
}

/// Holds JSON to the bounds of forms.
fn measure(
    value: &mut Value,
    depth: usize,
    fields: &mut usize,
    replaced: &mut bool,
) -> Result<(), FormError> {
    if depth > MOST_DEPTH {
        return Err(FormError::TooDeep);
    }
    *fields += 1;
    if *fields > MOST_FIELDS {
        return Err(FormError::TooMany);
    }
    match value {
        Value::Object(members) => {
            for (name, mut member) in std::mem::take(members) {
                measure(&mut member, depth + 1, fields, replaced)?;
                members.insert(clean_name(name, replaced)?, member);
            }
            Ok(())
        }
        Value::Array(items) => {
            items.iter_mut().try_for_each(|item| measure(item, depth + 1, fields, replaced))
        }
        Value::String(text) => {
            *text = clean(std::mem::take(text), replaced);
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Turns objects into lists whose keys are exactly 0 to n-1.
fn make_lists(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(make_lists);
            *value = into_list(std::mem::take(members));
        }
        Value::Array(items) => items.iter_mut().for_each(make_lists),
        _ => {}
    }
}

/// A list, if the keys are exactly 0 to n-1; else what it was.
fn into_list(members: Map<String, Value>) -> Value {
    let places: Option<Vec<usize>> = members
        .keys()
        .map(|name| name.parse().ok().filter(|at| *at < members.len() && is_index(name, *at)))
        .collect();
    match places {
        // Each index is there once, so as many as there are members are all of them.
        Some(places) if !places.is_empty() => {
            let mut items = vec![Value::Null; places.len()];
            for (at, (_, item)) in places.into_iter().zip(members) {
                items[at] = item;
            }
            Value::Array(items)
        }
        _ => Value::Object(members),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tree(body: &str) -> Value {
        Value::Object(read(body.as_bytes()).unwrap().tree)
    }

    #[test]
    fn names_become_a_tree_of_objects_and_lists() {
        let cases = [
            ("a=1&b=2", json!({ "a": "1", "b": "2" })),
            ("a[x][y]=1&a%5Bx%5D%5Bz%5D=%D0%AF+2", json!({ "a": { "x": { "y": "1", "z": "Я 2" } } })),
            ("a[1]=y&a[0]=x", json!({ "a": ["x", "y"] })),
            ("a[1]=y&a[2]=z", json!({ "a": { "1": "y", "2": "z" } })),
            ("a[5001][ID]=5001", json!({ "a": { "5001": { "ID": "5001" } } })),
            ("a[00]=x", json!({ "a": { "00": "x" } })),
            ("a[+0]=x", json!({ "a": { " 0": "x" } })),
            ("a[]=x&a[]=y&a[][z]=1", json!({ "a": ["x", "y", { "z": "1" }] })),
            ("a[1]=x&a[]=y", json!({ "a": { "1": "x", "[1]": "y" } })),
            // What came last counts, in whatever shape.
            ("a=1&a=2", json!({ "a": "2" })),
            ("a=1&a[b]=2", json!({ "a": { "b": "2" } })),
            ("a[b]=2&a=1", json!({ "a": "1" })),
            // No brackets, or no whole ones.
            ("a[b=1&[c]=2&]=3&a]=4&=5", json!({ "a[b": "1", "[c]": "2", "]": "3", "a]": "4", "": "5" })),
            ("a[b]c=1&a[d", json!({ "a": { "b": "1" }, "a[d": "" })),
            ("a[b[c]=1", json!({ "a": { "b[c": "1" } })),
            // No escapes, or half ones.
            ("a=100%&b=%zz&c=%4&d=%&%=e", json!({ "a": "100%", "b": "%zz", "c": "%4", "d": "%", "%": "e" })),
            ("a==b=&&&c", json!({ "a": "=b=", "c": "" })),
            ("", json!({})),
            (" {\"a\": {\"1\": 2, \"0\": [true]}}", json!({ "a": [[true], 2] })),
        ];
        for (body, expected) in cases {
            assert_eq!(tree(body), expected, "{body}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_told_of() {
        // Привет in windows-1251, and what can't be stored.
        for body in [
            &b"a=%CF%F0%E8%E2%E5%F2"[..],
            b"a=\xcf\xf0",
            b"\xcf=1",
            b"a[\xcf]=1",
            b"a=%00",
            b"%00=a",
            b"a[%00]=b",
        ] {
            let form = read(body).unwrap();
            assert!(form.replaced, "{body:?}");
            assert!(!Value::Object(form.tree).to_string().contains("\\u0000"));
        }
        let form = read(br#"{"a": "\u0000", "b\u0000": {"\u0000": 1}}"#).unwrap();
        assert!(form.replaced && !Value::Object(form.tree).to_string().contains("\\u0000"));
        assert!(!read("a=Привет".as_bytes()).unwrap().replaced);
    }

    #[test]
    fn bombs_are_refused() {
        let deep = format!("a{}=1", "[x]".repeat(MOST_DEPTH));
        assert_eq!(read(deep.as_bytes()), Err(FormError::TooDeep));
        assert!(read(format!("a{}=1", "[x]".repeat(MOST_DEPTH - 1)).as_bytes()).is_ok());
        assert_eq!(read("a[][]=1&".repeat(MOST_FIELDS + 1).as_bytes()), Err(FormError::TooMany));
        let long = "x".repeat(MOST_NAME_BYTES + 1);
        assert_eq!(read(format!("a[{long}]=1").as_bytes()), Err(FormError::NameTooLong));
        assert_eq!(read(format!("{long}=1").as_bytes()), Err(FormError::NameTooLong));
        // An index allots nothing.
        let far = tree("a[99999999999999999999]=1&a[4294967295]=2");
        assert_eq!(far["a"].as_object().unwrap().len(), 2);
        let nested = format!("{}{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        assert_eq!(read(nested.as_bytes()), Err(FormError::NotJson));
        let nested = format!("{}1{}", r#"{"a":"#.repeat(MOST_DEPTH + 1), "}".repeat(MOST_DEPTH + 1));
        assert_eq!(read(nested.as_bytes()), Err(FormError::TooDeep));
        let wide = format!("{{\"a\": [{}1]}}", "1,".repeat(MOST_FIELDS));
        assert_eq!(read(wide.as_bytes()), Err(FormError::TooMany));
    }

    /// Writes a tree as PHP does.
    fn write(tree: &Value, name: &str, into: &mut Vec<(String, String)>) {
        match tree {
            Value::Object(members) => {
                for (key, member) in members {
                    let name = if name.is_empty() { key.clone() } else { format!("{name}[{key}]") };
                    write(member, &name, into);
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    write(item, &format!("{name}[{at}]"), into);
                }
            }
            leaf => into.push((name.to_owned(), leaf.as_str().unwrap_or_default().to_owned())),
        }
    }

    fn trees() -> impl Strategy<Value = Value> {
        let leaf = "[^\0]{0,12}".prop_map(Value::String);
        let branch = leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..6).prop_map(Value::Array),
                prop::collection::btree_map("[a-zа-я_]{1,8}", inner, 1..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-zа-я_]{1,8}", branch, 0..6)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn what_php_writes_is_read_back(tree in trees()) {
            let mut fields = Vec::new();
            write(&tree, "", &mut fields);
            let mut body = url::form_urlencoded::Serializer::new(String::new());
            body.extend_pairs(&fields);
            let form = read(body.finish().as_bytes()).unwrap();
            prop_assert!(!form.replaced);
            prop_assert_eq!(Value::Object(form.tree), tree.clone());
            // The same tree as JSON.
            prop_assert_eq!(Value::Object(read(tree.to_string().as_bytes()).unwrap().tree), tree);
        }

        #[test]
        fn no_bytes_at_all_do_harm(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&body);
        }

        #[test]
        fn no_brackets_at_all_do_harm(body in "[ab01\\[\\]=&%+]{0,200}") {
            let _ = read(body.as_bytes());
        }
    }
}
