//! The accept loop on tokio: its runtime of one thread.

use std::future::Future;

use tokio::net::{TcpListener, TcpStream};

/// Serves every connection in a task of its own.
pub fn serve<F>(connection: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = crate::listen();
    listener.set_nonblocking(true).expect("no blocking");
    runtime.block_on(async move {
        let listener = TcpListener::from_std(listener).expect("a listener");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            tokio::spawn(connection(stream));
        }
    });
}
