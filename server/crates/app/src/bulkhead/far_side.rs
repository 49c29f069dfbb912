//! Keeps one engine, or one receiver, from taking all the places of its workspace.
//!
//! What a claimed turn or delivery is going to call is not known when it is claimed: its channel is. So places are counted by
//! channel, and channels that were last seen calling the same engine's account, or the same receiver, are counted together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::{ChannelId, WorkspaceId};
use uuid::Uuid;

use crate::hub::Hub;

/// What a place is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// To ask the engine of the channel's agent.
    Engine,
    /// To send to the channel's receiver.
    Receiver,
}

/// The channels that may have no more places.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Full {
    /// For turns.
    pub(crate) turns: Vec<Uuid>,
    /// For deliveries.
    pub(crate) outs: Vec<Uuid>,
}

/// Counts who is on the way to what.
#[derive(Clone)]
pub(crate) struct FarSides {
    state: Arc<Mutex<State>>,
    hub: Arc<Hub>,
}

#[derive(Default)]
struct State {
    places: HashMap<(Way, ChannelId), (WorkspaceId, usize)>,
    /// What channels were last seen calling. Forgotten as a whole when it grows too long: it is learned anew.
    known: HashMap<(Way, ChannelId), (WorkspaceId, Arc<str>)>,
    /// Somebody was turned away since the last place was left.
    turned_away: bool,
}

/// How many channels are remembered.
const MOST_KNOWN: usize = 20_000;

impl FarSides {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        Self { state: Arc::default(), hub: Arc::clone(hub) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a turn or a delivery of a channel.
    pub(crate) fn enter(&self, workspace: WorkspaceId, way: Way, channel: ChannelId) -> OnTheWay {
        self.lock().take(way, channel, workspace);
        OnTheWay { sides: self.clone(), workspace, at: Mutex::new((way, channel)) }
    }

    /// How many places are taken for channels of which it is not known what they call: their turns have not begun yet.
    pub(crate) fn strangers(&self) -> usize {
        let state = self.lock();
        let strange = state.places.iter().filter(|(key, _)| !state.known.contains_key(key));
        strange.map(|(_, (_, count))| count).sum()
    }

    /// Which channels may have no more: those that call what has half as many places, or more, as its workspace may still
    /// get, which is what `room` says. So each of several that hang gets less than the one before, and something is left to
    /// the others of their workspace. Where nothing more may be sent no turn begins either: it would go on to send its reply.
    pub(crate) fn full(&self, room: impl Fn(WorkspaceId) -> usize) -> Full {
        let mut state = self.lock();
        let mut counts = HashMap::<(Way, WorkspaceId, FarSide<'_>), usize>::new();
        for (&(way, channel), &(workspace, count)) in &state.places {
            *counts.entry((way, workspace, state.far_side(way, channel))).or_default() += count;
        }
        counts.retain(|(_, workspace, _), count| *count >= (room(*workspace) / 2).max(1));
        let mut full = Full::default();
        if !counts.is_empty() {
            let there = state.places.iter().map(|(key, (workspace, _))| (*key, *workspace));
            let known = state.known.iter().map(|(key, (workspace, _))| (*key, *workspace));
            for ((way, channel), workspace) in there.chain(known) {
                if counts.contains_key(&(way, workspace, state.far_side(way, channel))) {
                    full.turns.push(channel.0);
                    if way == Way::Receiver {
                        full.outs.push(channel.0);
                    }
                }
            }
            for channels in [&mut full.turns, &mut full.outs] {
                channels.sort_unstable();
                channels.dedup();
            }
        }
        let turned_away = !counts.is_empty();
        drop(counts);
        state.turned_away = turned_away;
        full
    }
}

/// What a channel calls: as far as is known, nobody else does.
#[derive(Debug, PartialEq, Eq, Hash)]
enum FarSide<'a> {
    Known(&'a str),
    OfChannel(ChannelId),
}

impl State {
    fn far_side(&self, way: Way, channel: ChannelId) -> FarSide<'_> {
        self.known.get(&(way, channel)).map_or(FarSide::OfChannel(channel), |(_, name)| FarSide::Known(name))
    }

    fn take(&mut self, way: Way, channel: ChannelId, workspace: WorkspaceId) {
        self.places.entry((way, channel)).or_insert((workspace, 0)).1 += 1;
    }

    fn leave(&mut self, way: Way, channel: ChannelId) {
        if let Some((_, count)) = self.places.get_mut(&(way, channel)) {
            *count -= 1;
            if *count == 0 {
                self.places.remove(&(way, channel));
            }
        }
    }
}

/// One place that a turn or a delivery has.
pub(crate) struct OnTheWay {
    sides: FarSides,
    workspace: WorkspaceId,
    at: Mutex<(Way, ChannelId)>,
}

impl OnTheWay {
    /// Says what is called now. A turn that goes on to send its reply leaves the engine's place for the receiver's.
    pub(crate) fn calls(&self, way: Way, channel: ChannelId, name: &str) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.sides.lock();
        if *at != (way, channel) {
            state.take(way, channel, self.workspace);
            state.leave(at.0, at.1);
            *at = (way, channel);
            if std::mem::take(&mut state.turned_away) {
                self.sides.hub.wake_work();
            }
        }
        let key = (way, channel);
        if state.known.get(&key).is_none_or(|(_, known)| **known != *name) {
            if state.known.len() >= MOST_KNOWN {
                state.known.clear();
            }
            state.known.insert(key, (self.workspace, name.into()));
        }
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        let (way, channel) = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let turned_away = {
            let mut state = self.sides.lock();
            state.leave(way, channel);
            std::mem::take(&mut state.turned_away)
        };
        // Nobody claims for a channel without places until told that there may be one.
        if turned_away {
            self.sides.hub.wake_work();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: WorkspaceId = WorkspaceId(Uuid::from_u128(1));

    const fn channel(number: u128) -> ChannelId {
        ChannelId(Uuid::from_u128(number))
    }

    #[test]
    fn channels_of_one_engine_are_full_together() {
        let hub = Arc::new(Hub::new());
        let mut told = hub.work();
        told.borrow_and_update();
        let sides = FarSides::new(&hub);
        let enter = |number| sides.enter(WORKSPACE, Way::Engine, channel(number));
        let (first, second, other) = (enter(1), enter(2), enter(3));
        // Nothing is known of them: each stands for itself.
        assert_eq!((sides.full(|_| 4), sides.strangers()), (Full::default(), 3));
        first.calls(Way::Engine, channel(1), "slow");
        second.calls(Way::Engine, channel(2), "slow");
        other.calls(Way::Engine, channel(3), "fast");
        assert_eq!(sides.strangers(), 0);
        let turns = vec![channel(1).0, channel(2).0];
        assert_eq!(sides.full(|_| 4), Full { turns: turns.clone(), outs: Vec::new() });
        drop(other);
        assert!(told.has_changed().unwrap());
        // A channel without a place is full as well, when what it calls is.
        drop(second);
        assert_eq!(sides.full(|_| 2), Full { turns, outs: Vec::new() });
        // With its reply in hand a turn is on the way to the receiver.
        first.calls(Way::Receiver, channel(1), "there");
        assert_eq!(sides.full(|_| 2), Full { turns: vec![channel(1).0], outs: vec![channel(1).0] });
        drop(first);
        assert_eq!(sides.full(|_| 0), Full::default());
        assert!(sides.lock().places.is_empty());
    }

    #[test]
    fn what_is_called_is_counted_for_each_workspace() {
        let sides = FarSides::new(&Arc::new(Hub::new()));
        let other = WorkspaceId(Uuid::from_u128(2));
        let ours = sides.enter(WORKSPACE, Way::Receiver, channel(1));
        let theirs = sides.enter(other, Way::Receiver, channel(2));
        ours.calls(Way::Receiver, channel(1), "one.example");
        theirs.calls(Way::Receiver, channel(2), "one.example");
        let full = sides.full(|workspace| if workspace == other { 100 } else { 1 });
        assert_eq!(full, Full { turns: vec![channel(1).0], outs: vec![channel(1).0] });
    }
}
