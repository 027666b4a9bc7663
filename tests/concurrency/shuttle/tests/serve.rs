//! A whole server and its client on schedules drawn at random: whatever the handler does with its socket,
//! pings are answered, what other tasks push arrives in order, and the connection ends.
//!
//! `SCHEDULES` is how many each test plays; see `driver.rs`.

mod pipe;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use locks as shuttle;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::core::{ClientConnection, FixedSeed};
use sansock::serve::{Accepted, Handle, Origins, OverflowPolicy, Peer, Push, Serve, Socket};
use sansock::{ClientOptions, Config, Error, Prepared, Result, WebSocket};
use shuttle::Runner;
use shuttle::future::{block_on, spawn};
use shuttle::rand::{self, Rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;

use pipe::{End, pipe};

type Ws = Socket<End, VirtualTimer>;
type Client = WebSocket<End, VirtualTimer>;

/// Plays a scenario on many schedules.
fn play(name: &str, scenario: impl Fn() + Send + Sync + 'static) {
    let count = std::env::var("SCHEDULES").map_or(1000, |count| count.parse().expect("a number"));
    let scenario = Arc::new(scenario);
    let mut played = 0;
    for scheduler in 0..2 {
        let scenario = scenario.clone();
        let mut config = shuttle::Config::new();
        config.stack_size = 1 << 18;
        let (half, seed) = (count / 2, 0);
        played += match scheduler {
            0 => Runner::new(RandomScheduler::new_from_seed(seed, half), config)
                .run(move || scenario()),
            _ => Runner::new(PctScheduler::new_from_seed(seed, 3, half), config)
                .run(move || scenario()),
        };
    }
    println!("{name}: {played} schedules");
}

/// What a handler does with its socket. It ends when the connection does.
#[derive(Clone, Copy)]
enum Handler {
    /// Receives in the task of the connection.
    Receives,
    /// Moves the socket to another task, which receives, and waits for that task.
    Moves,
    /// As `Moves`, but the task gives up receiving, and is busy until the client is gone.
    MovesAndLeaves,
    /// Splits the socket, and receives in another task.
    Splits,
}

impl Handler {
    async fn run(self, ws: Ws, client_gone: Event) -> Result<()> {
        match self {
            Self::Receives => receive_all(ws).await,
            Self::Moves => spawn(receive_all(ws)).await.unwrap(),
            Self::MovesAndLeaves => {
                let elsewhere = spawn(async move {
                    let mut ws = ws;
                    receive_once(&mut ws).await;
                    client_gone.wait().await;
                    receive_all(ws).await
                });
                elsewhere.await.unwrap()
            }
            Self::Splits => {
                let (sender, mut receiver) = ws.split();
                let receiving = spawn(async move {
                    while receiver.recv().await?.is_some() {}
                    Ok::<_, Error>(())
                });
                receiving.await.unwrap()?;
                drop(sender);
                Ok(())
            }
        }
    }
}

async fn receive_all(mut ws: Ws) -> Result<()> {
    while ws.recv().await?.is_some() {}
    Ok(())
}

/// Polls for a message once, and gives up.
async fn receive_once(ws: &mut Ws) {
    let mut receive = pin!(ws.recv());
    poll_fn(|cx| Poll::Ready(drop(receive.as_mut().poll(cx)))).await;
}

/// Something that happens once.
#[derive(Clone, Default)]
struct Event(Arc<Mutex<(bool, Option<Waker>)>>);

impl Event {
    fn set(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        let waker = state.1.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Pushes three messages.
async fn push_some(handle: Handle, name: char) {
    for number in 0..3 {
        let message = Prepared::new(text(name, number));
        assert_eq!(handle.push(&message, OverflowPolicy::Skip), Push::Queued);
    }
}

fn text(name: char, number: usize) -> String {
    format!("{name}{number}{}", "-".repeat(number * 9))
}

async fn connect(end: End, clock: &VirtualClock) -> Client {
    let uri = "ws://example.com/".parse().unwrap();
    let config = Config::new().entropy(FixedSeed([7; 32]));
    let connection = ClientConnection::new(&uri, &ClientOptions::new(), config).unwrap();
    let (ws, _) = WebSocket::client(end, clock.timer(), connection)
        .await
        .unwrap();
    ws
}

/// Receives until the end.
async fn receive_texts(mut client: Client) -> Vec<String> {
    if let Err(error) = client.ping().await {
        assert!(error.is_closed(), "{error}");
    }
    let mut texts = Vec::new();
    while let Some(message) = client.recv().await.unwrap() {
        texts.push(message.as_text().unwrap().to_string());
    }
    texts
}

#[test]
fn what_is_pushed_arrives_whatever_the_handler_does() {
    play("pushed to a server", || {
        let clock = VirtualClock::new();
        let handlers = [
            Handler::Receives,
            Handler::Moves,
            Handler::MovesAndLeaves,
            Handler::Splits,
        ];
        let handler = handlers[rand::thread_rng().gen_range(0..handlers.len())];
        let timers = clock.clone();
        let client_gone = Event::default();
        let gone = client_gone.clone();
        let serve = Serve::new(
            move |ws| handler.run(ws, gone.clone()),
            move || timers.timer(),
            |task| drop(spawn(task)),
        );
        let server = block_on(serve.origins(Origins::SameHost).bind()).unwrap();
        let (near, far) = pipe(16);
        let connection = spawn(server.acceptor().serve(Accepted::new(far, Peer::Unknown)));
        let client = block_on(connect(near, &clock));
        let handle = server.handle().connections().remove(0);
        let received = spawn(receive_texts(client));
        let pushing: Vec<_> = ['a', 'b']
            .map(|name| spawn(push_some(handle.clone(), name)))
            .into();
        for pushed in pushing {
            block_on(pushed).unwrap();
        }
        handle.close(1000, "").unwrap();
        let texts = block_on(received).unwrap();
        client_gone.set();
        block_on(connection).unwrap();
        for name in ['a', 'b'] {
            let of_one = texts.iter().filter(|text| text.starts_with(name));
            let expected = (0..3).map(|number| text(name, number));
            assert!(of_one.eq(&expected.collect::<Vec<_>>()), "{texts:?}");
        }
        assert_eq!(texts.len(), 6);
    });
}
