//! The server: the defaults of the library, compression, and a room to which it speaks.

use std::io::stdin;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures_lite::future;
use futures_lite::{AsyncRead, AsyncWrite};
use sansock::core::Prepared;
use sansock::core::deflate::Deflate;
use sansock::serve::{Origins, OverflowPolicy, Room, ServerEvent, ServerHandle, Socket};
use sansock::{Config, Message, Result, Timer};
use socket2 as net;

use super::{Heap, Numbers, Outcome};

/// How often it speaks to the room.
const TICK: Duration = Duration::from_secs(2);
/// What the system keeps of what was sent; it takes the double.
const KEPT: usize = 32 << 10;
/// How many incidents are told.
const TOLD: usize = 20;
/// What a client that reads slowly asks for.
pub(super) const PORTION: usize = 16 << 10;

macro_rules! server {
    ($name:ident) => {
        pub(super) fn $name(heap: Heap) -> Outcome {
            let world = World::default();
            let handler = {
                let world = world.clone();
                move |ws| converse(ws, world.clone())
            };
            let serving = sansock::$name::serve(listener()?, handler);
            let serving = serving.origins(Origins::SameHost).config(config());
            let serving = serving.on_event(incidents());
            async_io::block_on(async {
                let server = serving.bind().await?;
                let address = server.local_addresses().next().ok_or("no address")?;
                println!("PORT {}", address.port());
                let handle = server.handle();
                let answering = world.clone();
                thread::spawn(move || answer(&handle, &answering, heap));
                let ticking = async {
                    world.tick().await;
                };
                future::or(server.run(), ticking).await;
                Ok(())
            })
        }
    };
}

server!(smol);
server!(async_std);

/// Listens on loopback. What it accepts inherits what the system may keep for a client that does not read; else
/// that is megabytes, which a ping has to wait for.
fn listener() -> std::io::Result<TcpListener> {
    let socket = net::Socket::new(net::Domain::IPV4, net::Type::STREAM, None)?;
    socket.set_send_buffer_size(KEPT)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn config() -> Config {
    sansock::config().deflate(Deflate::new())
}

/// Tells of the first handlers that fail, which none should.
fn incidents() -> impl Fn(&ServerEvent<'_>) + Send + Sync {
    let told = AtomicUsize::new(0);
    move |event| {
        let is_a_fault = matches!(event, ServerEvent::Handler(..) | ServerEvent::Panic(_));
        if is_a_fault && told.fetch_add(1, Ordering::Relaxed) < TOLD {
            eprintln!("{event}");
        }
    }
}

/// What all connections share.
#[derive(Debug, Clone, Default)]
struct World {
    room: Room,
    /// Handlers that run.
    handlers: Arc<AtomicUsize>,
}

impl World {
    /// Counts for as long as a handler has it.
    fn enter(&self) -> Handler {
        self.handlers.fetch_add(1, Ordering::Relaxed);
        Handler(self.handlers.clone())
    }

    /// Says one number after the other to all who listen.
    async fn tick(&self) {
        for number in 0_u64.. {
            async_io::Timer::after(TICK).await;
            let message = Prepared::new(Message::text(number.to_string()));
            let _ = self.room.broadcast(&message, OverflowPolicy::Disconnect);
        }
    }
}

struct Handler(Arc<AtomicUsize>);

impl Drop for Handler {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn converse<S, T>(mut ws: Socket<S, T>, world: World) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    let _handler = world.enter();
    match ws.path() {
        "/room" => {
            world.room.join(ws.handle());
            while ws.recv().await?.is_some() {}
        }
        "/portions" => {
            while let Some(message) = ws.recv().await? {
                for _ in 0..message.len() {
                    ws.send(&[b'.'; PORTION]).await?;
                }
            }
        }
        _ => {
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
        }
    }
    Ok(())
}

/// Prints the numbers for each line of standard input; at its end, shuts the server down.
fn answer(server: &ServerHandle, world: &World, heap: Heap) {
    for _line in stdin().lines() {
        let snapshot = server.snapshot();
        let mut numbers = Numbers::default();
        numbers.set("heap", heap());
        numbers.set("open", snapshot.open);
        numbers.set("handshakes", snapshot.handshakes);
        numbers.set("handlers", world.handlers.load(Ordering::Relaxed));
        numbers.set("accepted", snapshot.accepted as usize);
        numbers.set("opened", snapshot.opened as usize);
        numbers.set("failed", snapshot.failed as usize);
        numbers.set("evicted", snapshot.evicted as usize);
        numbers.set("handler_failures", snapshot.handler_failures as usize);
        numbers.set("accept_errors", snapshot.accept_errors as usize);
        numbers.set_all("rejected_", &snapshot.rejected);
        numbers.set_all("closed_", &snapshot.closed);
        numbers.print();
    }
    server.shutdown();
}
