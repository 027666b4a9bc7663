//! The accept loop on async-std, with one thread for all tasks.

use std::future::Future;

use async_std::net::{TcpListener, TcpStream};
use async_std::task;

/// Serves every connection in a task of its own.
///
/// The number of threads comes from `ASYNC_STD_THREAD_COUNT`, which is 1 in every measurement.
pub fn serve<F>(connection: impl Fn(TcpStream) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::from(crate::listen());
    let accept = async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            task::spawn(connection(stream));
        }
    };
    task::block_on(task::spawn(accept))
}
