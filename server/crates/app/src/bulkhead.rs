//! Keeps one endpoint from taking all the places of a worker.
//!
//! An endpoint that hangs holds each call until its time is over. Without a bound of its own it would soon hold every place,
//! and everybody else's events would wait for its timeouts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::EndpointId;

use crate::hub::Hub;

/// Counts who is inside.
#[derive(Clone)]
pub(crate) struct Bulkhead {
    most: usize,
    inside: Arc<Mutex<HashMap<EndpointId, usize>>>,
    hub: Arc<Hub>,
}

/// One place that an endpoint holds.
pub(crate) struct Place {
    bulkhead: Bulkhead,
    endpoint: EndpointId,
}

impl Bulkhead {
    /// At most so many places for each endpoint.
    pub(crate) fn new(most: usize, hub: &Arc<Hub>) -> Self {
        Self { most, inside: Arc::default(), hub: Arc::clone(hub) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, usize>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. The claim asked [`Self::full`] before; what it brought beyond the bound is done all the same.
    pub(crate) fn enter(&self, endpoint: EndpointId) -> Place {
        *self.lock().entry(endpoint).or_default() += 1;
        Place { bulkhead: self.clone(), endpoint }
    }

    /// Who has no place left.
    pub(crate) fn full(&self) -> Vec<EndpointId> {
        self.lock().iter().filter(|(_, count)| **count >= self.most).map(|(id, _)| *id).collect()
    }

    /// How many places an endpoint may have.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.bulkhead.lock();
        if let Some(count) = inside.get_mut(&self.endpoint) {
            // Nobody claims for an endpoint without places until told that it has one.
            if *count == self.bulkhead.most {
                self.bulkhead.hub.tell_hooks();
            }
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.endpoint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_full_until_a_place_is_free() {
        let hub = Arc::new(Hub::new());
        let mut told = hub.hooks();
        told.borrow_and_update();
        let bulkhead = Bulkhead::new(2, &hub);
        let (one, other) = (EndpointId(uuid::Uuid::from_u128(1)), EndpointId(uuid::Uuid::from_u128(2)));
        let first = bulkhead.enter(one);
        assert!(bulkhead.full().is_empty());
        let second = bulkhead.enter(one);
        let third = bulkhead.enter(one);
        let _elsewhere = bulkhead.enter(other);
        assert_eq!(bulkhead.full(), [one]);
        drop(third);
        assert_eq!(bulkhead.full(), [one]);
        assert!(!told.has_changed().unwrap());
        drop(second);
        assert!(bulkhead.full().is_empty());
        assert!(told.has_changed().unwrap());
        drop(first);
        assert_eq!(bulkhead.lock().len(), 1);
    }
}
