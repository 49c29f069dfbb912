//! Calls that a simulated vendor makes: plain HTTP/1.1, one connection each.

use std::io;

use http::{Method, Uri};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Calls an address and gives the status that it answered with. Simulated vendors live beside the server, without TLS.
pub(crate) async fn call(method: &Method, url: &str, headers: &str, body: &str) -> io::Result<u16> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{url} {what}"));
    let uri: Uri = url.parse().map_err(|_| bad("is no URL"))?;
    let host =
        uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(|| bad("is not http"))?;
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let address = (host.host(), host.port_u16().unwrap_or(80));
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         {headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let head = String::from_utf8_lossy(&answer);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| bad("did not answer with HTTP"))
}
