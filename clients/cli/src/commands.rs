//! The commands.

use std::{io::Read as _, time::Duration};

use clap::Subcommand;
use prost_types::Struct;
use serde_json::json;
use switchboard_sdk::{Client, pages, v1};

use crate::{
    Options,
    clock::{self, Clock},
    crm::{self, Crm},
    deliveries::{self, Deliveries, Person},
    doctor::{self, Doctor},
    endpoints::{self, Dispatches, Endpoints},
    import::{self, Import},
    integrations::{self, Integrations},
    output::{Output, Row, moment, print, short},
    rehearsals::{self, Preview, Replay, object},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Agents: who answers.
    #[command(subcommand)]
    Agents(Agents),
    /// Channels: the routes that messages travel.
    #[command(subcommand)]
    Channels(Channels),
    /// Dialogues: what was said.
    #[command(subcommand)]
    Dialogues(Dialogues),
    /// Deliveries: messages on their way out, and the dead letters.
    #[command(subcommand)]
    Deliveries(Deliveries),
    /// Endpoints: where events are posted to.
    #[command(subcommand)]
    Endpoints(Endpoints),
    /// Dispatches: events on their way to endpoints.
    #[command(subcommand)]
    Dispatches(Dispatches),
    /// Integrations: the workspace's connections to vendors.
    #[command(subcommand)]
    Integrations(Integrations),
    /// What the workspace's CRM keeps: fields, pipelines, users, tags, leads, and the sources of its chats.
    #[command(subcommand)]
    Crm(Crm),
    /// Finds out what is wrong, and says what to do about it.
    #[command(subcommand)]
    Doctor(Doctor),
    /// Lists the vendors that the server knows, and what each wants to know.
    Vendors,
    /// Lists the models that an engine can be set to.
    Models {
        /// The engine's vendor.
        vendor: String,
        /// The integration whose account is asked. Default: the operator's own account.
        #[arg(long, default_value = "")]
        integration: String,
        /// Asks the vendor now, whatever the server knows.
        #[arg(long)]
        refresh: bool,
    },
    /// Tells what the workspace has done so far.
    Stats,
    /// The clock of a simulation.
    #[command(subcommand)]
    Clock(Clock),
    /// Takes over what another program has kept.
    #[command(subcommand)]
    Import(Import),
    /// Sends a message in, as the customer.
    Send {
        /// The channel's id.
        #[arg(long)]
        channel: String,
        /// The chat inside the channel. Default: the channel's own.
        #[arg(long, default_value = "")]
        chat: String,
        /// The message's id, which makes a repeat harmless.
        #[arg(long, default_value = "")]
        message_id: String,
        /// As an employee instead: recorded, never answered.
        #[arg(long)]
        employee: bool,
        /// Waits so many seconds for the reply, and prints it.
        #[arg(long, default_value_t = 0)]
        wait: u64,
        /// What the message carries beside, as `image=https://example.com/a.png`: image, audio, video, file or location.
        /// May be given several times.
        #[arg(long = "part", value_parser = part)]
        parts: Vec<v1::MessagePart>,
        /// What to say; `-` reads it from standard input. May be left out where there are parts.
        #[arg(required_unless_present = "parts", default_value = "", hide_default_value = true)]
        text: String,
    },
    /// Streams events as they are recorded, until it is ended.
    Watch {
        /// Where to begin. Default: now; `0`: the beginning of the log.
        #[arg(long, default_value = "")]
        cursor: String,
        /// Only events of this dialogue.
        #[arg(long, default_value = "")]
        dialogue: String,
        /// Only events of these types.
        #[arg(long = "type")]
        types: Vec<String>,
    },
}

/// What to do with agents.
#[derive(Debug, Subcommand)]
pub enum Agents {
    /// Creates an agent, and shows its token, once.
    Create {
        /// A name for people.
        #[arg(long)]
        name: String,
        /// The engine's vendor.
        #[arg(long, default_value = "mock")]
        engine: String,
        /// The vendor's model. Default: the vendor's own choice, where it has one.
        #[arg(long, default_value = "")]
        model: String,
        /// The integration whose account is used. Default: the operator's own account.
        #[arg(long, default_value = "")]
        integration: String,
        /// What the model is told before each dialogue.
        #[arg(long, default_value = "")]
        instructions: String,
    },
    /// Lists agents, oldest first.
    List,
    /// Shows what an agent would answer. Nothing is sent; its engine's calls cost what calls cost.
    Preview(Preview),
    /// Runs a changed agent on recorded turns, and shows what would be different.
    Replay(Replay),
    /// Deletes an agent that no channel uses.
    Delete {
        /// The agent's id.
        id: String,
    },
}

/// What to do with channels.
#[derive(Debug, Subcommand)]
pub enum Channels {
    /// Creates a channel, and shows its token and signing secret.
    Create {
        /// A name for people.
        #[arg(long)]
        name: String,
        /// The id of the agent that answers.
        #[arg(long)]
        agent: String,
        /// Where replies are posted: of a channel that no vendor carries.
        #[arg(long, default_value = "")]
        url: String,
        /// The vendor that carries it, of `switchboard vendors`. Default: replies are posted to `--url`.
        #[arg(long, default_value = "")]
        vendor: String,
        /// The id of the integration that the vendor is reached over.
        #[arg(long, default_value = "")]
        integration: String,
        /// A setting of the vendor's channels, as `name=value`.
        #[arg(long = "setting", value_parser = integrations::pair)]
        settings: Vec<(String, String)>,
        /// The id of the channel whose chats show this one's dialogues.
        #[arg(long, default_value = "")]
        mirror: String,
        /// The source that those chats are of.
        #[arg(long, default_value = "", requires = "mirror")]
        mirror_source: String,
    },
    /// Has the channel's vendor call us about it, and says step by step how it went.
    Connect {
        /// The channel's id.
        id: String,
    },
    /// Has the channel's vendor forget it.
    Disconnect {
        /// The channel's id.
        id: String,
    },
    /// Lists channels, oldest first.
    List,
    /// Deletes a channel.
    Delete {
        /// The channel's id.
        id: String,
    },
}

/// What to do with dialogues.
#[derive(Debug, Subcommand)]
pub enum Dialogues {
    /// Lists dialogues, newest first.
    List {
        /// Only of this channel.
        #[arg(long, default_value = "")]
        channel: String,
        /// Only about this lead of a CRM.
        #[arg(long, default_value = "")]
        lead: String,
        /// Only with this contact.
        #[arg(long, default_value = "")]
        contact: String,
        /// Only of this status: pending, open, snoozed or resolved.
        #[arg(long, value_parser = status)]
        status: Option<v1::DialogueStatus>,
    },
    /// Shows what was said in a dialogue, and what became of its turns.
    Show {
        /// The dialogue's id.
        id: String,
    },
    /// Shows a turn: its runs, all that the engine was given and answered, and what that cost.
    Turn {
        /// The turn's id.
        id: String,
    },
    /// Takes a dialogue for a human: the agent sends nothing until it is released.
    Take {
        #[command(flatten)]
        person: Person,
        /// Gives it back by itself after so many seconds; 0: not by itself.
        #[arg(long, default_value_t = 0)]
        return_after: u64,
    },
    /// Gives a dialogue back to the agent.
    Release(Person),
    /// Deletes a dialogue with all that was said in it, here and at the engine. Nothing brings it back.
    Delete {
        /// The dialogue's id.
        id: String,
    },
    /// Writes to the customer as a person, and so takes the dialogue.
    Reply {
        /// The dialogue's id.
        id: String,
        /// Who writes.
        #[arg(long, default_value = "")]
        by: String,
        /// What to say.
        text: String,
    },
}

pub(crate) async fn run(options: &Options, command: Command) -> anyhow::Result<()> {
    let output = options.output;
    if let Command::Clock(command) = command {
        return clock::run(&options.connection.operator()?, output, command).await;
    }
    let client = options.connection.client()?;
    match command {
        Command::Clock(_) => unreachable!("it was dealt with above"),
        Command::Agents(command) => agents(&client, output, command).await,
        Command::Channels(command) => channels(&client, output, command).await,
        Command::Dialogues(Dialogues::List { channel, lead, contact, status }) => {
            let filter = v1::ListDialoguesRequest {
                channel_id: channel,
                lead_id: lead,
                contact_id: contact,
                status: status.unwrap_or_default().into(),
                ..v1::ListDialoguesRequest::default()
            };
            list_dialogues(&client, output, filter).await
        }
        Command::Dialogues(Dialogues::Show { id }) => show(&client, output, id).await,
        Command::Dialogues(Dialogues::Turn { id }) => rehearsals::turn(&client, output, id).await,
        Command::Dialogues(Dialogues::Take { person, return_after }) => {
            deliveries::take(&client, output, person, return_after).await
        }
        Command::Dialogues(Dialogues::Release(person)) => deliveries::release(&client, output, person).await,
        Command::Dialogues(Dialogues::Delete { id }) => {
            let request = v1::DeleteDialogueRequest { dialogue_id: id };
            client.dialogues().delete_dialogue(request).await?;
            Ok(())
        }
        Command::Dialogues(Dialogues::Reply { id, by, text }) => {
            deliveries::reply(&client, output, id, by, text).await
        }
        Command::Deliveries(command) => deliveries::run(&client, output, command).await,
        Command::Crm(command) => crm::run(&client, output, command).await,
        Command::Doctor(command) => doctor::run(&client, output, command).await,
        Command::Endpoints(command) => endpoints::endpoints(&client, output, command).await,
        Command::Dispatches(command) => endpoints::dispatches(&client, output, command).await,
        Command::Integrations(command) => integrations::run(&client, output, command).await,
        Command::Stats => stats(&client, output).await,
        Command::Import(command) => import::run(&client, output, command).await,
        Command::Vendors => integrations::vendors(&client, output).await,
        Command::Models { vendor, integration, refresh } => {
            let request = v1::ListModelsRequest { vendor, integration_id: integration, refresh };
            integrations::models(&client, output, request).await
        }
        Command::Send { channel, chat, message_id, employee, wait, parts, text } => {
            let sender = if employee { v1::MessageSender::Employee } else { v1::MessageSender::Customer };
            let mut said = text;
            if said == "-" {
                said.clear();
                std::io::stdin().read_to_string(&mut said)?;
            }
            let request = v1::ReceiveMessageRequest {
                channel_id: channel,
                chat,
                message_id,
                text: said,
                sender: sender.into(),
                parts,
                ..v1::ReceiveMessageRequest::default()
            };
            send(&client, output, request, Duration::from_secs(wait)).await
        }
        Command::Watch { cursor, dialogue, types } => {
            let request =
                v1::WatchRequest { cursor, dialogue_id: dialogue, types, ..v1::WatchRequest::default() };
            let mut events = client.events().watch(request).await?.into_inner();
            while let Some(item) = events.message().await? {
                if let Some(event) = item.event {
                    show_event(output, &event);
                }
            }
            Ok(())
        }
    }
}

const AGENT: [&str; 5] = ["ID", "NAME", "ENGINE", "ACTIVE", "TOKEN"];

fn agent(agent: &v1::Agent, token: &str) -> Row {
    let vendor = agent.engine.as_ref().map(|engine| engine.vendor.clone()).unwrap_or_default();
    let token = if token.is_empty() { format!("…{}", agent.token_suffix) } else { token.to_owned() };
    Row {
        json: json!({
            "id": agent.id, "displayName": agent.display_name, "engine": { "vendor": vendor },
            "active": agent.active(), "token": token, "createTime": moment(agent.create_time.as_ref()),
        }),
        cells: vec![agent.id.clone(), agent.display_name.clone(), vendor, agent.active().to_string(), token],
    }
}

async fn agents(client: &Client, output: Output, command: Agents) -> anyhow::Result<()> {
    match command {
        Agents::Create { name, engine, model, integration, instructions } => {
            let engine = Some(v1::Engine {
                vendor: engine,
                model,
                integration_id: integration,
                ..v1::Engine::default()
            });
            let new = v1::Agent { display_name: name, instructions, engine, ..v1::Agent::default() };
            let request = v1::CreateAgentRequest { agent: Some(new), request_id: String::new() };
            let made = client.agents().create_agent(request).await?.into_inner();
            print(output, &AGENT, &[agent(&made.agent.unwrap_or_default(), &made.token)]);
        }
        Agents::List => {
            let client = client.clone();
            let all = pages(move |page_token| {
                let mut agents = client.agents();
                async move {
                    let request = v1::ListAgentsRequest { page_size: 1_000, page_token };
                    let page = agents.list_agents(request).await?.into_inner();
                    Ok((page.agents, page.next_page_token))
                }
            });
            let rows: Vec<Row> = all.collect().await?.iter().map(|each| agent(each, "")).collect();
            print(output, &AGENT, &rows);
        }
        Agents::Preview(command) => rehearsals::preview(client, output, command).await?,
        Agents::Replay(command) => rehearsals::replay(client, output, command).await?,
        Agents::Delete { id } => {
            client.agents().delete_agent(v1::DeleteAgentRequest { id }).await?;
        }
    }
    Ok(())
}

const CHANNEL: [&str; 6] = ["ID", "NAME", "AGENT", "URL", "ACTIVE", "TOKEN"];

fn channel(channel: &v1::Channel, token: &str) -> Row {
    let token = if token.is_empty() { format!("…{}", channel.token_suffix) } else { token.to_owned() };
    Row {
        json: json!({
            "id": channel.id, "displayName": channel.display_name, "agentId": channel.agent_id, "url": channel.url,
            "vendor": channel.vendor, "active": channel.active(), "token": token,
            "createTime": moment(channel.create_time.as_ref()),
        }),
        cells: vec![
            channel.id.clone(),
            channel.display_name.clone(),
            channel.agent_id.clone(),
            channel.url.clone(),
            channel.active().to_string(),
            token,
        ],
    }
}

async fn channels(client: &Client, output: Output, command: Channels) -> anyhow::Result<()> {
    match command {
        Channels::Create { name, agent, url, vendor, integration, settings, mirror, mirror_source } => {
            let fields = settings.iter().map(|(name, text)| (name.clone(), integrations::value(text)));
            let new = v1::Channel {
                display_name: name,
                agent_id: agent,
                url,
                vendor,
                integration_id: integration,
                settings: (!settings.is_empty()).then(|| Struct { fields: fields.collect() }),
                mirror: (!mirror.is_empty())
                    .then_some(v1::ChannelMirror { channel_id: mirror, source_external_id: mirror_source }),
                ..v1::Channel::default()
            };
            let request = v1::CreateChannelRequest { channel: Some(new), request_id: String::new() };
            let made = client.channels().create_channel(request).await?.into_inner();
            let mut row = channel(&made.channel.unwrap_or_default(), &made.token);
            row.json["signingSecret"] = json!(made.signing_secret);
            let mut secrets = vec![("signing secret", &made.signing_secret)];
            if !made.hook_secret.is_empty() {
                row.json["hookSecret"] = json!(made.hook_secret);
                secrets.push(("secret of the address that the vendor calls", &made.hook_secret));
            }
            print(output, &CHANNEL, &[row]);
            if output == Output::Table {
                for (name, secret) in secrets {
                    println!("{name}: {secret}");
                }
            }
        }
        Channels::Connect { id } => {
            let connected = client.channels().connect_channel(v1::ConnectChannelRequest { id }).await?;
            let rows: Vec<Row> = connected.into_inner().steps.iter().map(integrations::step).collect();
            print(output, &integrations::STEP, &rows);
        }
        Channels::Disconnect { id } => {
            let request = v1::DisconnectChannelRequest { id };
            let disconnected = client.channels().disconnect_channel(request).await?;
            let rows: Vec<Row> = disconnected.into_inner().steps.iter().map(integrations::step).collect();
            print(output, &integrations::STEP, &rows);
        }
        Channels::List => {
            let client = client.clone();
            let all = pages(move |page_token| {
                let mut channels = client.channels();
                async move {
                    let request = v1::ListChannelsRequest {
                        page_size: 1_000,
                        page_token,
                        ..v1::ListChannelsRequest::default()
                    };
                    let page = channels.list_channels(request).await?.into_inner();
                    Ok((page.channels, page.next_page_token))
                }
            });
            let rows: Vec<Row> = all.collect().await?.iter().map(|each| channel(each, "")).collect();
            print(output, &CHANNEL, &rows);
        }
        Channels::Delete { id } => {
            client.channels().delete_channel(v1::DeleteChannelRequest { id }).await?;
        }
    }
    Ok(())
}

async fn list_dialogues(
    client: &Client,
    output: Output,
    filter: v1::ListDialoguesRequest,
) -> anyhow::Result<()> {
    let client = client.clone();
    let all = pages(move |page_token| {
        let mut dialogues = client.dialogues();
        let request = v1::ListDialoguesRequest { page_size: 1_000, page_token, ..filter.clone() };
        async move {
            let page = dialogues.list_dialogues(request).await?.into_inner();
            Ok((page.dialogues, page.next_page_token))
        }
    });
    let rows: Vec<Row> = all.collect().await?.iter().map(dialogue).collect();
    print(output, &["ID", "CHANNEL", "CHAT", "LEAD", "STATUS", "MESSAGES", "UPDATED"], &rows);
    Ok(())
}

fn status(text: &str) -> Result<v1::DialogueStatus, String> {
    v1::DialogueStatus::from_str_name(&format!("DIALOGUE_STATUS_{}", text.to_uppercase()))
        .filter(|status| *status != v1::DialogueStatus::Unspecified)
        .ok_or_else(|| "must be pending, open, snoozed or resolved".to_owned())
}

fn dialogue(dialogue: &v1::Dialogue) -> Row {
    let status = short(dialogue.status().as_str_name(), "DIALOGUE_STATUS_");
    let updated = moment(dialogue.update_time.as_ref());
    let crm = dialogue.crm.clone().unwrap_or_default();
    Row {
        json: json!({
            "id": dialogue.id, "channelId": dialogue.channel_id, "chat": dialogue.chat, "status": status,
            "messageCount": dialogue.message_count, "updateTime": updated, "contactId": dialogue.contact_id,
            "crm": {
                "integrationId": crm.integration_id, "leadId": crm.lead_id, "contactId": crm.contact_id,
                "sourceExternalId": crm.source_external_id,
            },
        }),
        cells: vec![
            dialogue.id.clone(),
            dialogue.channel_id.clone(),
            dialogue.chat.clone(),
            crm.lead_id,
            status,
            dialogue.message_count.to_string(),
            updated,
        ],
    }
}

async fn stats(client: &Client, output: Output) -> anyhow::Result<()> {
    let answer = client.workspaces().get_stats(v1::GetStatsRequest::default()).await?.into_inner();
    let stats = answer.stats.unwrap_or_default();
    let started = moment(stats.start_time.as_ref());
    let uptime = stats.uptime.map_or(0, |uptime| uptime.seconds);
    let counts = [
        ("received messages", "receivedMessages", stats.received_messages),
        ("stored messages", "storedMessages", stats.stored_messages),
        ("repeats", "duplicateMessages", stats.duplicate_messages),
        ("conflicts", "conflictingMessages", stats.conflicting_messages),
        ("imported messages", "importedMessages", stats.imported_messages),
        ("engine requests", "engineRequests", stats.engine_requests),
        ("answers", "answers", stats.answers),
        ("delivered messages", "deliveredMessages", stats.delivered_messages),
        ("errors", "errors", stats.errors),
        ("  failed turns", "failedTurns", stats.failed_turns),
        ("  dead deliveries", "deadDeliveries", stats.dead_deliveries),
        ("  quarantined webhooks", "quarantinedWebhooks", stats.quarantined_webhooks),
        ("dialogues", "dialogues", stats.dialogues),
        ("contacts", "contacts", stats.contacts),
    ];
    if output == Output::Json {
        let mut all = json!({ "startTime": started, "uptimeSeconds": uptime });
        for (_, name, count) in counts {
            all[name] = json!(count);
        }
        println!("{all}");
        return Ok(());
    }
    let mut rows: Vec<Row> = counts
        .into_iter()
        .map(|(name, _, count)| Row { json: json!({}), cells: vec![name.to_owned(), count.to_string()] })
        .collect();
    for (name, text) in [("running since", started), ("uptime, seconds", uptime.to_string())] {
        rows.push(Row { json: json!({}), cells: vec![name.to_owned(), text] });
    }
    print(output, &["WHAT", "COUNT"], &rows);
    Ok(())
}

fn message(message: &v1::Message) -> Row {
    let role = short(message.role().as_str_name(), "MESSAGE_ROLE_");
    let created = moment(message.create_time.as_ref());
    Row {
        json: json!({
            "id": message.id, "seq": message.seq, "role": role, "text": message.text,
            "externalId": message.external_id, "turnId": message.turn_id, "createTime": created,
            "metadata": message.metadata.as_ref().map(object),
        }),
        cells: vec![message.seq.to_string(), created, role, message.text.clone()],
    }
}

async fn show(client: &Client, output: Output, id: String) -> anyhow::Result<()> {
    if output == Output::Table {
        let request = v1::GetDialogueRequest { id: id.clone() };
        let about = client.dialogues().get_dialogue(request).await?.into_inner().dialogue.unwrap_or_default();
        let crm = about.crm.unwrap_or_default();
        for (name, text) in [("lead", crm.lead_id), ("contact", about.contact_id)] {
            if !text.is_empty() {
                println!("{name} {text}");
            }
        }
    }
    let (said, dialogue_id) = (client.clone(), id.clone());
    let all = pages(move |page_token| {
        let (mut dialogues, dialogue_id) = (said.dialogues(), dialogue_id.clone());
        async move {
            let request = v1::ListMessagesRequest { dialogue_id, page_size: 1_000, page_token };
            let page = dialogues.list_messages(request).await?.into_inner();
            Ok((page.messages, page.next_page_token))
        }
    });
    let rows: Vec<Row> = all.collect().await?.iter().map(message).collect();
    print(output, &["SEQ", "TIME", "ROLE", "TEXT"], &rows);
    if output == Output::Json {
        return Ok(());
    }
    let request = v1::ListTurnsRequest { dialogue_id: id, ..v1::ListTurnsRequest::default() };
    let turns = client.dialogues().list_turns(request).await?.into_inner().turns;
    let rows: Vec<Row> = turns
        .iter()
        .map(|turn| {
            let state = short(turn.state().as_str_name(), "TURN_STATE_");
            Row { json: json!({}), cells: vec![turn.id.clone(), state, turn.reason.clone()] }
        })
        .collect();
    println!();
    print(output, &["TURN", "STATE", "REASON"], &rows);
    Ok(())
}

fn part(text: &str) -> Result<v1::MessagePart, String> {
    let known = "write it as image=URL, audio=URL, video=URL, file=URL or location=geo:LATITUDE,LONGITUDE";
    let (kind, url) = text.split_once('=').ok_or(known)?;
    let kind = v1::PartKind::from_str_name(&format!("PART_KIND_{}", kind.to_uppercase()))
        .filter(|kind| *kind != v1::PartKind::Unspecified)
        .ok_or(known)?;
    Ok(v1::MessagePart { kind: kind.into(), url: url.to_owned(), ..v1::MessagePart::default() })
}

async fn send(
    client: &Client,
    output: Output,
    request: v1::ReceiveMessageRequest,
    wait: Duration,
) -> anyhow::Result<()> {
    // The stream is open before the message goes in, so the reply can't be missed.
    let mut events = client.events().watch(v1::WatchRequest::default()).await?.into_inner();
    events.message().await?;
    let received = client.webhooks().receive_message(request).await?.into_inner();
    let outcome = short(received.outcome().as_str_name(), "INBOUND_OUTCOME_");
    let row = Row {
        json: json!({
            "messageId": received.message_id, "dialogueId": received.dialogue_id, "outcome": outcome,
            "externalId": received.external_id,
        }),
        cells: vec![received.message_id, received.dialogue_id.clone(), outcome],
    };
    print(output, &["MESSAGE", "DIALOGUE", "OUTCOME"], &[row]);
    if wait.is_zero() {
        return Ok(());
    }
    let reply = async {
        while let Some(item) = events.message().await? {
            let reply = item.event.filter(|event| {
                event.r#type == "message.replied" && event.dialogue_id == received.dialogue_id
            });
            if let Some(reply) = reply.and_then(|event| event.message) {
                return Ok::<_, anyhow::Error>(Some(reply));
            }
        }
        Ok(None)
    };
    match tokio::time::timeout(wait, reply).await {
        Ok(reply) => match reply? {
            Some(reply) => print(output, &["SEQ", "TIME", "ROLE", "TEXT"], &[message(&reply)]),
            None => anyhow::bail!("the server ended the stream before the reply came"),
        },
        Err(_) => anyhow::bail!("no reply came within {} seconds", wait.as_secs()),
    }
    Ok(())
}

fn show_event(output: Output, event: &v1::Event) {
    let created = moment(event.create_time.as_ref());
    match output {
        Output::Json => println!(
            "{}",
            json!({
                "id": event.id, "type": event.r#type, "cursor": event.cursor, "createTime": created,
                "dialogueId": event.dialogue_id, "subjectId": event.subject_id,
                "message": event.message.as_ref().map(|each| message(each).json),
            })
        ),
        Output::Table => {
            let text = event.message.as_ref().map(|message| message.text.as_str()).unwrap_or_default();
            println!("{created}  {:<24}{}  {text}", event.r#type, event.subject_id);
        }
    }
}
