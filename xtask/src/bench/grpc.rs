//! Reads over gRPC, and the bare service they are compared with.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use switchboard_sdk::tonic::transport::server::TcpIncoming;
use switchboard_sdk::tonic::transport::{Channel, Endpoint, Server};
use switchboard_sdk::tonic::{self, Request, Response, Status};
use switchboard_sdk::v1::agents_service_client::AgentsServiceClient;
use switchboard_sdk::v1::dialogues_service_client::DialoguesServiceClient;
use switchboard_sdk::v1::dialogues_service_server::{DialoguesService, DialoguesServiceServer};
use switchboard_sdk::v1::{
    DeleteDialogueRequest, DeleteDialogueResponse, Dialogue, DialogueStatus, GetDeliveryRequest,
    GetDeliveryResponse, GetDialogueRequest, GetDialogueResponse, GetTurnRequest, GetTurnResponse,
    ImportMessagesRequest, ImportMessagesResponse, ListContactsRequest, ListContactsResponse,
    ListDeliveriesRequest, ListDeliveriesResponse, ListDialoguesRequest, ListDialoguesResponse,
    ListMessagesRequest, ListMessagesResponse, ListModelsRequest, ListTurnsRequest, ListTurnsResponse,
    ReleaseControlRequest, ReleaseControlResponse, ResolveDeliveryRequest, ResolveDeliveryResponse,
    RetryDeliveryRequest, RetryDeliveryResponse, SendMessageRequest, SendMessageResponse, TakeControlRequest,
    TakeControlResponse, UpdateDialogueRequest, UpdateDialogueResponse,
};
use tokio::task::JoinSet;

use super::load::finish;

const CONNECTIONS: usize = 8;
const IN_FLIGHT: usize = 32;

/// Who reads what. One client for both sides of the comparison, without compression.
#[derive(Debug, Clone)]
pub struct Readers {
    endpoint: String,
    api_key: String,
}

impl Readers {
    /// Readers at an endpoint with a key.
    pub fn new(endpoint: &str, api_key: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), api_key: api_key.to_owned() }
    }

    async fn connect(&self) -> anyhow::Result<DialoguesServiceClient<Channel>> {
        let channel = Endpoint::from_shared(self.endpoint.clone())?.tcp_nodelay(true).connect().await?;
        Ok(DialoguesServiceClient::new(channel).max_decoding_message_size(64 << 20))
    }

    fn request<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.api_key).parse()?);
        Ok(request)
    }

    /// The ids of the newest dialogues.
    pub async fn dialogues(&self) -> anyhow::Result<Vec<String>> {
        let request =
            self.request(ListDialoguesRequest { page_size: 1_000, ..ListDialoguesRequest::default() })?;
        let page = self.connect().await?.list_dialogues(request).await?.into_inner();
        Ok(page.dialogues.into_iter().map(|dialogue| dialogue.id).collect())
    }

    /// Lists the models of an engine so often, one call after the other; gives how long each took, in milliseconds. The first
    /// call, which asks the vendor, is left out.
    pub async fn list_models(&self, count: usize) -> anyhow::Result<Vec<f64>> {
        let channel = Endpoint::from_shared(self.endpoint.clone())?.tcp_nodelay(true).connect().await?;
        let mut agents = AgentsServiceClient::new(channel);
        let request = ListModelsRequest { vendor: "mock".to_owned(), ..ListModelsRequest::default() };
        agents.list_models(self.request(request.clone())?).await?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let request = self.request(request.clone())?;
            let begun = Instant::now();
            agents.list_models(request).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }

    /// Reads dialogues as fast as they come, for a time; gives the reads per second.
    pub async fn rush(&self, ids: &[String], length: Duration) -> anyhow::Result<f64> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(self.connect().await?);
        }
        let authorization = self.request(())?.into_parts().0;
        let mut tasks = JoinSet::new();
        let end = Instant::now() + length;
        for task in 0..CONNECTIONS * IN_FLIGHT {
            let mut client = clients[task % CONNECTIONS].clone();
            let ids = ids.to_vec();
            let authorization = authorization.clone();
            tasks.spawn(async move {
                let mut read = 0_u32;
                // Each begins elsewhere in the list.
                for id in ids.iter().cycle().skip(task) {
                    let message = GetDialogueRequest { id: id.clone() };
                    let request =
                        Request::from_parts(authorization.clone(), tonic::Extensions::default(), message);
                    client.get_dialogue(request).await?;
                    if Instant::now() >= end {
                        break;
                    }
                    read += 1;
                }
                anyhow::Ok(read)
            });
        }
        let read: u32 = finish(tasks, length + Duration::from_secs(30)).await?.into_iter().sum();
        Ok(f64::from(read) / length.as_secs_f64())
    }
}

/// The bare service in a process of its own, like the server. Dropping it ends it.
#[derive(Debug)]
pub struct EchoProcess {
    /// Where it answers.
    pub endpoint: String,
    child: Child,
}

impl EchoProcess {
    /// Starts this program again, as the service.
    pub fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "--echo"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the bare service")?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        Ok(Self { endpoint: line.trim().to_owned(), child })
    }
}

impl Drop for EchoProcess {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("ending the bare service: {error}");
        }
    }
}

/// Serves the bare service on a free port, whose endpoint is printed, until the process is ended.
pub async fn serve_echo() -> anyhow::Result<()> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    println!("http://{}", incoming.local_addr()?);
    Server::builder()
        .add_service(DialoguesServiceServer::new(Echo))
        .serve_with_incoming(incoming)
        .await
        .context("serving")
}

/// Answers with the id it was asked for and nothing behind it.
#[derive(Debug)]
struct Echo;

fn unused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("only GetDialogue is measured"))
}

#[tonic::async_trait]
impl DialoguesService for Echo {
    async fn get_dialogue(
        &self,
        request: Request<GetDialogueRequest>,
    ) -> Result<Response<GetDialogueResponse>, Status> {
        let time = Some(switchboard_sdk::prost_types::Timestamp { seconds: 1_800_000_000, nanos: 1_000 });
        let id = request.into_inner().id;
        let dialogue = Dialogue {
            channel_id: id.clone(),
            id,
            chat: "1000".to_owned(),
            status: DialogueStatus::Pending.into(),
            message_count: 1,
            control: None,
            attributes: None,
            contact_id: String::new(),
            crm: None,
            opted_out: false,
            version: 1,
            create_time: time,
            update_time: time,
        };
        Ok(Response::new(GetDialogueResponse { dialogue: Some(dialogue) }))
    }
    async fn list_dialogues(
        &self,
        _: Request<ListDialoguesRequest>,
    ) -> Result<Response<ListDialoguesResponse>, Status> {
        unused()
    }
    async fn list_messages(
        &self,
        _: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        unused()
    }
    async fn list_turns(&self, _: Request<ListTurnsRequest>) -> Result<Response<ListTurnsResponse>, Status> {
        unused()
    }
    async fn get_turn(&self, _: Request<GetTurnRequest>) -> Result<Response<GetTurnResponse>, Status> {
        unused()
    }
    async fn list_deliveries(
        &self,
        _: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesResponse>, Status> {
        unused()
    }
    async fn get_delivery(
        &self,
        _: Request<GetDeliveryRequest>,
    ) -> Result<Response<GetDeliveryResponse>, Status> {
        unused()
    }
    async fn retry_delivery(
        &self,
        _: Request<RetryDeliveryRequest>,
    ) -> Result<Response<RetryDeliveryResponse>, Status> {
        unused()
    }
    async fn resolve_delivery(
        &self,
        _: Request<ResolveDeliveryRequest>,
    ) -> Result<Response<ResolveDeliveryResponse>, Status> {
        unused()
    }
    async fn send_message(
        &self,
        _: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        unused()
    }
    async fn take_control(
        &self,
        _: Request<TakeControlRequest>,
    ) -> Result<Response<TakeControlResponse>, Status> {
        unused()
    }
    async fn delete_dialogue(
        &self,
        _: Request<DeleteDialogueRequest>,
    ) -> Result<Response<DeleteDialogueResponse>, Status> {
        unused()
    }
    async fn release_control(
        &self,
        _: Request<ReleaseControlRequest>,
    ) -> Result<Response<ReleaseControlResponse>, Status> {
        unused()
    }
    async fn update_dialogue(
        &self,
        _: Request<UpdateDialogueRequest>,
    ) -> Result<Response<UpdateDialogueResponse>, Status> {
        unused()
    }
    async fn list_contacts(
        &self,
        _: Request<ListContactsRequest>,
    ) -> Result<Response<ListContactsResponse>, Status> {
        unused()
    }
    async fn import_messages(
        &self,
        _: Request<ImportMessagesRequest>,
    ) -> Result<Response<ImportMessagesResponse>, Status> {
        unused()
    }
}
