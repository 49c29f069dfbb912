//! HTTP/1.1 as cheap as it can be: the generator shares the processors with what it measures.
//!
//! One request at a time on a connection that stays open. Only what our own server sends is understood.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A head longer than this is not one of ours.
const LONGEST_HEAD: usize = 16 << 10;

/// A connection and what was read from it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer belongs to the message that was read last.
    consumed: usize,
}

/// A message that was read: where its body lies in the buffer.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    head: usize,
    end: usize,
}

impl Connection {
    /// Connects.
    pub async fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await.with_context(|| format!("connecting to {addr}"))?;
        Self::new(stream)
    }

    /// Takes an open connection.
    pub fn new(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4 << 10), consumed: 0 })
    }

    /// Writes bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await.context("sending")
    }

    /// Sends a request and reads the answer, which must be a 200.
    pub async fn expect_200(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.send(request).await?;
        let Some((head, body)) = self.receive().await? else { bail!("the server closed the connection") };
        if !head.starts_with(b"HTTP/1.1 200 ") {
            bail!("{}\n{}", String::from_utf8_lossy(head).trim_end(), String::from_utf8_lossy(body));
        }
        Ok(())
    }

    /// Reads one message: its head and its body. `None` when the other side closed the connection.
    pub async fn receive(&mut self) -> anyhow::Result<Option<(&[u8], &[u8])>> {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let frame = loop {
            if let Some(frame) = frame(&self.buffer)?
                && frame.end <= self.buffer.len()
            {
                break frame;
            }
            if self.stream.read_buf(&mut self.buffer).await.context("receiving")? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                bail!("the connection ended inside a message");
            }
        };
        self.consumed = frame.end;
        Ok(Some((&self.buffer[..frame.head], &self.buffer[frame.head..frame.end])))
    }
}

/// Where the first message ends, as soon as its head is there.
fn frame(buffer: &[u8]) -> anyhow::Result<Option<Frame>> {
    let Some(head) = find(buffer, b"\r\n\r\n").map(|at| at + 4) else {
        if buffer.len() > LONGEST_HEAD {
            bail!("the head of a message is too long");
        }
        return Ok(None);
    };
    let mut length = 0;
    for line in buffer[..head].split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = str::from_utf8(value)?.parse().context("reading content-length")?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            bail!("a body in chunks is not understood here");
        }
    }
    Ok(Some(Frame { head, end: head + length }))
}

/// Where the needle begins.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_length_says() {
        let message = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1";
        assert_eq!(frame(message).unwrap(), Some(Frame { head: 38, end: 41 }));
        assert_eq!(frame(&message[..30]).unwrap(), None);
        assert_eq!(frame(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Some(Frame { head: 27, end: 27 }));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(frame(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(frame(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n").is_err());
        assert!(frame(&vec![b'a'; LONGEST_HEAD + 1]).is_err());
    }
}
