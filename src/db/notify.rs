//! Wakes who waits for the database to change, in whatever process the change was made.
//!
//! A notification says only that something changed; whoever is woken looks again. A lost connection wakes everybody,
//! and waiters look again once in a while anyway, so a lost notification costs time and nothing else.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, postgres::PgListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::DbError;

const IMPORTS: &str = "tarmac_imports";
const LEDGER: &str = "tarmac_ledger";
const JOURNAL: &str = "tarmac_journal";
const CONSUMERS: &str = "tarmac_consumers";
const RECONNECT: Duration = Duration::from_millis(500);

/// What can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// An import's state.
    Imports,
    /// The ledger, or an import's state: chunks are many, and who waits for an import's end need not hear of each.
    Ledger,
    /// The journal has chunks to claim.
    Journal,
    /// Something else is wanted of a consumer.
    Consumers,
}

impl Topic {
    /// Where its changes are announced.
    pub(super) fn channel(self) -> &'static str {
        match self {
            Self::Imports => IMPORTS,
            Self::Ledger => LEDGER,
            Self::Journal => JOURNAL,
            Self::Consumers => CONSUMERS,
        }
    }
}

/// Receives notifications on one connection and hands them on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Changes {
    imports: watch::Sender<u64>,
    ledger: watch::Sender<u64>,
    journal: watch::Sender<u64>,
    consumers: watch::Sender<u64>,
}

/// One waiter's view of a topic.
#[derive(Debug)]
pub struct Watch(watch::Receiver<u64>);

impl Watch {
    /// Returns at the next change, or after `at_most`.
    pub async fn changed(&mut self, at_most: Duration) {
        // Either way the caller looks again: a timeout and a closed channel mean no more than "look".
        match tokio::time::timeout(at_most, self.0.changed()).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(_)) => tokio::time::sleep(at_most).await,
        }
    }
}

impl Changes {
    /// Starts listening, until `stop`.
    pub fn listen(pool: PgPool, stop: CancellationToken) -> Self {
        let changes = Self {
            imports: watch::Sender::new(0),
            ledger: watch::Sender::new(0),
            journal: watch::Sender::new(0),
            consumers: watch::Sender::new(0),
        };
        let sender = changes.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sender.run(&pool) => {}
            }
        });
        changes
    }

    /// A view of the topic; changes from now on count.
    pub fn watch(&self, topic: Topic) -> Watch {
        Watch(self.sender(topic).subscribe())
    }

    fn sender(&self, topic: Topic) -> &watch::Sender<u64> {
        match topic {
            Topic::Imports => &self.imports,
            Topic::Ledger => &self.ledger,
            Topic::Journal => &self.journal,
            Topic::Consumers => &self.consumers,
        }
    }

    fn wake(&self, topic: Topic) {
        self.sender(topic).send_modify(|generation| *generation += 1);
        if topic == Topic::Imports {
            self.wake(Topic::Ledger);
        }
    }

    async fn run(&self, pool: &PgPool) {
        loop {
            if let Err(error) = self.receive(pool).await {
                tracing::warn!(%error, "lost the connection that listens for changes");
            }
            self.wake(Topic::Imports);
            self.wake(Topic::Journal);
            self.wake(Topic::Consumers);
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn receive(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen_all([IMPORTS, LEDGER, JOURNAL, CONSUMERS]).await?;
        while let Some(notification) = listener.try_recv().await? {
            match notification.channel() {
                LEDGER => self.wake(Topic::Ledger),
                JOURNAL => self.wake(Topic::Journal),
                CONSUMERS => self.wake(Topic::Consumers),
                _ => self.wake(Topic::Imports),
            }
        }
        Ok(())
    }
}

/// Announces a change; heard when the transaction commits.
pub async fn notify(connection: &mut PgConnection, topic: Topic) -> Result<(), DbError> {
    sqlx::query("select pg_notify($1, '')")
        .bind(topic.channel())
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("announcing a change"))
}
