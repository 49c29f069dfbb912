//! Serves HTTP/1.1 on a socket. Below the level of axum, because a simulated vendor must be able to close a connection
//! without an answer, and to be gone, connections and all, the moment it is stopped.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use crate::body::Body;

/// The largest body that is read, in bytes: vendors of models take 32 MB, a little more is let through to be refused.
const MAX_BODY_BYTES: usize = 33 * 1024 * 1024;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
pub(crate) struct Cut;

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request, whose body has been read.
    fn answer(&self, request: Request<Bytes>) -> impl Future<Output = Result<Response<Body>, Cut>> + Send;
}

/// A server under way. Dropping it closes the socket and all connections.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listener {
    /// Begins to serve. Port 0 is any free one.
    pub(crate) async fn start(address: SocketAddr, handler: Arc<impl Handler>) -> io::Result<Self> {
        Self::serve(Self::bind(address).await?, handler)
    }

    /// Takes the address, for who has to know it before the handler is made.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    /// Begins to serve on a socket.
    pub(crate) fn serve(socket: TcpListener, handler: Arc<impl Handler>) -> io::Result<Self> {
        let address = socket.local_addr()?;
        Ok(Self { address, task: tokio::spawn(accept(socket, handler)) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops, and comes back when the port is free again.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        // The only outcome is that it was aborted.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts connections. They live in a set that dies with this future.
async fn accept(socket: TcpListener, handler: Arc<impl Handler>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let handler = Arc::clone(&handler);
                    let service = service_fn(move |request| answer(Arc::clone(&handler), request));
                    connections.spawn(async move {
                        let served = http1::Builder::new()
                            .timer(TokioTimer::new())
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                        if let Err(error) = served {
                            tracing::debug!(%error, "a connection to the simulator ended early");
                        }
                    });
                }
                // Out of file descriptors, most likely: the next one may come through.
                Err(error) => {
                    tracing::warn!(%error, "the simulator could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            // Finished ones are taken out of the set.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(handler: Arc<impl Handler>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|_| Cut)?.to_bytes();
    handler.answer(Request::from_parts(parts, body)).await
}
