//! A way to the database that a test can cut.

use reqwest::Url;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Forwards connections until it is dropped; then they break, and new ones are refused.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// The database's URL, by way of the proxy.
    pub(crate) url: String,
    _forwarding: JoinSet<()>,
}

impl Proxy {
    /// A way to the database of that URL.
    pub(crate) async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).expect("the URL is well-formed");
        let host = url.host_str().expect("the URL names a host").to_owned();
        let server = (host, url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        url.set_host(Some("127.0.0.1")).expect("the URL can have a host");
        url.set_port(Some(port)).expect("the URL can have a port");
        let mut forwarding = JoinSet::new();
        forwarding.spawn(forward(listener, server));
        Self { url: url.into(), _forwarding: forwarding }
    }
}

async fn forward(listener: TcpListener, server: (String, u16)) {
    // Dropped, and so ended, with this task.
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let server = server.clone();
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(server).await {
                // It ends when either side does.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
