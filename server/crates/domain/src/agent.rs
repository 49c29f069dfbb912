//! Agents: who answers.

use crate::{
    AgentId, IntegrationId, Timestamp,
    budget::Budget,
    cost::Price,
    policy::{OnFailure, ReplyPolicy},
    profile::Profile,
};

/// A configured AI.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// A name for people.
    pub display_name: String,
    /// What the model is told before each dialogue.
    pub instructions: String,
    /// Who writes its answers.
    pub engine: Engine,
    /// When it answers, and what happens when it can't.
    pub reply_policy: ReplyPolicy,
    /// What it knows and may do.
    pub profile: Profile,
    /// Whether it answers.
    pub active: bool,
    /// What its calls of engines may use.
    pub budgets: Vec<Budget>,
    /// What happens to a turn whose call does not fit them.
    pub on_budget_exhausted: OnFailure,
    /// The last four characters of its token.
    pub token_suffix: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Who writes an agent's answers, and how.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Engine {
    /// The vendor's id in the vendors' list.
    pub vendor: String,
    /// The workspace's connection to the vendor. `None`: the operator's own, from the server's environment.
    #[serde(default)]
    pub integration: Option<IntegrationId>,
    /// The vendor's model. May be empty where the vendor has only one.
    pub model: String,
    /// The sampling temperature, 0 to 2. `None`: the vendor's default.
    pub temperature: Option<f64>,
    /// The longest answer, in the vendor's tokens. `None`: the vendor's default.
    pub max_output_tokens: Option<i32>,
    /// The vendor's own settings, an object; the vendor has checked it.
    pub settings: serde_json::Value,
    /// What its tokens cost. `None`: nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}
