//! Tables of the state: typed records in persistent maps.
//!
//! *Invariants.* A clone shares all its content, so that an undecided block is a clone
//! that is kept or dropped, and readers hold a snapshot without a lock. Everything
//! written since the last block is known, so that only changed values are
//! encoded and hashed.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Serialize, de::DeserializeOwned};

use crate::codec::{self, DecodeError};
use crate::limits::STATE_VALUE_BYTES_MAX;

/// What can stand in a table.
pub trait Record: Clone + Serialize + DeserializeOwned {
    /// What it is found by.
    type Key: Ord + Clone + Serialize + DeserializeOwned;
    /// Names the table in state keys; unique.
    const KIND: u8;
}

/// One value of the state that a block changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The table's kind, then the canonical key.
    pub key: Vec<u8>,
    /// The canonical record; none if it was removed.
    pub value: Option<Vec<u8>>,
}

/// The records of one kind.
#[derive(Clone, Debug)]
pub struct Table<R: Record> {
    rows: OrdMap<R::Key, Arc<R>>,
    dirty: BTreeSet<R::Key>,
}

impl<R: Record> Default for Table<R> {
    fn default() -> Self {
        Self { rows: OrdMap::new(), dirty: BTreeSet::new() }
    }
}

impl<R: Record> Table<R> {
    /// The record of a key.
    pub fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(key).map(Arc::as_ref)
    }

    /// The record of a key, shared.
    pub fn get_arc(&self, key: &R::Key) -> Option<Arc<R>> {
        self.rows.get(key).cloned()
    }

    /// Whether there is a record of this key.
    pub fn contains(&self, key: &R::Key) -> bool {
        self.rows.contains_key(key)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All records in order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&R::Key, &R)> {
        self.rows.iter().map(|(key, record)| (key, record.as_ref()))
    }

    /// The records whose keys lie in a range, in order.
    pub fn range<B: std::ops::RangeBounds<R::Key>>(
        &self,
        range: B,
    ) -> impl DoubleEndedIterator<Item = (&R::Key, &R)> {
        self.rows.range(range).map(|(key, record)| (key, record.as_ref()))
    }

    pub(crate) fn put(&mut self, key: R::Key, record: R) {
        self.dirty.insert(key.clone());
        self.rows.insert(key, Arc::new(record));
    }

    pub(crate) fn remove(&mut self, key: &R::Key) {
        if self.rows.remove(key).is_some() {
            self.dirty.insert(key.clone());
        }
    }

    /// The record of a key for changing it in place.
    pub(crate) fn get_mut(&mut self, key: &R::Key) -> Option<&mut R> {
        let record = self.rows.get_mut(key)?;
        self.dirty.insert(key.clone());
        Some(Arc::make_mut(record))
    }

    /// Hands over what changed since the last call.
    pub(crate) fn drain(&mut self, into: &mut Vec<StateChange>) {
        for key in std::mem::take(&mut self.dirty) {
            let value = self.rows.get(&key).map(|record| codec::encode(record.as_ref()));
            into.push(StateChange { key: state_key::<R>(&key), value });
        }
    }

    /// All records, as changes from nothing.
    pub(crate) fn dump(&self, into: &mut Vec<StateChange>) {
        for (key, record) in self.iter() {
            into.push(StateChange { key: state_key::<R>(key), value: Some(codec::encode(record)) });
        }
    }

    /// Puts in a record from its canonical bytes, as it was handed over by
    /// [`Self::drain`].
    pub(crate) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        let key = codec::decode(key, STATE_VALUE_BYTES_MAX)?;
        let record = codec::decode(value, STATE_VALUE_BYTES_MAX)?;
        self.rows.insert(key, Arc::new(record));
        Ok(())
    }
}

/// The bytes that name a record in the state: its kind, then its canonical key.
pub fn state_key<R: Record>(key: &R::Key) -> Vec<u8> {
    let mut bytes = vec![R::KIND];
    bytes.extend(codec::encode(key));
    bytes
}
