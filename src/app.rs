//! The composition root: builds the parts, starts them, stops them in two steps.

use std::{sync::Arc, time::Duration};

use poem::listener::{Acceptor, Listener, TcpListener};
use tokio_util::sync::CancellationToken;

use crate::{
    api,
    config::Config,
    db::{Db, DbError},
};

/// Why the service does not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database does not answer.
    #[error("starting")]
    Database(#[from] DbError),
    /// The address cannot be listened on, or the listener broke.
    #[error("serving {address}")]
    Serve {
        /// What was configured.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Serves until `stop` is cancelled, then drains. `bound` is told the address, which matters with port 0.
pub async fn serve(
    config: Config,
    stop: CancellationToken,
    bound: impl FnOnce(std::net::SocketAddr),
) -> Result<(), AppError> {
    let config = Arc::new(config);
    let db = Db::connect(&config.database).await?;
    let address = config.server.address;
    let failed = |source| AppError::Serve { address, source };
    let acceptor = TcpListener::bind(address).into_acceptor().await.map_err(failed)?;
    if let Some(local) = acceptor.local_addr().first().and_then(|local| local.as_socket_addr().copied()) {
        bound(local);
    }
    let grace = Duration::from_secs(config.server.shutdown_seconds);
    let endpoint = api::endpoint(api::Context { db: db.clone(), config });
    poem::Server::new_with_acceptor(acceptor)
        .run_with_graceful_shutdown(endpoint, stop.cancelled_owned(), Some(grace))
        .await
        .map_err(failed)?;
    db.close().await;
    Ok(())
}
