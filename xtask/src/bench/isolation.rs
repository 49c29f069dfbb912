//! Whether dialogues whose engine is slow slow the others down.

use std::time::Duration;

use anyhow::ensure;
use switchboard_sdk::prost_types::{Struct, Value, value::Kind};
use switchboard_sdk::v1::{Agent, Engine};

use super::load::Customers;
use super::receiver::Receiver;
use super::server::{DataDir, Server};
use super::statistics::percentile;
use super::{Bench, CONNECTIONS, LENGTH, PAIRS, WARM_UP, ms, pairs};

/// How many messages come in a second: a tenth of what the server can do.
const RATE: f64 = 300.0;
/// How many dialogues there are; of 100 one is slow.
const DIALOGUES: u64 = 10_000;
const SLOW: u64 = DIALOGUES / 100;
const SLOW_MS: f64 = 30_000.0;
/// How many times longer than other rows each side is measured: of few messages a p99 tells little.
const STRETCH: u32 = 5;

impl Bench {
    /// Two servers, one with slow dialogues and one without, take turns at the same load: on one alone, each run without
    /// slow dialogues would have to wait for them to end.
    pub(super) async fn isolation(&mut self) -> anyhow::Result<()> {
        let receiver = Receiver::start().await?;
        // Numbers of messages count per customers, so that the others' replies need receivers of their own.
        let (slow_receiver, calm_receiver) = (Receiver::start().await?, Receiver::start().await?);
        let (data, calm_data) = (DataDir::new()?, DataDir::new()?);
        let server = Server::start(&self.program, &data, "api,worker")?;
        let calm_server = Server::start(&self.program, &calm_data, "api,worker")?;
        let beside = server.customers(receiver.url(), DIALOGUES - SLOW).await?;
        let calm = calm_server.customers(calm_receiver.url(), DIALOGUES - SLOW).await?;
        let slow = server.customers_of(slow_agent(), slow_receiver.url(), SLOW).await?;
        // All slow dialogues wait for their engine from here on, and get their share of messages.
        slow.send(CONNECTIONS, SLOW).await?;
        let runs = (LENGTH * (2 * PAIRS).try_into()? + WARM_UP * 2) * STRETCH;
        let background = {
            let slow = slow.clone();
            tokio::spawn(async move { slow.pace(2, RATE / 100.0, runs).await })
        };
        let measured = pairs(
            async |length| p99(&beside, &receiver, length * STRETCH).await,
            async |length| p99(&calm, &calm_receiver, length * STRETCH).await,
        )
        .await?;
        let sent = background.await??.len() as u64 + SLOW;
        let answered = (0..sent).filter(|number| slow_receiver.arrival(*number).is_some()).count() as u64;
        println!("  messages to slow dialogues: {sent}, answered meanwhile: {answered}");
        ensure!(answered < sent, "the slow dialogues were not slow");
        self.put("isolation_p99_ratio", measured);
        Ok(())
    }
}

fn slow_agent() -> Agent {
    let delay = Value { kind: Some(Kind::NumberValue(SLOW_MS)) };
    let settings = Struct { fields: [("delay_ms".to_owned(), delay)].into() };
    Agent { engine: Some(Engine { settings: Some(settings), ..Engine::default() }), ..Agent::default() }
}

/// From the request to the delivery.
async fn p99(customers: &Customers, receiver: &Receiver, length: Duration) -> anyhow::Result<f64> {
    let first = customers.next_number();
    let sent = customers.pace(CONNECTIONS, RATE * 0.99, length).await?;
    receiver.all(first..customers.next_number()).await?;
    let times: Vec<f64> =
        sent.iter().filter_map(|sent| Some(ms(receiver.arrival(sent.number)? - sent.due))).collect();
    Ok(percentile(&times, 99))
}
