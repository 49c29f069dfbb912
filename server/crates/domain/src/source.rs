//! Sources: where a CRM's chats come from. A CRM files a chat by the source that it is told with, in that source's pipeline.

use async_trait::async_trait;

use crate::{
    IntegrationId, Timestamp, connection::Connection, crm::CrmError, dialogue::stored_enum, error::Violations,
};

/// The longest external id, in characters; the vendor's own bound.
pub const MAX_EXTERNAL_ID_CHARS: usize = 40;
/// The longest name, in characters.
pub const MAX_NAME_CHARS: usize = 200;
/// The longest code of a chat channel, in characters; the vendor's own bound.
pub const MAX_ORIGIN_CHARS: usize = 20;

/// A source, as the CRM has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The CRM's id of it. A source that was deleted and made again may have its old one.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Our id of it, which chats and messages carry. Empty: the CRM made it by itself, and no chat can name it.
    pub external_id: String,
    /// The pipeline that its chats' leads go to. Empty: the CRM doesn't say.
    pub pipeline_id: String,
    /// Whether chats that name no source count as its.
    pub default: bool,
    /// The code of the chat channel that it belongs to. Empty: none.
    pub origin_code: String,
}

/// A source to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSource {
    /// Its name.
    pub name: String,
    /// Our id of it.
    pub external_id: String,
    /// Its pipeline. `None`: the CRM's main one.
    pub pipeline_id: Option<String>,
    /// Whether it becomes the default.
    pub default: bool,
    /// The code of the chat channel. `None`: none.
    pub origin_code: Option<String>,
}

/// What to change of a source. What is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourcePatch {
    /// Its name.
    pub name: Option<String>,
    /// Our id of it.
    pub external_id: Option<String>,
    /// Its pipeline.
    pub pipeline_id: Option<String>,
    /// Whether it is the default: only `true`, since another takes it over.
    pub default: Option<bool>,
}

/// The source that an integration's settings ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its name, by which it is found.
    pub name: String,
    /// Our id of it, if it has to be made.
    pub external_id: String,
    /// Its pipeline, if it has to be made. `None`: that of a source that is there, else the CRM's main one.
    pub pipeline_id: Option<String>,
    /// Whether it is made where there is none.
    pub create: bool,
}

stored_enum! {
    /// How it stands with the source that an integration asks for.
    SourceState {
        /// It was not looked for yet: nobody has let us into the account.
        Pending = "PENDING",
        /// It is there, and chats carry it.
        Ready = "READY",
        /// It can't be had for now: chats go on without. It is tried again.
        Fallback = "FALLBACK",
    }
}

/// The source that an integration asks for, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSource {
    /// How it stands.
    pub state: SourceState,
    /// Our id of it. `None`: it was never had.
    pub external_id: Option<String>,
    /// Its name.
    pub name: String,
    /// Why it can't be had, or what is not as the settings ask. `None`: all is well.
    pub last_error: Option<String>,
    /// What to do about that.
    pub remedy: Option<String>,
    /// When the CRM was asked last. `None`: never.
    pub checked_at: Option<Timestamp>,
    /// When it is asked again. `None`: when somebody lets us in.
    pub due_at: Option<Timestamp>,
}

impl OwnSource {
    /// What chats carry: nothing while it can't be had.
    pub fn carried(&self) -> Option<&str> {
        self.external_id.as_deref().filter(|_| self.state == SourceState::Ready)
    }
}

fn fits(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count()) && !text.contains('\0') && !text.trim().is_empty()
}

/// Whether a text can be an external id: printable ASCII and spaces.
pub fn is_external_id(text: &str) -> bool {
    fits(text, MAX_EXTERNAL_ID_CHARS) && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// Notes what can't be a source's name.
pub fn check_name(violations: &mut Violations, field: &str, name: &str) {
    violations.require(fits(name, MAX_NAME_CHARS), field, "is required: 1 to 200 characters, without U+0000");
}

/// Notes what can't be a source's external id.
pub fn check_external_id(violations: &mut Violations, field: &str, id: &str) {
    violations.require(
        is_external_id(id),
        field,
        "must be 1 to 40 printable ASCII characters, spaces included",
    );
}

/// Notes what can't be an id of the CRM's.
fn check_pipeline(violations: &mut Violations, field: &str, id: Option<&String>) {
    let good = id.is_none_or(|id| id.parse::<u64>().is_ok_and(|id| id > 0));
    violations.require(good, field, "must be a pipeline's id; ListPipelines gives them");
}

impl NewSource {
    /// Names all that is wrong with it, but for what the CRM knows; `at` is its path in the request.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        check_name(violations, &format!("{at}.display_name"), &self.name);
        check_external_id(violations, &format!("{at}.external_id"), &self.external_id);
        check_pipeline(violations, &format!("{at}.pipeline_id"), self.pipeline_id.as_ref());
        let plain = |code: &String| {
            fits(code, MAX_ORIGIN_CHARS) && !code.bytes().all(|byte| byte.is_ascii_digit() || byte == b'"')
        };
        violations.require(
            self.origin_code.as_ref().is_none_or(plain),
            &format!("{at}.origin_code"),
            "must be the code of a chat channel, up to 20 characters and not digits alone",
        );
    }
}

impl SourcePatch {
    /// Names all that is wrong with it, but for what the CRM knows; `at` is its path in the request.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        if let Some(name) = &self.name {
            check_name(violations, &format!("{at}.display_name"), name);
        }
        if let Some(id) = &self.external_id {
            check_external_id(violations, &format!("{at}.external_id"), id);
        }
        check_pipeline(violations, &format!("{at}.pipeline_id"), self.pipeline_id.as_ref());
        violations.require(
            self.default != Some(false),
            &format!("{at}.default"),
            "can't be taken away; make another source the default",
        );
    }
}

/// Finds the source that is asked for: by its name, else by our id of it, which stays when somebody renames it in the CRM.
pub fn find<'a>(sources: &'a [Source], name: &str, external_id: &str) -> Option<&'a Source> {
    let named = |source: &&Source| source.name.trim() == name.trim();
    let ours = |source: &&Source| !external_id.is_empty() && source.external_id == external_id;
    let of_both = sources.iter().find(|source| named(source) && ours(source));
    // One that no chat can name is the last choice.
    let by_name =
        || sources.iter().filter(named).max_by_key(|source| (!source.external_id.is_empty(), source.default));
    of_both.or_else(by_name).or_else(|| sources.iter().find(ours))
}

/// The pipeline that a source is made with where none is given: that of the default source, else of the first that has one.
pub fn pipeline_of_others(sources: &[Source]) -> Option<&str> {
    let with = || sources.iter().filter(|source| !source.pipeline_id.is_empty());
    let chosen = with().find(|source| source.default).or_else(|| with().next());
    chosen.map(|source| source.pipeline_id.as_str())
}

/// Why a source can't be had, in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The name of the step of a check that this is about.
    pub step: &'static str,
    /// What it is.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

/// Reads and changes an integration's own sources in a CRM. Lists come whole.
#[async_trait]
pub trait CrmSources: Send + Sync {
    /// The source that an integration's settings ask for. `None`: none.
    fn wanted(&self, settings: &serde_json::Value, integration: IntegrationId) -> Option<Wish>;

    /// An external id for a source of this name, always the same, so that making it twice makes one.
    fn external_id(&self, settings: &serde_json::Value, integration: IntegrationId, name: &str) -> String;

    /// All sources of the integration.
    async fn list_sources(&self, connection: &Connection) -> Result<Vec<Source>, CrmError>;

    /// Makes a source.
    async fn create_source(&self, connection: &Connection, new: &NewSource) -> Result<Source, CrmError>;

    /// Changes a source, and gives it. `None`: there is none with this id.
    async fn update_source(
        &self,
        connection: &Connection,
        id: &str,
        patch: &SourcePatch,
    ) -> Result<Option<Source>, CrmError>;

    /// Takes a source away. Answers whether there was one with this id.
    async fn delete_source(&self, connection: &Connection, id: &str) -> Result<bool, CrmError>;

    /// Says in plain words why a call about sources was refused. `admin`: whether who let us in is known to be an
    /// administrator, or known not to be.
    fn explain(&self, error: &CrmError, admin: Option<bool>) -> Explained;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(id: &str, name: &str, external_id: &str, pipeline_id: &str) -> Source {
        Source {
            id: id.to_owned(),
            name: name.to_owned(),
            external_id: external_id.to_owned(),
            pipeline_id: pipeline_id.to_owned(),
            default: false,
            origin_code: String::new(),
        }
    }

    #[test]
    fn a_source_is_found_by_its_name_then_by_our_id_of_it() {
        let all = [
            source("1", "Shop", "a", ""),
            source("2", "TeMa Edna", "", "7"),
            source("3", "TeMa Edna", "b", "8"),
        ];
        let id = |name: &str, ours: &str| find(&all, name, ours).map(|found| found.id.as_str());
        assert_eq!(id("TeMa Edna", "x"), Some("3"), "one that chats can name");
        assert_eq!(id(" Shop ", "b"), Some("1"), "the name comes first");
        assert_eq!(id("Renamed", "b"), Some("3"));
        assert_eq!(id("None", "x"), None);
        assert_eq!(id("None", ""), None, "one without an id of ours is nobody's");
        assert_eq!(pipeline_of_others(&all), Some("7"));
        let mut all = all;
        all[2].default = true;
        assert_eq!(pipeline_of_others(&all), Some("8"));
        assert_eq!(pipeline_of_others(&all[..1]), None);
    }

    #[test]
    fn what_is_wrong_with_a_source_is_named() {
        let fields = |new: NewSource| -> Vec<String> {
            let mut violations = Violations::default();
            new.check(&mut violations, "source");
            let refusal = violations.finish().err();
            refusal.into_iter().flat_map(|refusal| refusal.fields).map(|bad| bad.field).collect()
        };
        let good =
            NewSource { name: "Shop".to_owned(), external_id: "shop 1".to_owned(), ..NewSource::default() };
        assert_eq!(fields(good.clone()), [""; 0]);
        for (new, field) in [
            (NewSource { name: " ".to_owned(), ..good.clone() }, "source.display_name"),
            (NewSource { external_id: "источник".to_owned(), ..good.clone() }, "source.external_id"),
            (NewSource { external_id: "x".repeat(41), ..good.clone() }, "source.external_id"),
            (NewSource { pipeline_id: Some("main".to_owned()), ..good.clone() }, "source.pipeline_id"),
            (NewSource { origin_code: Some("123".to_owned()), ..good.clone() }, "source.origin_code"),
        ] {
            assert_eq!(fields(new), [field]);
        }
        let mut violations = Violations::default();
        SourcePatch { default: Some(false), ..SourcePatch::default() }.check(&mut violations, "source");
        assert_eq!(violations.finish().unwrap_err().fields[0].field, "source.default");
    }
}
