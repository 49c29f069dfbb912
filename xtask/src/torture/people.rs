//! People who take dialogues over, say something and give them back, and keep a ledger of when a dialogue was theirs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use rand::RngExt as _;
use rand::rngs::StdRng;
use switchboard_sdk::Client;
use switchboard_sdk::tonic::{Request, Status};
use switchboard_sdk::v1::{
    ListDialoguesRequest, MessageAuthor, ReleaseControlRequest, SendMessageRequest, TakeControlRequest,
};

use super::customers::Route;
use super::messenger::now;
use super::processes::Processes;

/// How long one call may be made in vain after the faults are over.
const PATIENCE: Duration = Duration::from_mins(1);

/// When a dialogue was a person's: from the answer that said so until it was given back. Since 1970.
#[derive(Debug, Clone)]
pub struct Held {
    /// Which dialogue.
    pub dialogue: String,
    /// Its beginning.
    pub from: Duration,
    /// Its end.
    pub until: Duration,
}

/// The ledger of all people.
#[derive(Debug, Default)]
pub struct Ledger {
    held: Mutex<Vec<Held>>,
    /// The messages that were accepted.
    said: Mutex<Vec<String>>,
}

impl Ledger {
    /// When which dialogues were a person's.
    pub fn held(&self) -> Vec<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ids of what people said.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes dialogues of a channel over, one after another, until the end of the faults. Each call is made until it is answered.
pub async fn take_over(
    route: Route,
    mut rng: StdRng,
    processes: Arc<Processes>,
    ledger: Arc<Ledger>,
    end: Instant,
) -> anyhow::Result<()> {
    let insist = Insist { processes: &processes, workspace: route.workspace, end };
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..800))).await;
        let request =
            ListDialoguesRequest { channel_id: route.channel.clone(), ..ListDialoguesRequest::default() };
        let dialogues = insist
            .on(|client| {
                let message = Request::new(request.clone());
                async move { client.dialogues().list_dialogues(message).await }
            })
            .await?
            .into_inner()
            .dialogues;
        if dialogues.is_empty() {
            continue;
        }
        let dialogue = dialogues[rng.random_range(0..dialogues.len())].id.clone();
        let take = TakeControlRequest {
            dialogue_id: dialogue.clone(),
            by: "a person".to_owned(),
            ..TakeControlRequest::default()
        };
        insist
            .on(|client| {
                let message = Request::new(take.clone());
                async move { client.dialogues().take_control(message).await }
            })
            .await?;
        let from = now();
        let say = SendMessageRequest {
            dialogue_id: dialogue.clone(),
            text: "a person says so".to_owned(),
            author: MessageAuthor::Operator.into(),
            by: "a person".to_owned(),
            request_id: request_id(&mut rng),
            ..SendMessageRequest::default()
        };
        let said = insist
            .on(|client| {
                let message = Request::new(say.clone());
                async move { client.dialogues().send_message(message).await }
            })
            .await?;
        let said = said.into_inner().message.unwrap_or_default().id;
        ledger.said.lock().unwrap_or_else(PoisonError::into_inner).push(said);
        tokio::time::sleep(Duration::from_millis(rng.random_range(300..2_500))).await;
        let held = Held { dialogue: dialogue.clone(), from, until: now() };
        ledger.held.lock().unwrap_or_else(PoisonError::into_inner).push(held);
        let release = ReleaseControlRequest { dialogue_id: dialogue, ..ReleaseControlRequest::default() };
        insist
            .on(|client| {
                let message = Request::new(release.clone());
                async move { client.dialogues().release_control(message).await }
            })
            .await?;
    }
    Ok(())
}

/// A UUID, so that what is said again after a lost answer is not said twice.
fn request_id(rng: &mut StdRng) -> String {
    let (head, tail): (u32, u64) = rng.random();
    format!("{head:08x}-0000-4000-8000-{:012x}", tail >> 16)
}

/// Makes a call at one process and another until it is answered.
struct Insist<'a> {
    processes: &'a Processes,
    workspace: usize,
    end: Instant,
}

impl Insist<'_> {
    async fn on<T, F>(&self, call: impl Fn(Client) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        loop {
            let answer = async {
                let client = self.processes.client(self.workspace).await?;
                anyhow::Ok(tokio::time::timeout(Duration::from_secs(5), call(client)).await??)
            };
            match answer.await {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() > self.end + PATIENCE => {
                    bail!("a person's call was never answered: {error:#}");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}
