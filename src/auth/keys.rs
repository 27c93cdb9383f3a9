//! API keys: who a request comes from, and what it may do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use rand::CryptoRng;
use tokio::sync::Semaphore;

pub use crate::db::keys::{Key, Scope};
use crate::{
    auth::{scopes::Grant, token},
    db::{Db, DbError, keys},
};

/// What every key begins with, so that people and scanners for leaked secrets know what they have found.
const PREFIX: &str = "tarmac_";

/// Most keys remembered, of those that exist and of those that do not: there are as many of the latter as somebody cares to try.
const REMEMBERED: u64 = 10_000;

/// How long it is remembered of an unused key that it exists.
const KNOWN_FOR: Duration = Duration::from_secs(86_400);

/// Questions to the database at the same time about keys that exist, and as many about others. Wrong keys may ask as often as their
/// rate allows, but neither take every connection nor hold up who has a good one.
const QUESTIONS: usize = 4;

/// Tells good keys from others, asking the database once in a while.
#[derive(Debug, Clone)]
pub struct Keyring {
    db: Db,
    memory: Duration,
    known: Cache<[u8; 32], Known>,
    unknown: Cache<[u8; 32], ()>,
    about_known: Arc<Semaphore>,
    about_strange: Arc<Semaphore>,
}

/// A key that exists, and when the database said so.
#[derive(Debug, Clone)]
struct Known {
    key: Arc<Key>,
    asked: Instant,
}

/// What is remembered of a key.
enum Memory {
    /// It was like this a moment ago.
    Fresh(Arc<Key>),
    /// It exists; how it is now, the database knows.
    Stale,
    /// There was none a moment ago.
    Unknown,
    /// Nothing.
    Strange,
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
        Self {
            db,
            memory,
            known: Cache::builder().max_capacity(REMEMBERED).time_to_idle(KNOWN_FOR).build(),
            unknown: Cache::builder().max_capacity(REMEMBERED).time_to_live(memory).build(),
            about_known: Arc::new(Semaphore::new(QUESTIONS)),
            about_strange: Arc::new(Semaphore::new(QUESTIONS)),
        }
    }

    /// What the key is worth at `now`.
    pub async fn verify(&self, secret: &str, now: DateTime<Utc>) -> Result<Verdict, DbError> {
        if !secret.starts_with(PREFIX) {
            return Ok(Verdict::Unknown);
        }
        Ok(match self.find(token::hash(secret)).await? {
            None => Verdict::Unknown,
            Some(key) if key.revoked_at.is_some() => Verdict::Revoked,
            Some(key) if key.expires_at.is_some_and(|end| end <= now) => Verdict::Expired,
            Some(key) => Verdict::Good(key),
        })
    }

    /// Whether nothing is remembered of the key, so that [`Self::verify`] asks the database whether it exists.
    pub fn is_strange(&self, secret: &str) -> bool {
        secret.starts_with(PREFIX) && matches!(self.recall(&token::hash(secret)), Memory::Strange)
    }

    fn recall(&self, hash: &[u8; 32]) -> Memory {
        match self.known.get(hash) {
            Some(Known { key, asked }) if asked.elapsed() < self.memory => Memory::Fresh(key),
            Some(_) => Memory::Stale,
            None if self.unknown.contains_key(hash) => Memory::Unknown,
            None => Memory::Strange,
        }
    }

    async fn find(&self, hash: [u8; 32]) -> Result<Option<Arc<Key>>, DbError> {
        let questions = match self.recall(&hash) {
            Memory::Fresh(key) => return Ok(Some(key)),
            Memory::Unknown => return Ok(None),
            Memory::Stale => &self.about_known,
            Memory::Strange => &self.about_strange,
        };
        // Nobody closes it, so a place is what comes.
        let _place = questions.acquire().await;
        // Who asked before may have had the same question.
        match self.recall(&hash) {
            Memory::Fresh(key) => Ok(Some(key)),
            Memory::Unknown => Ok(None),
            Memory::Stale | Memory::Strange => self.ask(hash).await,
        }
    }

    async fn ask(&self, hash: [u8; 32]) -> Result<Option<Arc<Key>>, DbError> {
        let asked = Instant::now();
        let key = keys::find(&self.db, &hash).await?.map(Arc::new);
        match &key {
            Some(key) => self.known.insert(hash, Known { key: Arc::clone(key), asked }),
            None => {
                self.known.invalidate(&hash);
                self.unknown.insert(hash, ());
            }
        }
        Ok(key)
    }
}

/// Makes a key; the text is the secret, which is stored nowhere.
pub async fn create(
    db: &Db,
    random: &mut impl CryptoRng,
    name: &str,
    grants: &[impl Clone + Into<Grant>],
    expires_at: Option<DateTime<Utc>>,
) -> Result<(String, Key), DbError> {
    let secret = format!("{PREFIX}{}", token::new(random));
    let scopes: Vec<_> = grants.iter().map(|grant| grant.clone().into().to_string()).collect();
    let key = keys::create(db, &token::hash(&secret), name, &scopes, expires_at).await?;
    Ok((secret, key))
}
