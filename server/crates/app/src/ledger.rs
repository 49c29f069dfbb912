//! What a run gives its engine, and what its calls use and cost: kept with the run, see [`domain::manifest`].

use domain::{
    agent::Engine,
    cost::Spent,
    dialogue::{DialogueFacts, Message},
    engine::{Completion, Outcome},
    manifest::{self, Prompt},
    vendor::{Applied, VendorError},
};
use store::turns::RunRecord;

/// The record of a run in the making.
#[derive(Debug, Default)]
pub(crate) struct Ledger(RunRecord);

impl Ledger {
    /// Notes what the engine is given first. `said`: the messages that its history was made of; `cut`: why it has not all of
    /// them.
    pub(crate) fn given(
        &mut self,
        request: &Completion,
        said: &[Message],
        known: &DialogueFacts,
        cut: Option<&str>,
    ) {
        let cut = cut.map(str::to_owned);
        self.0.request = Some(Prompt { cut, ..Prompt::of(request, said, known) });
        self.0.hash = Some(manifest::digest(request));
    }

    /// Notes what came of a call; gives what it used.
    pub(crate) fn called(&mut self, engine: &Engine, outcome: &Result<Outcome, VendorError>) -> Spent {
        let spent = spent(engine, outcome);
        self.0.spent.add(&spent);
        spent
    }

    /// Notes that what an engine still worked on was given up; gives what it used, which nobody knows.
    pub(crate) fn abandoned(&mut self) -> Spent {
        let spent = Spent::call(None, None);
        self.0.spent.add(&spent);
        spent
    }

    /// The record as it stands in the end.
    pub(crate) fn into_record(self) -> RunRecord {
        self.0
    }

    /// The record so far.
    pub(crate) fn record(&self) -> &RunRecord {
        &self.0
    }
}

/// What a call used. One that the vendor never took costs nothing; of one that was cut off nobody knows.
pub(crate) fn spent(engine: &Engine, outcome: &Result<Outcome, VendorError>) -> Spent {
    match outcome {
        Ok(Outcome::Answered(answer)) => Spent::answered(answer, engine.price.as_ref()),
        // What it works on is paid for when it is told.
        Ok(Outcome::Waiting { .. }) => Spent::default(),
        Ok(Outcome::Failed { error, .. }) | Err(error) => match error.applied {
            Applied::No => Spent::default(),
            Applied::Maybe => Spent::call(None, None),
        },
    }
}
