//! The operations of an opening handshake: no connection is open, so that most duties do not apply.

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use sansock::{Config, Error, Upgrade, WebSocket};
use sansock_core::handshake::{ClientOptions, ServerOptions, StatusCode};
use sansock_core::{ClientConnection, ServerConnection};
use sansock_tests::driver::{Flood, Meter, Metered, MeteredTimer, Task, config};

use super::rig::REQUEST;
use super::{Kept, ensure};

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Client,
    Server,
    Read,
    Accept,
    AcceptWithResponse,
    Reject,
    Respond,
}

/// All of them.
pub(crate) const ALL: [Opening; 7] = [
    Opening::Client,
    Opening::Server,
    Opening::Read,
    Opening::Accept,
    Opening::AcceptWithResponse,
    Opening::Reject,
    Opening::Respond,
];

const TIMEOUT: Duration = Duration::from_secs(1);
/// One budget, of calls that take a millisecond each.
const SLACK: Duration = Duration::from_millis(300);

impl Opening {
    pub(crate) const fn of(self) -> &'static str {
        match self {
            Self::Client | Self::Server => "WebSocket",
            Self::Read | Self::Accept | Self::AcceptWithResponse | Self::Reject | Self::Respond => {
                "Upgrade"
            }
        }
    }

    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Read => "read",
            Self::Accept => "accept",
            Self::AcceptWithResponse => "accept_with_response",
            Self::Reject => "reject",
            Self::Respond => "respond",
        }
    }

    /// Why a duty does not apply, if it does not.
    const fn reason(duty: usize) -> Option<&'static str> {
        match duty {
            1 => Some("there are no pings before the connection is open"),
            4 => Some("the future owns the transport, and one task polls it"),
            5 => Some("it reports once"),
            6 => Some("there is no keepalive before the connection is open"),
            9 => Some("there is no handler yet"),
            _ => None,
        }
    }

    /// Runs it over a flood.
    async fn run(
        self,
        flood: Metered<Flood>,
        timer: MeteredTimer,
        config: Config,
    ) -> Result<(), Error> {
        if self == Self::Client {
            let uri = "ws://example.com/".parse().unwrap();
            let connection = ClientConnection::new(&uri, &ClientOptions::new(), config)?;
            return WebSocket::client(flood, timer, connection).await.map(drop);
        }
        let connection = ServerConnection::new(Arc::new(ServerOptions::new()), config);
        if self == Self::Server {
            return WebSocket::server(flood, timer, connection).await.map(drop);
        }
        let upgrade = Upgrade::read(flood, timer, connection).await?;
        match self {
            Self::Accept => upgrade.accept().await.map(drop),
            Self::AcceptWithResponse => upgrade.accept_with_response(|_| {}).await.map(drop),
            Self::Reject => upgrade.reject(StatusCode::FORBIDDEN, "no").await,
            Self::Respond => {
                let response = sansock_core::handshake::Response::text(StatusCode::NOT_FOUND, "no");
                upgrade.respond(response).await
            }
            Self::Client | Self::Server | Self::Read => Ok(()),
        }
    }

    /// Whether it has to answer a request.
    const fn answers(self) -> bool {
        !matches!(self, Self::Client | Self::Server | Self::Read)
    }

    /// Whether it waits for the end of the stream.
    const fn waits_for_the_end(self) -> bool {
        matches!(self, Self::Reject | Self::Respond)
    }
}

/// What the other end does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    /// It sends nothing.
    Silent,
    /// It sends a head without end, a byte at a time.
    Head,
    /// As much junk as is read.
    Junk,
    /// It takes nothing that is written.
    Full,
}

/// Runs an operation; returns when it has ended, and the most that it did in one poll.
fn run(row: Opening, other: Other) -> Result<(Duration, usize, usize), String> {
    let clock = sansock::clock::VirtualClock::new();
    let meter = Meter::default();
    let (flood, source) = Flood::new(&clock);
    source.take_time(Duration::from_millis(1));
    if row.answers() {
        source.precede(REQUEST);
    }
    match other {
        Other::Silent => {}
        Other::Head => {
            let start: &[u8] = if row == Opening::Client {
                b"HTTP/1.1 101 Switching Protocols\r\nX: "
            } else {
                b"GET / HTTP/1.1\r\nX: "
            };
            if !row.answers() {
                source.precede(start);
            }
            source.flow(b"a", 1);
        }
        Other::Junk => source.flow(&[0xff; 100], 16 << 10),
        Other::Full => source.take(0, 0),
    }
    let timer = meter.timer(clock.timer());
    let config = config().open_timeout(TIMEOUT);
    let mut task = Task::new(row.run(meter.transport(flood), timer, config));
    let (mut calls, mut bytes) = (0, 0);
    let held = measure(|| {
        for _ in 0..100_000 {
            if task.is_done() {
                break;
            }
            if task.is_woken() {
                let before = meter.work();
                task.poll();
                let work = meter.work() - before;
                calls = calls.max(work.calls());
                bytes = bytes.max(work.bytes);
            } else if !clock.advance_to_next_alarm() {
                break;
            }
        }
    });
    ensure!(task.is_done(), "it never ends over {other:?}");
    ensure!(
        held.bytes_max < 256 << 10,
        "{} bytes are held over {other:?}",
        held.bytes_max
    );
    Ok((clock.now().since_start(), calls, bytes))
}

/// Checks the duties of one operation that apply.
fn check(row: Opening) -> Result<Kept, String> {
    for other in [Other::Silent, Other::Head, Other::Junk, Other::Full] {
        let (time, calls, bytes) = run(row, other)?;
        ensure!(
            time <= TIMEOUT + SLACK,
            "D2: ended at {time:?} over {other:?}"
        );
        ensure!(
            calls <= 2 * 256 + 16,
            "D3: {calls} calls in a poll over {other:?}"
        );
        ensure!(
            bytes <= 384 << 10,
            "D3: {bytes} bytes in a poll over {other:?}"
        );
        let waits = match other {
            Other::Silent => !row.answers() || row.waits_for_the_end(),
            Other::Head => row == Opening::Client || row.waits_for_the_end(),
            Other::Full => row == Opening::Client || row.answers(),
            Other::Junk => row.waits_for_the_end(),
        };
        ensure!(
            !waits || time >= TIMEOUT,
            "it gives up at {time:?} over {other:?}"
        );
    }
    Ok(Kept::Yes)
}

#[test]
fn opening_handshakes_keep_the_duties_that_apply() {
    let mut failed = 0;
    for row in ALL {
        let name = format!("{}::{}", row.of(), row.method());
        for duty in 1..=9 {
            if let Some(reason) = Opening::reason(duty) {
                println!("D{duty} {name}: does not apply, {reason}");
            }
        }
        match check(row) {
            Ok(_) => println!("D2, D3, D7, D8 {name}: kept"),
            Err(what) => {
                failed += 1;
                println!("{name}: FAILED, {what}");
            }
        }
        if row != Opening::Read && row != Opening::Client {
            let writes = writes_of_an_answer(row);
            if writes != 1 {
                failed += 1;
                println!("D8 {name}: FAILED, the answer takes {writes} writes");
            }
        }
    }
    assert_eq!(failed, 0, "operations break a duty");
}

/// D8: returns in how many writes the answer to a request leaves.
fn writes_of_an_answer(row: Opening) -> usize {
    let clock = sansock::clock::VirtualClock::new();
    let meter = Meter::default();
    let (flood, source) = Flood::new(&clock);
    source.precede(REQUEST);
    let timer = meter.timer(clock.timer());
    let mut task = Task::new(row.run(meter.transport(flood), timer, config()));
    task.poll();
    assert!(!source.written().is_empty());
    meter.work().writes
}
