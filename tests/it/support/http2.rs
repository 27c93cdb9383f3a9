//! A client of HTTP/2 that does what no library would: it opens no window, and asks for nothing.

use std::io::ErrorKind;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::wait::DEADLINE;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;

/// A connection. It answers settings and pings.
pub(crate) struct Http2 {
    socket: TcpStream,
}

/// What a connection brought until it ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Brought {
    /// Headers of answers.
    pub(crate) answers: usize,
    /// Bytes of answers.
    pub(crate) bytes: usize,
    /// Whether the server said goodbye.
    pub(crate) goodbye: bool,
}

impl Http2 {
    /// A connection whose streams may bring so many bytes before they are given more.
    pub(crate) async fn connect(address: &str, window: u32) -> Self {
        let mut socket = TcpStream::connect(address).await.expect("the service accepts");
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the service reads");
        let mut connection = Self { socket };
        // SETTINGS_INITIAL_WINDOW_SIZE is 4.
        connection.send(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()).await;
        connection
    }

    /// Asks for a path on a stream, 1, 3, 5 and so on.
    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        // HPACK: ":method: GET" and ":scheme: http" are entries of its table, ":path" and ":authority" names of it.
        let mut block = vec![0x82, 0x86];
        for (name, value) in [(0x04, path), (0x01, "localhost")] {
            block.extend([name, u8::try_from(value.len()).expect("it is short")]);
            block.extend(value.as_bytes());
        }
        // END_STREAM and END_HEADERS.
        self.send(HEADERS, 1 | 4, stream, &block).await;
    }

    /// Reads until the server ends the connection, and after each piece of an answer gives its stream `more` of its length.
    pub(crate) async fn until_closed(mut self, more: impl Fn(u32) -> u32) -> Brought {
        let mut brought = Brought::default();
        let read = async {
            while let Some((kind, flags, stream, payload)) = self.receive().await {
                match kind {
                    HEADERS => brought.answers += 1,
                    DATA => {
                        brought.bytes += payload.len();
                        let more = more(u32::try_from(payload.len()).expect("a frame is short"));
                        for stream in [0, stream] {
                            self.try_send(WINDOW_UPDATE, 0, stream, &more.to_be_bytes()).await;
                        }
                    }
                    SETTINGS if flags & ACK == 0 => self.try_send(SETTINGS, ACK, 0, &[]).await,
                    PING if flags & ACK == 0 => self.try_send(PING, ACK, 0, &payload).await,
                    GOAWAY => brought.goodbye = true,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("the service closes the connection");
        brought
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let frame = Self::frame(kind, flags, stream, payload);
        self.socket.write_all(&frame).await.expect("the service reads");
    }

    /// The server may be closing the connection.
    async fn try_send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        drop(self.socket.write_all(&Self::frame(kind, flags, stream, payload)).await);
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Type, flags, stream and payload of a frame; nothing when the connection has ended.
    async fn receive(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.read(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.read(&mut payload).await?;
        Some((kind, flags, u32::from_be_bytes(stream), payload))
    }

    async fn read(&mut self, into: &mut [u8]) -> Option<()> {
        match self.socket.read_exact(into).await {
            Ok(_) => Some(()),
            Err(error) => {
                let closed = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(closed.contains(&error.kind()), "{error}");
                None
            }
        }
    }
}
