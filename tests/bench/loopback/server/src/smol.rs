//! The accept loop on smol: one executor, on one thread.

use std::future::{Future, pending};

use async_executor::LocalExecutor;
use async_net::{TcpListener, TcpStream};

/// Serves every connection in a task of its own.
///
/// The accept loop is a task as well: in the future that is given to `run` it would be polled at every turn.
pub fn serve<F>(connection: impl Fn(TcpStream) -> F + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let executor: &LocalExecutor = Box::leak(Box::default());
    let listener = TcpListener::try_from(crate::listen()).expect("a listener");
    let accept = async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            executor.spawn(connection(stream)).detach();
        }
    };
    executor.spawn(accept).detach();
    async_io::block_on(executor.run(pending::<()>()));
}
