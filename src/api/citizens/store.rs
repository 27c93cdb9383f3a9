//! A JSON import: validated and stored in its request, in one transaction. It ends as an import like any other, its body in the
//! archive, its one chunk in the ledger.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use poem_openapi::{ApiResponse, Object, types::Example};
use sha2::{Digest, Sha256};
use sqlx::{Postgres, Transaction};

use crate::{
    api::{
        Context,
        body::Json,
        idempotency::{self, ClaimRefusal, Decision, First, Idempotency, Replayable, SaveRefusal},
        problem::{Internal, Invalid, KeyReused, Unavailable},
    },
    archive::ArchiveError,
    datasets::citizen::{Citizen, DATASET, body},
    db::{
        self, Unconfirmed, citizens,
        imports::{Dialect, Mode, NewImport},
        owners::{self, Owner},
    },
    ingest::{manifest::Manifest, receive},
    refusal,
};

/// The number of a new import
#[derive(Debug, Object)]
#[oai(example)]
pub(in crate::api) struct NewImportBody {
    /// The import.
    data: NewImportId,
}

/// The number of an import
#[derive(Debug, Object)]
struct NewImportId {
    /// Its number.
    import_id: i64,
}

impl Example for NewImportBody {
    fn example() -> Self {
        Self { data: NewImportId { import_id: 1 } }
    }
}

#[derive(ApiResponse)]
pub(in crate::api) enum Stored {
    /// The citizens are stored, or would be
    #[oai(status = 201)]
    Created(
        Json<NewImportBody>,
        /// The import
        #[oai(header = "Location")]
        String,
    ),
}

refusal!(
    /// Why citizens are not stored.
    pub(in crate::api) StoreRefusal: Invalid, KeyReused, ClaimRefusal, SaveRefusal, Internal, Unavailable
);

impl From<ArchiveError> for StoreRefusal {
    fn from(error: ArchiveError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the archive does not take a body");
        Unavailable::new("the citizens cannot be kept now").into()
    }
}

impl Context {
    /// Stores the citizens of a JSON body; in a dry run the import alone, which says what would be stored.
    pub(in crate::api) async fn store_citizens(
        &self,
        key: Idempotency,
        bytes: Bytes,
        dry_run: bool,
    ) -> Result<Replayable<Stored>, StoreRefusal> {
        let owner = key.owner();
        let claim = key.claim(&self.db).await?;
        let today = self.clock.today();
        let (text, length) = (bytes.clone(), bytes.len());
        let digested = tokio::task::spawn_blocking(move || Sha256::digest(&text));
        let text = bytes.clone();
        let read = tokio::task::spawn_blocking(move || body::read_import(&text, today));
        let (sha256, citizens) = tokio::try_join!(digested, read).map_err(Internal::because)?;
        let first = match claim.decide(&sha256)? {
            Decision::Repeated(answer) => return Ok(Replayable::again(answer)),
            Decision::First(first) => first,
        };
        let citizens = citizens.map_err(Invalid::from)?;
        let source = format!("uploads/{}", uuid::Uuid::now_v7());
        let import = NewImport {
            dataset: Arc::clone(&DATASET),
            mode: Mode::Strict,
            max_rejects: None,
            loading: None,
            corrects: None,
            dry_run,
            dialect: Dialect::standard(DATASET.null()),
            filename: None,
            traceparent: None,
            media_type: "application/json",
            gzipped: false,
            source: source.clone(),
            bytes: i64::try_from(length).unwrap_or(i64::MAX),
            sha256: sha256.into(),
        };
        let (transaction, answer) = match self.store(&import, owner, bytes, &citizens, &first).await {
            Ok(stored) => stored,
            Err(error) => {
                receive::discard(&self.archive, &source).await;
                return Err(error);
            }
        };
        match db::commit_settled(&self.db, transaction, "storing citizens").await {
            Ok(()) => Ok(Replayable::first(answer)),
            Err(error) => {
                // Where nobody knows, the body stays: there may be an import that needs it.
                if let Unconfirmed::RolledBack(_) = error {
                    receive::discard(&self.archive, &source).await;
                }
                Err(error.into_error().into())
            }
        }
    }

    /// Into the archive and the database at once; the transaction is still to be committed.
    async fn store(
        &self,
        import: &NewImport,
        owner: Option<Owner>,
        bytes: Bytes,
        citizens: &[Citizen],
        first: &First,
    ) -> Result<(Transaction<'static, Postgres>, db::idempotency::Answer), StoreRefusal> {
        let archived = async {
            let mut writer = self.archive.write(&import.source).await?;
            writer.write(bytes).await?;
            writer.finish().await.map_err(StoreRefusal::from)
        };
        let inserted = async {
            let mut transaction = self.db.begin().await?;
            let rows = i64::try_from(citizens.len()).unwrap_or(i64::MAX);
            let made = db::imports::insert_complete(&mut transaction, import, rows, None).await?;
            let id = made.id;
            tracing::Span::current().record("import", id);
            if let Some(owner) = owner {
                owners::set(&mut transaction, id, owner.key_id).await?;
            }
            let described = Manifest::of(&made, Some(&DATASET), true);
            let described = described.write(&self.archive);
            let stored: &[Citizen] = if import.dry_run { &[] } else { citizens };
            let (described, stored) = tokio::join!(described, citizens::insert(&mut transaction, id, stored));
            described?;
            stored?;
            let body = NewImportBody { data: NewImportId { import_id: id } };
            let answer = idempotency::render(Stored::Created(Json(body), format!("/imports/{id}"))).await?;
            let keep = Duration::from_secs(self.config.server.idempotency_seconds);
            first.save(&mut transaction, &answer, keep).await?;
            Ok::<_, StoreRefusal>((transaction, answer))
        };
        // All of it ends before any of it counts: what is thrown away after a failure is not written afterwards.
        let (archived, inserted) = tokio::join!(archived, inserted);
        archived?;
        inserted
    }
}
