//! A runtime of one thread, of which nothing is `Send`, does what the runtimes of the crate do.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::zip;
use sansock::core::Instant;
use sansock::core::handshake::StatusCode;
use sansock::runtime::{BoxFuture, Local, Runtime, connect, serve, unsupported};
use sansock::serve::{Accepted, Origins, Room};
use sansock::{Message, Prepared, Stream, Timer};

/// The runtime: an executor of one thread, over the sockets of async-io.
#[derive(Debug, Clone, Default)]
struct OneThread {
    executor: Rc<LocalExecutor<'static>>,
}

/// A connection that cannot leave its thread.
#[derive(Debug)]
struct Socket(Rc<Async<TcpStream>>);

/// A timer that cannot leave its thread.
#[derive(Debug)]
struct Alarm(Rc<Cell<()>>, async_io::Timer);

impl Runtime for OneThread {
    type Mode = Local;
    type Stream = Socket;
    type Listener = Rc<Async<TcpListener>>;
    type Timer = Alarm;

    fn timer(&self) -> Alarm {
        Alarm(Rc::default(), async_io::Timer::never())
    }

    fn spawn(&self, task: BoxFuture<Local, ()>) {
        self.executor.spawn(task).detach();
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<Local, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        let resolving = blocking::unblock(move || (host, port).to_socket_addrs());
        Box::pin(async { Ok(resolving.await?.collect()) })
    }

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> BoxFuture<Local, io::Result<Socket>> {
        Box::pin(async move {
            if from.is_some() {
                return Err(unsupported("a local address"));
            }
            Ok(Socket(Async::<TcpStream>::connect(to).await?.into()))
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<Local, io::Result<Self::Listener>> {
        Box::pin(async move { Ok(Async::<TcpListener>::bind(at)?.into()) })
    }

    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> BoxFuture<Local, io::Result<Accepted<Stream<Self>, Local>>> {
        let listener = listener.clone();
        Box::pin(async move {
            let (stream, peer) = Async::<TcpListener>::accept(&listener).await?;
            Ok(Accepted::new(Stream::new(Socket(stream.into())), peer))
        })
    }

    fn listener_address(listener: &Self::Listener) -> Option<SocketAddr> {
        (**listener).get_ref().local_addr().ok()
    }

    fn peer_address(stream: &Socket) -> io::Result<SocketAddr> {
        (*stream.0).get_ref().peer_addr()
    }

    fn local_address(stream: &Socket) -> io::Result<SocketAddr> {
        (*stream.0).get_ref().local_addr()
    }

    fn set_nodelay(stream: &Socket, nodelay: bool) -> io::Result<()> {
        (*stream.0).get_ref().set_nodelay(nodelay)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready((*self.0).get_ref().shutdown(Shutdown::Write))
    }
}

impl Timer for Alarm {
    fn now(&self) -> Instant {
        self.1.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        Timer::set(&mut self.1, deadline);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Timer::poll(&mut self.1, cx)
    }
}

type Ws = sansock::serve::Socket<Stream<OneThread>, Alarm>;

#[test]
fn a_handler_that_is_not_send_serves_clients_that_are_not_send() {
    let runtime = OneThread::default();
    let executor = runtime.executor.clone();
    let served = Rc::new(Cell::new(0));
    let counting = served.clone();
    let handler = move |mut ws: Ws| {
        let served = counting.clone();
        async move {
            while let Some(message) = ws.recv().await? {
                served.set(served.get() + 1);
                ws.send(message).await?;
            }
            Ok::<_, sansock::Error>(())
        }
    };
    let test = async {
        let server = serve(runtime.clone(), "127.0.0.1:0", handler)
            .origins(Origins::Any)
            .process_request(|request| async {
                match request.path() {
                    "/" => request.accept(),
                    "/other" => {
                        request.accept_with(|mut ws: Ws| async move { ws.send("another").await })
                    }
                    _ => request.reject(StatusCode::NOT_FOUND, "Nothing is here.\n"),
                }
            })
            .bind()
            .await
            .unwrap();
        let address = server.local_addresses().next().unwrap();
        let handle = server.handle();
        let client = async {
            let url = |path: &str| format!("ws://localhost:{}{path}", address.port());
            let mut ws = connect(runtime.clone(), &url("/")).await.unwrap();
            for number in 0..10 {
                let text = Message::text(number.to_string());
                ws.send(&text).await.unwrap();
                assert_eq!(ws.recv().await.unwrap(), Some(text));
            }
            ws.ping().await.unwrap();
            let mut other = connect(runtime.clone(), &url("/other")).await.unwrap();
            assert_eq!(other.recv().await.unwrap(), Some(Message::text("another")));
            assert!(other.recv().await.unwrap().is_none());
            let error = connect(runtime.clone(), &url("/none")).await.unwrap_err();
            assert_eq!(error.response().unwrap().status(), StatusCode::NOT_FOUND);
            let from: IpAddr = [127, 0, 0, 1].into();
            let error = connect(runtime.clone(), &url("/"))
                .local_address(from)
                .await;
            let error = io::Error::from(error.unwrap_err());
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            let room = Room::new();
            for connection in handle.connections() {
                assert!(room.join(&connection));
            }
            room.broadcast(
                &Prepared::new("to all"),
                sansock::serve::OverflowPolicy::default(),
            );
            assert_eq!(ws.recv().await.unwrap(), Some(Message::text("to all")));
            handle.shutdown();
            assert!(ws.recv().await.unwrap().is_none());
            ws.closed().unwrap().first().unwrap().code
        };
        zip(server.run(), client).await.1
    };
    let code = async_io::block_on(executor.run(async {
        futures_lite::future::or(async { Some(test.await) }, async {
            async_io::Timer::after(Duration::from_secs(20)).await;
            None
        })
        .await
    }));
    assert_eq!(code, Some(sansock::CloseCode::GOING_AWAY));
    assert_eq!(served.get(), 10);
}
