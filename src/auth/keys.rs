//! API keys: who a request comes from, and what it may do.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use rand::CryptoRng;
use tokio::sync::Semaphore;

pub use crate::db::keys::{Key, Scope};
use crate::{
    auth::token,
    db::{Db, DbError, keys},
};

/// What every key begins with, so that people and scanners for leaked secrets know what they have found.
const PREFIX: &str = "tarmac_";

/// Most keys remembered; wrong ones are remembered too, and there are as many of those as somebody cares to try.
const REMEMBERED: u64 = 10_000;

/// Questions to the database at the same time. Wrong keys may ask as often as their rate allows, but not take every connection.
const QUESTIONS: usize = 4;

/// Tells good keys from others, asking the database once in a while.
#[derive(Debug, Clone)]
pub struct Keyring {
    db: Db,
    remembered: Cache<[u8; 32], Option<Arc<Key>>>,
    questions: Arc<Semaphore>,
}

/// What a key is worth.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It may be used for its scopes.
    Good(Arc<Key>),
    /// There is no such key.
    Unknown,
    /// It was good once.
    Revoked,
    /// It was good until a time that is over.
    Expired,
}

impl Keyring {
    /// What the database says of a key counts for `memory`.
    pub fn new(db: Db, memory: Duration) -> Self {
        let remembered = Cache::builder().max_capacity(REMEMBERED).time_to_live(memory).build();
        Self { db, remembered, questions: Arc::new(Semaphore::new(QUESTIONS)) }
    }

    /// What the key is worth at `now`.
    pub async fn verify(&self, secret: &str, now: DateTime<Utc>) -> Result<Verdict, DbError> {
        if !secret.starts_with(PREFIX) {
            return Ok(Verdict::Unknown);
        }
        let hash = token::hash(secret);
        let key = match self.remembered.get(&hash) {
            Some(key) => key,
            None => self.ask(hash).await?,
        };
        Ok(match key {
            None => Verdict::Unknown,
            Some(key) if key.revoked_at.is_some() => Verdict::Revoked,
            Some(key) if key.expires_at.is_some_and(|end| end <= now) => Verdict::Expired,
            Some(key) => Verdict::Good(key),
        })
    }

    async fn ask(&self, hash: [u8; 32]) -> Result<Option<Arc<Key>>, DbError> {
        // Nobody closes it, so a place is what comes.
        let _place = self.questions.acquire().await;
        // Who asked before may have had the same question.
        if let Some(key) = self.remembered.get(&hash) {
            return Ok(key);
        }
        let key = keys::find(&self.db, &hash).await?.map(Arc::new);
        self.remembered.insert(hash, key.clone());
        Ok(key)
    }
}

/// Makes a key; the text is the secret, which is stored nowhere.
pub async fn create(
    db: &Db,
    random: &mut impl CryptoRng,
    name: &str,
    scopes: &[Scope],
    expires_at: Option<DateTime<Utc>>,
) -> Result<(String, Key), DbError> {
    let secret = format!("{PREFIX}{}", token::new(random));
    let key = keys::create(db, &token::hash(&secret), name, scopes, expires_at).await?;
    Ok((secret, key))
}
