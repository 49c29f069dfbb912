//! `agents preview`, `agents replay` and `dialogues turn`: what agents would say, what they said, and why.

use prost_types::{Struct, Value as Wire, value::Kind};
use serde_json::{Value, json};
use switchboard_sdk::{
    Client,
    v1::{self, replay_dialogues_response::Item},
};

use crate::output::{Output, Row, moment, print, short};

/// What an agent is to answer to.
#[derive(Debug, clap::Args)]
pub struct Preview {
    /// The agent's id.
    id: String,
    /// Other instructions than the saved ones.
    #[arg(long)]
    instructions: Option<String>,
    /// When the customer writes, RFC 3339: the agent's hours go by it. Default: now.
    #[arg(long)]
    at: Option<prost_types::Timestamp>,
    /// What the customer says; several are several messages.
    #[arg(required = true)]
    texts: Vec<String>,
}

/// What is replayed.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// The agent's id.
    id: String,
    /// Other instructions than the saved ones.
    #[arg(long)]
    instructions: Option<String>,
    /// Another model than the saved one.
    #[arg(long)]
    model: Option<String>,
    /// Only these dialogues. Default: the newest of all.
    #[arg(long = "dialogue")]
    dialogues: Vec<String>,
    /// Only dialogues of this channel.
    #[arg(long, default_value = "")]
    channel: String,
    /// How many turns at most.
    #[arg(long, default_value_t = 100)]
    limit: i32,
}

/// The saved agent with what is to be tried, or `None` where it is taken as it is.
async fn draft(
    client: &Client,
    id: &str,
    instructions: Option<String>,
    model: Option<String>,
) -> anyhow::Result<Option<v1::Agent>> {
    if instructions.is_none() && model.is_none() {
        return Ok(None);
    }
    let request = v1::GetAgentRequest { id: id.to_owned() };
    let mut agent = client.agents().get_agent(request).await?.into_inner().agent.unwrap_or_default();
    agent.instructions = instructions.unwrap_or(agent.instructions);
    if let (Some(model), Some(engine)) = (model, &mut agent.engine) {
        engine.model = model;
    }
    Ok(Some(agent))
}

pub(crate) async fn preview(client: &Client, output: Output, command: Preview) -> anyhow::Result<()> {
    let agent = draft(client, &command.id, command.instructions, None).await?;
    let messages =
        command.texts.into_iter().map(|text| v1::PreviewMessage { role: v1::MessageRole::User.into(), text });
    let request = v1::PreviewReplyRequest {
        agent_id: if agent.is_none() { command.id } else { String::new() },
        agent,
        messages: messages.collect(),
        timeout: None,
        at_time: command.at,
    };
    let preview = client.agents().preview_reply(request).await?.into_inner();
    let mut cells: Vec<Vec<String>> = preview.calls.iter().map(|each| vec![called(each)]).collect();
    let last = match preview.reason.as_str() {
        "" => preview.text.clone(),
        reason if !preview.text.is_empty() => format!("{} ({reason})", preview.text),
        reason => format!("nothing: {reason} {}", preview.error).trim_end().to_owned(),
    };
    cells.push(vec![last]);
    let json = json!({
        "text": preview.text, "reason": preview.reason, "error": preview.error,
        "calls": preview.calls.iter().map(call).collect::<Vec<_>>(), "usage": usage(preview.usage.as_ref()),
        "promptHash": preview.prompt_hash, "manifest": preview.manifest.as_ref().map(object),
    });
    match output {
        Output::Json => println!("{json}"),
        Output::Table => {
            let rows: Vec<Row> = cells.into_iter().map(|cells| Row { json: json!({}), cells }).collect();
            print(output, &["ANSWER"], &rows);
            println!("\n{}", spent(preview.usage.as_ref()));
        }
    }
    Ok(())
}

pub(crate) async fn replay(client: &Client, output: Output, command: Replay) -> anyhow::Result<()> {
    let agent = draft(client, &command.id, command.instructions, command.model).await?;
    let request = v1::ReplayDialoguesRequest {
        agent_id: if agent.is_none() { command.id } else { String::new() },
        agent,
        dialogue_ids: command.dialogues,
        channel_id: command.channel,
        limit: command.limit,
        timeout: None,
    };
    let mut stream = client.agents().replay_dialogues(request).await?.into_inner();
    while let Some(item) = stream.message().await? {
        match (item.item, output) {
            (Some(Item::Turn(turn)), Output::Json) => println!("{}", replayed(&turn)),
            (Some(Item::Turn(turn)), Output::Table) => show_replayed(&turn),
            (Some(Item::Summary(summary)), Output::Json) => println!(
                "{}",
                json!({
                    "turns": summary.turns, "same": summary.same, "diverged": summary.diverged,
                    "failed": summary.failed, "usage": usage(summary.usage.as_ref()),
                })
            ),
            (Some(Item::Summary(summary)), Output::Table) => println!(
                "{} turns, {} the same, {} diverged, {} without an answer; {}",
                summary.turns,
                summary.same,
                summary.diverged,
                summary.failed,
                spent(summary.usage.as_ref())
            ),
            (None, _) => {}
        }
    }
    Ok(())
}

/// What is the same is one line; what is not shows both sides.
fn show_replayed(turn: &v1::ReplayedTurn) {
    if turn.same {
        println!("{}  same", turn.turn_id);
        return;
    }
    println!("{}  {}", turn.turn_id, if turn.error.is_empty() { "differs" } else { &turn.error });
    for (sign, side) in [("-", &turn.before), ("+", &turn.after)] {
        let Some(side) = side else { continue };
        for each in &side.calls {
            println!("  {sign} {}", called(each));
        }
        if !side.text.is_empty() {
            println!("  {sign} {}", side.text.replace('\n', &format!("\n  {sign} ")));
        }
        println!("  {sign} {}", spent(side.usage.as_ref()));
    }
    for divergence in &turn.divergences {
        println!("  ! {divergence}");
    }
}

fn replayed(turn: &v1::ReplayedTurn) -> Value {
    let side = |side: &Option<v1::ReplayedAnswer>| {
        side.as_ref().map(|side| {
            json!({
                "text": side.text, "calls": side.calls.iter().map(call).collect::<Vec<_>>(),
                "usage": usage(side.usage.as_ref()), "promptHash": side.prompt_hash,
            })
        })
    };
    json!({
        "turnId": turn.turn_id, "dialogueId": turn.dialogue_id, "same": turn.same, "asked": turn.asked,
        "before": side(&turn.before), "after": side(&turn.after), "divergences": turn.divergences,
        "error": turn.error,
    })
}

/// Shows a turn with its runs, all that its engine was given and answered, and what that cost.
pub(crate) async fn turn(client: &Client, output: Output, id: String) -> anyhow::Result<()> {
    let turn = client.dialogues().get_turn(v1::GetTurnRequest { id }).await?.into_inner().turn;
    let turn = turn.unwrap_or_default();
    let state = short(turn.state().as_str_name(), "TURN_STATE_");
    let run = |run: &v1::Run| {
        json!({
            "number": run.number, "state": short(run.state().as_str_name(), "RUN_STATE_"), "error": run.error,
            "usage": usage(run.usage.as_ref()), "promptHash": run.prompt_hash,
            "manifest": run.manifest.as_ref().map(object), "startTime": moment(run.start_time.as_ref()),
            "endTime": moment(run.end_time.as_ref()),
        })
    };
    let json = json!({
        "id": turn.id, "dialogueId": turn.dialogue_id, "agentId": turn.agent_id, "state": state,
        "reason": turn.reason, "usage": usage(turn.usage.as_ref()),
        "runs": turn.runs.iter().map(run).collect::<Vec<_>>(),
    });
    if output == Output::Json {
        println!("{json}");
        return Ok(());
    }
    println!("{state} {}\n{}", turn.reason, spent(turn.usage.as_ref()));
    for run in &turn.runs {
        let state = short(run.state().as_str_name(), "RUN_STATE_");
        println!("\nrun {}  {state}  {}  {}", run.number, spent(run.usage.as_ref()), run.error);
        println!("prompt {}", run.prompt_hash);
        let manifest = run.manifest.as_ref().map(object).unwrap_or_default();
        println!("{}", serde_json::to_string_pretty(&manifest)?);
    }
    Ok(())
}

fn call(call: &v1::RehearsedCall) -> Value {
    json!({
        "tool": call.tool, "arguments": call.arguments.as_ref().map(value),
        "result": call.result.as_ref().map(value), "wouldDo": call.would_do,
    })
}

fn called(call: &v1::RehearsedCall) -> String {
    let arguments = call.arguments.as_ref().map(value).unwrap_or_default();
    format!("{}{}({arguments})", if call.would_do { "would do " } else { "" }, call.tool)
}

fn usage(usage: Option<&v1::Usage>) -> Value {
    let usage = usage.cloned().unwrap_or_default();
    json!({
        "calls": usage.calls, "unknownCalls": usage.unknown_calls, "inputTokens": usage.input_tokens,
        "cachedInputTokens": usage.cached_input_tokens, "outputTokens": usage.output_tokens,
        "costMicros": usage.cost_micros, "currency": usage.currency,
    })
}

/// What calls used, for people. What is not known is a question mark.
fn spent(usage: Option<&v1::Usage>) -> String {
    let usage = usage.cloned().unwrap_or_default();
    let number = |value: Option<i64>| value.map_or("?".to_owned(), |value| value.to_string());
    let cost = usage
        .cost_micros
        .map(|micros| format!(", {}.{:06} {}", micros / 1_000_000, micros % 1_000_000, usage.currency));
    let (input, output) = (number(usage.input_tokens), number(usage.output_tokens));
    let calls = if usage.calls == 0 { return "no calls".to_owned() } else { usage.calls };
    format!("{calls} calls, {input} tokens in, {output} out{}", cost.unwrap_or_default())
}

pub(crate) fn object(members: &Struct) -> Value {
    members.fields.iter().map(|(name, member)| (name.clone(), value(member))).collect()
}

/// Whole numbers read as such.
fn value(wire: &Wire) -> Value {
    match &wire.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => json!(value),
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
        Some(Kind::NumberValue(value)) if value.fract() == 0.0 && value.abs() < 9e15 => json!(*value as i64),
        Some(Kind::NumberValue(value)) => json!(value),
        Some(Kind::StringValue(value)) => json!(value),
        Some(Kind::ListValue(list)) => list.values.iter().map(value).collect(),
        Some(Kind::StructValue(members)) => object(members),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_no_nothing() {
        let mut usage = v1::Usage { calls: 1, unknown_calls: 1, ..v1::Usage::default() };
        assert_eq!(spent(Some(&usage)), "1 calls, ? tokens in, ? out");
        usage.input_tokens = Some(3);
        (usage.cost_micros, usage.currency) = (Some(1_500), "USD".to_owned());
        assert_eq!(spent(Some(&usage)), "1 calls, 3 tokens in, ? out, 0.001500 USD");
        assert_eq!(spent(None), "no calls");
    }
}
