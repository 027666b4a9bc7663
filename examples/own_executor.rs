//! What an embedder supplies: a runtime, here written with std alone. It has one thread, and a network in memory.
//!
//! ```text
//! cargo run --example own_executor
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant as StdInstant;

use futures_lite::{AsyncRead, AsyncWrite, future};
use sansock::core::Instant;
use sansock::runtime::{BoxFuture, Local, Runtime, connect, serve};
use sansock::serve::{Accepted, Origins, Socket};
use sansock::{Stream, Timer};

fn main() -> sansock::Result<()> {
    let memory = Memory::new();
    memory.clone().run(async {
        let server = serve(memory.clone(), "127.0.0.1:80", echo)
            .origins(Origins::SameHost)
            .bind()
            .await?;
        let handle = server.handle();
        let client = async {
            let talked = talk(memory).await;
            handle.shutdown();
            talked
        };
        future::zip(server.run(), client).await.1
    })
}

async fn echo(mut ws: Socket<Stream<Memory>, Alarm>) -> sansock::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    println!("server: closed");
    Ok(())
}

async fn talk(memory: Memory) -> sansock::Result<()> {
    let mut ws = connect(memory, "ws://localhost/").await?;
    ws.send("hello").await?;
    println!("client: {:?} came back", ws.recv().await?);
    println!("client: ping took {:?}", ws.ping().await?);
    ws.close(1000, "").await?;
    println!("client: closed");
    Ok(())
}

// The runtime.

#[derive(Clone)]
struct Memory(Rc<Loop>);

type Boxed<T> = BoxFuture<Local, io::Result<T>>;

impl Runtime for Memory {
    type Mode = Local;
    type Stream = Duplex;
    type Listener = ();
    type Timer = Alarm;

    fn timer(&self) -> Alarm {
        let wait = Rc::default();
        self.0.alarms.borrow_mut().push(Rc::downgrade(&wait));
        Alarm(wait, self.0.clone())
    }

    fn spawn(&self, task: BoxFuture<Local, ()>) {
        self.0.tasks.borrow_mut().push(task);
        // It is polled in the next round.
        thread::current().unpark();
    }

    fn resolve(&self, _host: &str, port: u16) -> Boxed<Vec<SocketAddr>> {
        Box::pin(ready(Ok(vec![(Ipv4Addr::LOCALHOST, port).into()])))
    }

    fn connect(&self, _to: SocketAddr, _from: Option<IpAddr>) -> Boxed<Duplex> {
        let (ours, theirs) = Duplex::pair();
        self.0.clients.borrow_mut().push_back(theirs);
        self.0.accepting.take().into_iter().for_each(Waker::wake);
        Box::pin(ready(Ok(ours)))
    }

    fn listen(&self, _at: SocketAddr) -> Boxed<()> {
        Box::pin(ready(Ok(())))
    }

    fn accept(&self, (): &()) -> Boxed<Accepted<Stream<Self>, Local>> {
        let Self(this) = self.clone();
        Box::pin(poll_fn(move |cx| {
            match this.clients.borrow_mut().pop_front() {
                Some(client) => Poll::Ready(Ok(Accepted::new(Stream::new(client), ADDRESS))),
                None => {
                    this.accepting.replace(Some(cx.waker().clone()));
                    Poll::Pending
                }
            }
        }))
    }

    fn listener_address((): &()) -> Option<SocketAddr> {
        Some(ADDRESS)
    }

    fn peer_address(_: &Duplex) -> io::Result<SocketAddr> {
        Ok(ADDRESS)
    }

    fn local_address(_: &Duplex) -> io::Result<SocketAddr> {
        Ok(ADDRESS)
    }

    fn set_nodelay(_: &Duplex, _nodelay: bool) -> io::Result<()> {
        Ok(())
    }
}

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

// The executor: all tasks have one waker, and are polled whenever it is woken.

struct Loop {
    start: StdInstant,
    tasks: RefCell<Vec<BoxFuture<Local, ()>>>,
    alarms: RefCell<Vec<Weak<RefCell<Wait>>>>,
    /// Clients that the server has not accepted.
    clients: RefCell<VecDeque<Duplex>>,
    /// Whoever waits for one.
    accepting: RefCell<Option<Waker>>,
}

impl Memory {
    fn new() -> Self {
        Self(Rc::new(Loop {
            start: StdInstant::now(),
            tasks: RefCell::default(),
            alarms: RefCell::default(),
            clients: RefCell::default(),
            accepting: RefCell::default(),
        }))
    }

    fn run<T>(&self, main: impl Future<Output = T>) -> T {
        let Self(this) = self;
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut main = pin!(main);
        loop {
            if let Poll::Ready(output) = main.as_mut().poll(&mut cx) {
                return output;
            }
            for mut task in this.tasks.take() {
                if task.as_mut().poll(&mut cx).is_pending() {
                    this.tasks.borrow_mut().push(task);
                }
            }
            match this.wake_alarms() {
                Some(at) => thread::park_timeout(at.saturating_since(this.now())),
                None => thread::park(),
            }
        }
    }
}

impl Loop {
    fn now(&self) -> Instant {
        Instant::from_start(self.start.elapsed())
    }

    /// Wakes those whose time has come, and returns when the next has to be woken.
    fn wake_alarms(&self) -> Option<Instant> {
        let now = self.now();
        let mut next: Option<Instant> = None;
        self.alarms.borrow_mut().retain(|alarm| {
            let Some(alarm) = alarm.upgrade() else {
                return false;
            };
            let mut alarm = alarm.borrow_mut();
            match (alarm.deadline, &alarm.waker) {
                (Some(at), Some(_)) if at <= now => {
                    alarm.waker.take().into_iter().for_each(Waker::wake);
                }
                (Some(at), Some(_)) => next = Some(next.map_or(at, |other| other.min(at))),
                _ => {}
            }
            true
        });
        next
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

// The timer.

struct Alarm(Rc<RefCell<Wait>>, Rc<Loop>);

#[derive(Default)]
struct Wait {
    deadline: Option<Instant>,
    waker: Option<Waker>,
}

impl Timer for Alarm {
    fn now(&self) -> Instant {
        self.1.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        self.0.borrow_mut().deadline = deadline;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut wait = self.0.borrow_mut();
        match wait.deadline {
            Some(at) if at <= self.1.now() => Poll::Ready(()),
            _ => {
                wait.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

// The stream: two pipes of a few bytes each.

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    is_closed: bool,
    /// Whoever waits: for bytes, or for room.
    waker: Option<Waker>,
}

impl Pipe {
    const ROOM: usize = 64;

    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn wake(&mut self) {
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.wake();
    }
}

struct Duplex {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
}

impl Duplex {
    fn pair() -> (Self, Self) {
        let (incoming, outgoing) = <(Rc<RefCell<Pipe>>, Rc<RefCell<Pipe>>)>::default();
        let other = Self {
            incoming: outgoing.clone(),
            outgoing: incoming.clone(),
        };
        (Self { incoming, outgoing }, other)
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.incoming.borrow_mut();
        if pipe.bytes.is_empty() && !pipe.is_closed {
            return pipe.wait(cx);
        }
        pipe.wake();
        Poll::Ready(pipe.bytes.read(buf))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.outgoing.borrow_mut();
        if pipe.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let size = buf.len().min(Pipe::ROOM - pipe.bytes.len());
        if size == 0 {
            return pipe.wait(cx);
        }
        pipe.wake();
        pipe.bytes.extend(&buf[..size]);
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends what the other side reads.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.borrow_mut().close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        self.incoming.borrow_mut().close();
        self.outgoing.borrow_mut().close();
    }
}
