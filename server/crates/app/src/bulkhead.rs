//! Keeps one owner of work from taking all the places of a worker: an endpoint, or a workspace.
//!
//! An endpoint or an engine that hangs holds each call until its time is over. Without a bound of its own its owner would soon
//! hold every place, and everybody else's work would wait for those timeouts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::hub::Hub;

mod far_side;

pub(crate) use far_side::{FarSides, OnTheWay, Way};

/// How many places one owner may have: so many times what is free beyond a reserve, and one at least. One owner alone gets
/// nearly all: with 3, three quarters; two get three sevenths each. However many owners hang, the reserve is left, a place
/// each, to those who have none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// How many times.
    pub(crate) times: usize,
    /// What is kept for those who have no place yet.
    pub(crate) reserve: usize,
}

impl Bound {
    /// How many places one owner may have at most, with so many free for all.
    fn most(self, free: usize) -> usize {
        free.saturating_sub(self.reserve).saturating_mul(self.times)
    }
}

/// Counts who is inside.
#[derive(Clone)]
pub(crate) struct Bulkhead {
    bound: Bound,
    inside: Arc<Mutex<Inside>>,
    /// Wakes whoever claims.
    wake: fn(&Hub),
    hub: Arc<Hub>,
}

#[derive(Default)]
struct Inside {
    counts: HashMap<Uuid, usize>,
    /// Somebody was turned away since the last place was left.
    turned_away: bool,
}

/// One place that an owner holds.
pub(crate) struct Place {
    bulkhead: Bulkhead,
    owner: Uuid,
}

impl Bulkhead {
    /// Bounds each owner's places; `wake` is called when a place is left after somebody was turned away.
    pub(crate) fn new(bound: Bound, hub: &Arc<Hub>, wake: fn(&Hub)) -> Self {
        Self { bound, inside: Arc::default(), wake, hub: Arc::clone(hub) }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. The claim asked [`Self::full`] before; what it brought beyond the bound is done all the same.
    pub(crate) fn enter(&self, owner: Uuid) -> Place {
        *self.lock().counts.entry(owner).or_default() += 1;
        Place { bulkhead: self.clone(), owner }
    }

    /// Who may have no more, with so many places free for all.
    pub(crate) fn full(&self, free: usize) -> Vec<Uuid> {
        let most = self.bound.most(free).max(1);
        let mut inside = self.lock();
        let full: Vec<Uuid> =
            inside.counts.iter().filter(|(_, count)| **count >= most).map(|(owner, _)| *owner).collect();
        inside.turned_away = !full.is_empty();
        full
    }

    /// How many more one owner may have, with so many places free for all.
    pub(crate) fn room(&self, owner: Uuid, free: usize) -> usize {
        let has = self.lock().counts.get(&owner).copied().unwrap_or_default();
        self.bound.most(free).saturating_sub(has)
    }

    /// How many one owner gets of a claim at most, with so many places free for all.
    pub(crate) fn most(&self, free: usize) -> usize {
        // So that one claim does not go far beyond the bound.
        (free.saturating_sub(self.bound.reserve) / (self.bound.times + 1)).max(1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.bulkhead.lock();
        if let Some(count) = inside.counts.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                inside.counts.remove(&self.owner);
            }
        }
        // Nobody claims for an owner without places until told that there may be one.
        if std::mem::take(&mut inside.turned_away) {
            (self.bulkhead.wake)(&self.bulkhead.hub);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    #[test]
    fn an_owner_is_full_until_a_place_is_free() {
        let hub = Arc::new(Hub::new());
        let mut told = hub.hooks();
        told.borrow_and_update();
        let bulkhead = Bulkhead::new(Bound { times: 1, reserve: 7 }, &hub, Hub::tell_hooks);
        let first = bulkhead.enter(ONE);
        assert!(bulkhead.full(9).is_empty());
        let second = bulkhead.enter(ONE);
        let third = bulkhead.enter(ONE);
        let _elsewhere = bulkhead.enter(OTHER);
        drop(third);
        assert!(!told.has_changed().unwrap(), "nobody was turned away");
        assert_eq!(bulkhead.full(9), [ONE]);
        drop(second);
        assert!(told.has_changed().unwrap());
        assert!(bulkhead.full(9).is_empty());
        drop(first);
        assert_eq!(bulkhead.lock().counts.len(), 1);
    }

    #[test]
    fn however_many_hang_something_is_left() {
        const PLACES: usize = 1_024;
        const RESERVE: usize = 64;
        let hub = Arc::new(Hub::new());
        let bulkhead = Bulkhead::new(Bound { times: 3, reserve: RESERVE }, &hub, Hub::tell_hooks);
        let mut inside = Vec::new();
        for owner in 1..=10 {
            let owner = Uuid::from_u128(owner);
            loop {
                let free = PLACES - inside.len();
                if bulkhead.full(free).contains(&owner) {
                    break;
                }
                inside.extend((0..bulkhead.most(free).min(128)).map(|_| bulkhead.enter(owner)));
            }
            assert!(inside.len() < PLACES, "{owner} took the last");
        }
        assert!(PLACES - inside.len() > RESERVE - 10, "the reserve went to few");
        let first = bulkhead.lock().counts[&ONE];
        assert!((700..=800).contains(&first), "the first, alone, got {first}");
    }
}
