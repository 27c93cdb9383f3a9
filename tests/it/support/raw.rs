//! Requests as bytes, for what an HTTP client does not send.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::App;

/// What the service answers to these bytes. They ask it to close the connection: `Connection: close`.
pub(crate) async fn exchange(app: &App, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(app.client.address()).await.expect("the service listens");
    socket.write_all(request).await.expect("the service reads");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("the service answers");
    String::from_utf8_lossy(&answer).into_owned()
}
