//! Connections: how many, how long they may keep silent, TLS, and how they end. What comes over them is [`super::endpoint`]'s.
//!
//! poem brings a server too; this one is here for what that one lacks: time-outs, and a limit of connections.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use poem::{
    Addr, Endpoint, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    linger,
    pace::Pace,
    traffic::{Answer, End, Held, Traffic},
};
use crate::config::{self, Limits};

/// Bytes of a request's head, and of what is read of a body at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// Requests on one connection of HTTP/2.
const STREAMS: u32 = 100;
/// An idle connection that is told to end has this long for it, unless a request comes after all.
const GOODBYE: Duration = Duration::from_secs(1);
/// Before accepting is tried again when it fails, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM.
    #[error("reading {path}")]
    Read {
        /// As configured.
        path: String,
        /// Why not.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or are of no use.
    #[error("using server.certificate with server.private_key")]
    Use(#[from] rustls::Error),
}

/// TLS with the configured certificate; nothing when none is.
pub fn tls(config: &config::Server) -> Result<Option<TlsAcceptor>, TlsError> {
    if !config.has_tls() {
        return Ok(None);
    }
    let failed = |path: &std::path::Path| {
        let path = path.display().to_string();
        move |source| TlsError::Read { path, source }
    };
    let certificates = CertificateDer::pem_file_iter(&config.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed(&config.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&config.private_key).map_err(failed(&config.private_key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(tls))))
}

/// Serves until `stop`; then waits up to `grace` for requests that are under way.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    endpoint: impl Endpoint<Output = Response> + 'static,
    limits: &Limits,
    stop: CancellationToken,
    grace: Duration,
) -> io::Result<()> {
    let local = listener.local_addr()?;
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    let host = Arc::new(Host {
        endpoint,
        tls,
        local,
        head_time: Duration::from_secs(limits.head_seconds),
        write_time: Duration::from_secs(limits.write_seconds),
        pace: Pace::new(Duration::from_secs(limits.write_seconds), limits.write_bytes),
        stop: stop.clone(),
    });
    let accept = async || {
        let slot = Arc::clone(&slots).acquire_owned().await;
        (listener.accept().await, slot)
    };
    while let Some((accepted, slot)) = stop.run_until_cancelled(accept()).await {
        let (socket, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let host = Arc::clone(&host);
        let connection = async move {
            host.connection(socket, remote).await;
            drop(slot);
        };
        connections.spawn(abort.clone().run_until_cancelled_owned(connection));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "some requests did not end in time");
        abort.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// What all connections share.
struct Host<E> {
    endpoint: E,
    tls: Option<TlsAcceptor>,
    local: SocketAddr,
    head_time: Duration,
    write_time: Duration,
    /// How fast answers are to be taken.
    pace: Pace,
    stop: CancellationToken,
}

impl<E: Endpoint<Output = Response> + 'static> Host<E> {
    /// However it ends, there is nobody to tell: clients go away as they like.
    async fn connection(self: Arc<Self>, socket: TcpStream, remote: SocketAddr) {
        // Answers are written whole; waiting for more would only delay them. Without it they still arrive.
        let _ = socket.set_nodelay(true);
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(self.write_time));
        let socket = Box::pin(socket);
        match &self.tls {
            None => self.http(socket, remote, Scheme::HTTP).await,
            Some(tls) => {
                let handshake = tokio::time::timeout(self.head_time, tls.accept(socket));
                if let Ok(Ok(socket)) = handshake.await {
                    self.http(socket, remote, Scheme::HTTPS).await;
                }
            }
        }
    }

    async fn http(
        self: &Arc<Self>,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        remote: SocketAddr,
        scheme: Scheme,
    ) {
        let traffic = Traffic::new(self.pace);
        let service = hyper::service::service_fn({
            let (host, traffic) = (Arc::clone(self), Arc::clone(&traffic));
            move |request| {
                let exchange = traffic.begin();
                let (host, scheme) = (Arc::clone(&host), scheme.clone());
                async move {
                    let local = LocalAddr(Addr::SocketAddr(host.local));
                    let remote = RemoteAddr(Addr::SocketAddr(remote));
                    let mut request = (request, local, remote, scheme).into();
                    linger::read_to_the_end(&mut request, &host.stop, Arc::clone(&exchange));
                    let mut answer = host.endpoint.get_response(request).await;
                    let held = answer.extensions_mut().remove::<Held>();
                    let answer: hyper::Response<_> = answer.into();
                    Ok::<_, Infallible>(answer.map(|body| Answer::new(body, exchange, held)))
                }
            }
        });
        let mut protocols = auto::Builder::new(TokioExecutor::new());
        // Counts from the connection's beginning or the answer before, so it closes idle connections too.
        let mut http1 = protocols.http1();
        http1.timer(TokioTimer::new()).header_read_timeout(self.head_time).max_buf_size(BUFFER_BYTES);
        let mut http2 = protocols.http2();
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(self.head_time)
            .keep_alive_timeout(self.head_time)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(16 * 1024);
        let mut connection = pin!(protocols.serve_connection(TokioIo::new(socket), service));
        // A connection of HTTP/2 may answer pings and never ask for anything; and which protocol it is shows in the first bytes,
        // for which hyper waits without an end.
        let patience = tokio::select! {
            _ = connection.as_mut() => return,
            end = traffic.end(self.head_time) => match end {
                End::Idle => GOODBYE,
                End::TooSlow => return,
            },
            () = self.stop.cancelled() => self.head_time,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            // As above: a connection that fails now has nobody to tell.
            _ = connection => {}
            _ = traffic.end(patience) => {}
        }
    }
}
