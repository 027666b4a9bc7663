//! The trait of runtimes: the skeleton of the documentation, and which futures are `Send`.

use std::future::IntoFuture;
use std::io::ErrorKind;
use std::sync::Arc;

use async_net::TcpStream;
use futures_lite::future::block_on;
use sansock::proxy::Proxy;
use sansock::runtime::{accept, connect, serve};
use sansock::serve::{Origins, Socket};
use sansock::{Stream, smol};

#[expect(unreachable_pub, reason = "it is a file to copy")]
#[path = "../../../adapters/docs/skeleton.rs"]
mod skeleton;

use skeleton::{Alarm, Skeleton};

fn is_send<T: Send>(value: T) -> T {
    value
}

/// Returns the kind of the I/O error with which a future fails.
#[track_caller]
fn error_kind<T>(result: sansock::Result<T>) -> ErrorKind {
    let error = result.err().expect("an error");
    std::io::Error::from(error).kind()
}

#[test]
fn what_the_skeleton_lacks_is_unsupported() {
    let connecting = connect(Skeleton, "ws://127.0.0.1:9001/").proxy(None::<Proxy>);
    let kind = error_kind(block_on(connecting.into_future()));
    assert_eq!(kind, ErrorKind::Unsupported);

    let handler = async |_: Socket<Stream<Skeleton>, Alarm>| {};
    let server = serve(Skeleton, "127.0.0.1:0", handler).origins(Origins::Any);
    let kind = error_kind(block_on(server.bind()));
    assert_eq!(kind, ErrorKind::Unsupported);

    let stream = Stream::new(skeleton::Socket);
    assert!(block_on(accept(&Skeleton, stream)).is_err());
}

/// Compiles only if every future here is `Send`.
#[test]
fn futures_of_smol_are_send() {
    let _: fn(TcpStream) = |stream| {
        drop(is_send(smol::connect("ws://localhost/").into_future()));
        drop(is_send(smol::accept(stream.clone())));
        drop(is_send(smol::upgrade(
            stream,
            Arc::default(),
            sansock::config(),
        )));
        let mut connections = smol::connect("ws://localhost/").reconnect();
        drop(is_send(connections.next()));
    };

    let server = || {
        smol::serve("127.0.0.1:0", async |_: smol::Socket| {})
            .origins(Origins::Any)
            .process_request(|request| async {
                request.accept_with(async |mut ws: smol::Socket| ws.send("hello").await)
            })
    };
    drop(is_send(server().into_future()));
    let server = block_on(is_send(server().bind())).unwrap();
    drop(is_send(server.run()));
}

/// As with smol, for the runtimes of others.
#[test]
fn futures_of_a_runtime_of_threads_are_send() {
    drop(is_send(connect(Skeleton, "ws://localhost/").into_future()));
    drop(is_send(accept(&Skeleton, Stream::new(skeleton::Socket))));
    let handler = async |_: Socket<Stream<Skeleton>, Alarm>| {};
    let server = serve(Skeleton, "127.0.0.1:0", handler).origins(Origins::Any);
    drop(is_send(server.into_future()));
}
