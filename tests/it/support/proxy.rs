//! A way to a server that a test can cut.

use reqwest::Url;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// Forwards connections until it is dropped; then they break, and new ones are refused.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where the server is, by way of the proxy.
    pub(crate) url: String,
    way: watch::Sender<Way>,
    _forwarding: JoinSet<()>,
}

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// They go nowhere, and nobody is told.
    Silent,
    /// Connections break, new ones at once.
    Cut,
}

impl Proxy {
    /// From a port of this machine to a server.
    pub(crate) async fn between(port: u16, server: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let (host, server_port) = server.rsplit_once(':').expect("the server has a port");
        let server = (host.to_owned(), server_port.parse().expect("a port is a number"));
        Self::forwarding(listener, server, format!("127.0.0.1:{port}"))
    }

    /// A way to the database of that URL.
    pub(crate) async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).expect("the URL is well-formed");
        let host = url.host_str().expect("the URL names a host").to_owned();
        let server = (host, url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        url.set_host(Some("127.0.0.1")).expect("the URL can have a host");
        url.set_port(Some(port)).expect("the URL can have a port");
        Self::forwarding(listener, server, url.into())
    }

    fn forwarding(listener: TcpListener, server: (String, u16), url: String) -> Self {
        let (way, watched) = watch::channel(Way::Open);
        let mut forwarding = JoinSet::new();
        forwarding.spawn(forward(listener, server, watched));
        Self { url, way, _forwarding: forwarding }
    }

    /// Breaks all connections, and every new one, until [`Proxy::restore`].
    pub(crate) fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    /// Lets nothing through until [`Proxy::restore`], as a network does that loses every packet; then all of it.
    pub(crate) fn silence(&self) {
        self.way.send_replace(Way::Silent);
    }

    /// All is well again.
    pub(crate) fn restore(&self) {
        self.way.send_replace(Way::Open);
    }
}

async fn forward(listener: TcpListener, server: (String, u16), way: watch::Receiver<Way>) {
    // Dropped, and so ended, with this task.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (server, way) = (server.clone(), way.clone());
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let ((client_reads, client_writes), (server_reads, server_writes)) =
                (client.into_split(), server.into_split());
            let mut cut = way.clone();
            // It ends when either side does.
            tokio::select! {
                _ = cut.wait_for(|way| *way == Way::Cut) => {}
                () = pass(client_reads, server_writes, way.clone()) => {}
                () = pass(server_reads, client_writes, way) => {}
            }
        });
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let open = way.wait_for(|way| *way == Way::Open).await.is_ok();
        if !open || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
