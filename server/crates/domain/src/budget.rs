//! Budgets: what calls of engines may use. Reserved before a call, settled after it.

use serde::{Deserialize, Serialize};
use time::Date;
use uuid::Uuid;

use crate::{
    AgentId, ContactId, DialogueId, Timestamp, WorkspaceId,
    cost::{Price, is_currency},
    dialogue::stored_enum,
    engine::{Completion, Usage},
    error::Violations,
    window::TOKENS_PER_PART,
};

stored_enum! {
    /// What a budget is counted for.
    Scope {
        /// Each turn.
        Turn = "TURN",
        /// Each dialogue.
        Dialogue = "DIALOGUE",
        /// Each customer: a contact, and where none is known the dialogue.
        Contact = "CONTACT",
        /// The agent.
        Agent = "AGENT",
        /// The workspace.
        Workspace = "WORKSPACE",
    }
}

stored_enum! {
    /// How long a budget lasts.
    Period {
        /// For good.
        Ever = "EVER",
        /// A day, UTC.
        Day = "DAY",
    }
}

/// What calls of engines may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// What it is counted for.
    pub scope: Scope,
    /// How long it lasts.
    pub period: Period,
    /// How many tokens, input and output together. `None`: not limited.
    pub max_tokens: Option<i64>,
    /// What it may cost, in millionths of the currency's unit. `None`: not limited.
    pub max_cost_micros: Option<i64>,
    /// The currency of the cost; else empty.
    pub currency: String,
}

/// The unit of tokens. Costs have their currency's name.
pub const TOKENS: &str = "TOKENS";

/// The most budgets that an agent or a workspace may have.
const MOST: usize = 20;

/// Names all that is wrong with budgets, of which only these scopes make sense here.
pub fn check(violations: &mut Violations, at: &str, budgets: &[Budget], scopes: &[Scope]) {
    violations.require(budgets.len() <= MOST, at, "may have up to 20 items");
    for (number, budget) in budgets.iter().enumerate() {
        let at = format!("{at}[{number}]");
        let known: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
        violations.require(
            scopes.contains(&budget.scope),
            &format!("{at}.scope"),
            &format!("must be one of: {}", known.join(", ")),
        );
        violations.require(
            !budgets[..number]
                .iter()
                .any(|other| (other.scope, other.period) == (budget.scope, budget.period)),
            &format!("{at}.scope"),
            "has a budget for this period already",
        );
        violations.require(
            budget.max_tokens.is_some() || budget.max_cost_micros.is_some(),
            &at,
            "needs max_tokens or max_cost_micros",
        );
        violations.require(
            budget.max_tokens.is_none_or(|most| most > 0),
            &format!("{at}.max_tokens"),
            "must be 0 or more",
        );
        violations.require(
            budget.max_cost_micros.is_none_or(|most| most > 0),
            &format!("{at}.max_cost_micros"),
            "must be 0 or more",
        );
        violations.require(
            is_currency(&budget.currency) || budget.max_cost_micros.is_none(),
            &format!("{at}.currency"),
            "must be three capital letters, such as USD, where max_cost_micros is set",
        );
    }
}

/// Who asks an engine, for whom.
#[derive(Debug, Clone, Copy)]
pub struct Payer {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The agent. `None`: a draft.
    pub agent: Option<AgentId>,
    /// The dialogue. `None`: a preview's.
    pub dialogue: Option<DialogueId>,
    /// Whom it is held with. `None`: not known.
    pub contact: Option<ContactId>,
    /// The turn, or what stands in its place.
    pub holder: Uuid,
}

/// One limit that a call must keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// What it is counted for.
    pub scope: Scope,
    /// Which one.
    pub subject: Uuid,
    /// The day. `None`: it lasts for good.
    pub day: Option<Date>,
    /// [`TOKENS`], or a currency.
    pub unit: String,
    /// How much there is.
    pub most: i64,
    /// How much of it the call may use.
    pub worst: i64,
    /// Whom the notice of its end is about: turns come and go, the agent's budget for them is one.
    pub owner: Uuid,
}

/// The worst that a call may use.
#[derive(Debug, Clone, Copy)]
pub struct Worst {
    /// In tokens.
    pub usage: Usage,
    /// In the vendor's credits, where it counts those.
    pub credits: i64,
}

/// The limits that budgets set to a call of an engine with this price, which may use this much.
pub fn limits(
    budgets: &[Budget],
    payer: Payer,
    price: Option<&Price>,
    worst: Worst,
    now: Timestamp,
) -> Vec<Limit> {
    let of = |budget: &Budget, unit: &str, most: i64, worst: i64| {
        let subject = match budget.scope {
            Scope::Turn => payer.holder,
            Scope::Dialogue => payer.dialogue?.0,
            Scope::Contact => payer.contact.map(|contact| contact.0).or(payer.dialogue.map(|id| id.0))?,
            Scope::Agent => payer.agent?.0,
            Scope::Workspace => payer.workspace.0,
        };
        let owner = match budget.scope {
            Scope::Turn => payer.agent.map_or(payer.workspace.0, |agent| agent.0),
            _ => subject,
        };
        let day = match budget.period {
            Period::Ever => None,
            Period::Day => Some(now.to_offset(time::UtcOffset::UTC).date()),
        };
        Some(Limit { scope: budget.scope, subject, day, unit: unit.to_owned(), most, worst, owner })
    };
    let mut limits = Vec::new();
    for budget in budgets {
        if let Some(most) = budget.max_tokens {
            let tokens = worst.usage.input_tokens.saturating_add(worst.usage.output_tokens);
            limits.extend(of(budget, TOKENS, most, tokens));
        }
        if let Some(most) = budget.max_cost_micros
            && let Some(price) = price.filter(|price| price.currency == budget.currency)
        {
            let worst = price.of(worst.usage).saturating_add(price.of_credits(worst.credits));
            limits.extend(of(budget, &budget.currency, most, worst));
        }
    }
    limits
}

/// The longest answer of an engine that was not told one, in a call that a budget concerns.
pub const DEFAULT_OUTPUT: i32 = 4_096;

/// The worst that a call may use: its input estimated on the safe side, and the longest answer. No tokenizer makes more than
/// a token of two bytes on average, but of the shortest texts, for which there is a margin. The request says how long the
/// answer may be, see [`crate::engine::CompletionModel::longest_output`].
pub fn worst_case(request: &Completion) -> Usage {
    const MARGIN: usize = 16;
    let json = |value: &serde_json::Value| value.to_string().len();
    let parts = |count: usize| usize::try_from(TOKENS_PER_PART).unwrap_or_default().saturating_mul(count);
    let messages =
        request.history.iter().map(|message| message.text.len() / 2 + MARGIN + parts(message.parts.len()));
    let tools = request
        .tools
        .iter()
        .map(|tool| (tool.name.len() + tool.description.len() + json(&tool.parameters)) / 2 + MARGIN);
    let steps = request.steps.iter().map(|step| {
        let calls = step.answer.tool_calls.iter().map(|call| call.name.len() + json(&call.arguments));
        let parts = calls.chain(step.results.iter().map(json)).chain([step.answer.text.len()]);
        parts.sum::<usize>() / 2 + MARGIN * (1 + step.results.len())
    });
    let input = request.instructions.len() / 2 + MARGIN + messages.chain(tools).chain(steps).sum::<usize>();
    Usage {
        input_tokens: i64::try_from(input).unwrap_or(i64::MAX),
        cached_input_tokens: 0,
        output_tokens: request.engine.max_output_tokens.unwrap_or(DEFAULT_OUTPUT).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::Message;

    fn budget(scope: Scope, period: Period) -> Budget {
        Budget { scope, period, max_tokens: Some(1_000), max_cost_micros: None, currency: String::new() }
    }

    fn payer() -> Payer {
        Payer {
            workspace: WorkspaceId(Uuid::from_u128(1)),
            agent: Some(AgentId(Uuid::from_u128(2))),
            dialogue: Some(DialogueId(Uuid::from_u128(3))),
            contact: Some(ContactId(Uuid::from_u128(5))),
            holder: Uuid::from_u128(4),
        }
    }

    #[test]
    fn a_call_keeps_the_limits_that_concern_it() {
        let usage = Usage { input_tokens: 100, cached_input_tokens: 0, output_tokens: 50 };
        let worst = Worst { usage, credits: 7 };
        let mut cost = budget(Scope::Workspace, Period::Day);
        (cost.max_tokens, cost.max_cost_micros, cost.currency) = (None, Some(7), "USD".to_owned());
        let all = [budget(Scope::Turn, Period::Ever), budget(Scope::Contact, Period::Day), cost];
        let currency = "USD".to_owned();
        let price = Price { currency, input: 1_000_000, cached_input: 0, output: 2_000_000, credit: 10 };
        let found = limits(&all, payer(), Some(&price), worst, Timestamp::UNIX_EPOCH);
        let seen: Vec<_> = found
            .iter()
            .map(|limit| (limit.scope, limit.subject.as_u128(), limit.owner.as_u128(), limit.worst))
            .collect();
        assert_eq!(
            seen,
            [(Scope::Turn, 4, 2, 150), (Scope::Contact, 5, 5, 150), (Scope::Workspace, 1, 1, 270)]
        );
        assert_eq!((found[0].day, found[1].day.is_some()), (None, true));
        // A draft's preview has neither dialogue nor agent, and this engine no price.
        let unknown =
            limits(&all[1..2], Payer { contact: None, ..payer() }, None, worst, Timestamp::UNIX_EPOCH);
        assert_eq!(unknown[0].subject.as_u128(), 3);
        let alone = Payer { agent: None, dialogue: None, contact: None, ..payer() };
        assert_eq!(limits(&all, alone, None, worst, Timestamp::UNIX_EPOCH).len(), 1);
    }

    #[test]
    fn a_picture_counts_as_much_as_in_the_window() {
        let message = |parts: serde_json::Value| {
            serde_json::from_value::<Message>(serde_json::json!({
                "id": Uuid::nil(), "dialogue": Uuid::nil(), "seq": 1, "role": "USER", "text": "look", "parts": parts,
                "external_id": "", "turn": null, "created_at": "2026-11-21T00:00:00Z",
            }))
            .unwrap()
        };
        let worst = |parts| {
            let engine = serde_json::json!({ "vendor": "mock", "model": "", "settings": {} });
            let request = Completion {
                engine: serde_json::from_value(engine).unwrap(),
                dialogue: DialogueId(Uuid::nil()),
                instructions: String::new(),
                history: vec![message(parts)],
                at: Timestamp::UNIX_EPOCH,
                run: 1,
                tools: Vec::new(),
                steps: Vec::new(),
                notes: None,
            };
            worst_case(&request).input_tokens
        };
        let picture = serde_json::json!([{ "kind": "IMAGE", "url": "https://files.example/a.png" }]);
        assert_eq!(worst(picture) - worst(serde_json::json!([])), TOKENS_PER_PART);
    }

    #[test]
    fn budgets_that_make_no_sense_are_refused_by_field() {
        let mut nothing = budget(Scope::Agent, Period::Day);
        nothing.max_tokens = None;
        let mut unpriced = budget(Scope::Turn, Period::Day);
        unpriced.max_cost_micros = Some(1);
        let all = [nothing.clone(), nothing, unpriced, budget(Scope::Workspace, Period::Ever)];
        let mut violations = Violations::default();
        check(&mut violations, "budgets", &all, &[Scope::Agent, Scope::Turn]);
        let refused = violations.finish().unwrap_err();
        let fields: Vec<_> = refused.fields.iter().map(|field| field.field.as_str()).collect();
        assert_eq!(
            fields,
            ["budgets[0]", "budgets[1].scope", "budgets[1]", "budgets[2].currency", "budgets[3].scope"]
        );
    }
}
