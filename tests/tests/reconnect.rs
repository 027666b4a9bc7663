//! Connections one after the other: which errors are retried, and after which delays.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::StreamExt;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::core::handshake::{HandshakeError, HeadError, Response, StatusCode, Uri, UriError};
use sansock::core::{Deadline, Entropy, EntropyError, FixedSeed, Instant, ProtocolError};
use sansock::proxy::{Proxy, ProxyError};
use sansock::reconnect::{Backoff, Connector, Reconnect, Retry};
use sansock::serve::Origins;
use sansock::{Error, NoTimer, Result, Timer};
use sansock_tests::driver::{Task, recreated, run, settle};

const SECOND: Duration = Duration::from_secs(1);

/// The delays of a backoff that draws the middle of every range.
fn halves() -> Backoff {
    let mut seed = [0; 32];
    seed[3] = 0x80;
    Backoff::new().entropy(FixedSeed(seed))
}

fn refused() -> Error {
    std::io::Error::from(ErrorKind::ConnectionRefused).into()
}

fn answered(status: u16) -> Error {
    let response = Response::new(StatusCode::new(status).unwrap());
    HandshakeError::Refused(Box::new(response)).into()
}

/// Attempts that come to what a script says, and when they began.
#[derive(Clone, Default)]
struct Script {
    clock: VirtualClock,
    outcomes: Rc<RefCell<Vec<Result<u32>>>>,
    seconds: Rc<RefCell<Vec<f32>>>,
    /// How often an attempt is pending.
    hesitation: Rc<Cell<u32>>,
}

impl Script {
    fn new(outcomes: impl IntoIterator<Item = Result<u32>>) -> Self {
        let mut outcomes: Vec<_> = outcomes.into_iter().collect();
        outcomes.reverse();
        Self {
            outcomes: Rc::new(RefCell::new(outcomes)),
            ..Self::default()
        }
    }

    fn attempt(&self) -> impl Future<Output = Result<u32>> + use<> {
        let second = self.clock.now().since_start().as_secs_f32();
        self.seconds.borrow_mut().push(second);
        let (outcomes, mut hesitation) = (self.outcomes.clone(), self.hesitation.get());
        poll_fn(move |cx| {
            if hesitation > 0 {
                hesitation -= 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(outcomes.borrow_mut().pop().unwrap())
        })
    }

    fn connections(
        &self,
        backoff: Backoff,
    ) -> Reconnect<impl Connector<Connection = u32> + use<>, VirtualTimer> {
        let script = self.clone();
        let connections = Reconnect::new(move || script.attempt(), self.clock.timer());
        connections.backoff(backoff)
    }

    /// Runs a future, with as much time as it wants.
    #[track_caller]
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut task = Task::fickle(future);
        settle(&mut [&mut task]);
        while !task.is_done() {
            assert!(self.clock.advance_to_next_alarm(), "it waits for nothing");
            settle(&mut [&mut task]);
        }
        task.output()
    }

    /// The seconds at which attempts began, and how many outcomes are left.
    fn seconds(&self) -> Vec<f32> {
        self.seconds.borrow().clone()
    }
}

/// Failures without an end.
fn failing(times: usize) -> Vec<Result<u32>> {
    (0..times).map(|_| Err(refused())).collect()
}

#[test]
fn the_first_attempt_begins_at_once() {
    let script = Script::new([Ok(1)]);
    let mut connections = script.connections(halves());
    assert_eq!(
        script.seconds(),
        [0.0_f32; 0],
        "nothing happens before it is asked for"
    );
    assert_eq!(run(connections.next()).unwrap(), Some(1));
    assert_eq!(script.seconds(), [0.0]);
}

#[test]
fn delays_double_up_to_a_bound() {
    let script = Script::new(failing(9).into_iter().chain([Ok(1)]));
    let mut connections = script.connections(halves());
    assert_eq!(script.run(connections.next()).unwrap(), Some(1));
    let seconds = script.seconds();
    let delays: Vec<f32> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(delays, [1., 2., 4., 8., 16., 32., 45., 45., 45.]);

    let script = Script::new(failing(4).into_iter().chain([Ok(1)]));
    let backoff = halves().initial(10 * SECOND).max(30 * SECOND);
    let mut connections = script.connections(backoff);
    script.run(connections.next()).unwrap();
    assert_eq!(script.seconds(), [0., 5., 15., 30., 45.]);
}

#[test]
fn a_delay_is_drawn_from_the_whole_range() {
    let delay = |seed: [u8; 4]| {
        let script = Script::new([Err(refused()), Ok(1)]);
        let mut whole = [0x55; 32];
        whole[..4].copy_from_slice(&seed);
        let backoff = Backoff::new()
            .entropy(FixedSeed(whole))
            .initial(100 * SECOND);
        let mut connections = script.connections(backoff.max(100 * SECOND));
        script.run(connections.next()).unwrap();
        script.clock.now().since_start()
    };
    assert_eq!(delay([0; 4]), Duration::ZERO);
    assert_eq!(delay([0, 0, 0, 0x40]), 25 * SECOND);
    let longest = delay([0xff; 4]);
    assert!(
        longest < 100 * SECOND && longest > 99 * SECOND,
        "{longest:?}"
    );
}

#[test]
fn delays_of_the_system_are_not_all_the_same() {
    let delay = || {
        let script = Script::new([Err(refused()), Ok(1)]);
        let mut connections = script.connections(Backoff::new());
        script.run(connections.next()).unwrap();
        script.clock.now().since_start()
    };
    let delays: Vec<_> = (0..20).map(|_| delay()).collect();
    assert!(delays.iter().all(|delay| *delay < 2 * SECOND));
    assert!(delays.iter().any(|delay| *delay != delays[0]));
}

#[test]
fn without_randomness_the_delay_is_the_bound() {
    #[derive(Debug)]
    struct Nothing;
    impl Entropy for Nothing {
        fn seed(&self) -> Result<[u8; 32], EntropyError> {
            Err(EntropyError)
        }
    }
    let script = Script::new([Err(refused()), Err(refused()), Ok(1)]);
    let mut connections = script.connections(Backoff::new().entropy(Nothing));
    script.run(connections.next()).unwrap();
    assert_eq!(script.seconds(), [0., 2., 6.]);
}

#[test]
fn a_fatal_error_is_returned_and_is_the_end() {
    let script = Script::new([Err(refused()), Err(answered(404)), Ok(1)]);
    let mut connections = script.connections(halves());
    let error = script.run(connections.next()).unwrap_err();
    assert_eq!(error.response().unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(script.run(connections.next()).unwrap(), None);
    assert_eq!(script.seconds(), [0., 1.]);
}

#[test]
fn attempts_may_be_bounded() {
    for bound in [0, 1, 3] {
        let script = Script::new(failing(9));
        let mut connections = script.connections(halves().max_attempts(bound));
        let error = script.run(connections.next()).unwrap_err();
        assert!(matches!(error, Error::Io(_)));
        assert_eq!(script.seconds().len(), bound.max(1) as usize);
        assert_eq!(script.run(connections.next()).unwrap(), None);
    }
    // A connection starts a new row, though the delays go on growing.
    let outcomes = [
        Err(refused()),
        Ok(1),
        Err(refused()),
        Ok(2),
        Err(refused()),
        Err(refused()),
    ];
    let script = Script::new(outcomes);
    let mut connections = script.connections(halves().max_attempts(2));
    assert_eq!(script.run(connections.next()).unwrap(), Some(1));
    assert_eq!(script.run(connections.next()).unwrap(), Some(2));
    assert!(script.run(connections.next()).is_err());
    assert_eq!(script.seconds(), [0., 1., 3., 7., 15., 31.]);
}

#[test]
fn a_connection_that_stayed_open_resets_the_delay() {
    let outcomes = [failing(3), vec![Ok(1), Err(refused()), Ok(2)]];
    for (open, delays) in [(10, [1., 2.]), (9, [8., 16.])] {
        let script = Script::new(outcomes.concat());
        let mut connections = script.connections(halves());
        assert_eq!(script.run(connections.next()).unwrap(), Some(1));
        script.clock.advance(open * SECOND);
        assert_eq!(script.run(connections.next()).unwrap(), Some(2));
        let (first, second) = (7. + open as f32 + delays[0], delays[1]);
        assert_eq!(script.seconds(), [0., 1., 3., 7., first, first + second]);
    }
}

#[test]
fn how_long_a_connection_must_stay_open_can_be_chosen() {
    for (stable_after, delay) in [(60, 2.), (59, 1.)] {
        let script = Script::new([Err(refused()), Ok(1), Ok(2)]);
        let backoff = halves().stable_after(stable_after * SECOND);
        let mut connections = script.connections(backoff);
        script.run(connections.next()).unwrap();
        script.clock.advance(59 * SECOND);
        script.run(connections.next()).unwrap();
        assert_eq!(script.seconds(), [0., 1., 60. + delay]);
    }
}

#[test]
fn a_server_that_drops_its_clients_is_not_hammered() {
    let script = Script::new((0..6).map(Ok));
    let mut connections = script.connections(halves());
    for _ in 0..6 {
        script.run(connections.next()).unwrap();
    }
    assert_eq!(script.seconds(), [0., 1., 3., 7., 15., 31.]);
}

#[test]
fn the_policy_can_be_replaced() {
    let seen = RefCell::new(Vec::new());
    let outcomes = [
        Err(answered(429)),
        Err(answered(404)),
        Err(refused()),
        Ok(1),
    ];
    let script = Script::new(outcomes);
    let connections = script.connections(halves());
    let mut connections = connections.policy(|error| {
        let status = error.response().map(|response| response.status().number());
        seen.borrow_mut().push(status);
        match status {
            Some(429) => Retry::After(50 * SECOND),
            Some(_) => Retry::Backoff,
            None => Retry::Never,
        }
    });
    assert!(script.run(connections.next()).is_err());
    assert_eq!(script.seconds(), [0., 50., 52.]);
    assert_eq!(*seen.borrow(), [Some(429), Some(404), None]);
}

#[test]
fn a_policy_may_replace_the_delays_as_well() {
    let script = Script::new(failing(3).into_iter().chain([Ok(1)]));
    let mut delays = [3, 2, 1].into_iter();
    let connections = script.connections(halves().max_attempts(4));
    let mut connections = connections.policy(move |_| match delays.next() {
        Some(seconds) => Retry::After(seconds * SECOND),
        None => Retry::Never,
    });
    assert_eq!(script.run(connections.next()).unwrap(), Some(1));
    assert_eq!(script.seconds(), [0., 3., 5., 6.]);
}

/// A refusal with these headers.
fn answered_with(status: u16, headers: &[(&str, &str)]) -> Error {
    let mut response = Response::new(StatusCode::new(status).unwrap());
    for (name, value) in headers {
        response.headers_mut().append(name, value).unwrap();
    }
    HandshakeError::Refused(Box::new(response)).into()
}

const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

#[test]
fn retry_after_is_a_number_of_seconds_or_a_date() {
    for (value, seconds) in [
        ("0", Some(0)),
        ("5", Some(5)),
        ("120", Some(120)),
        ("18446744073709551615", Some(u64::MAX)),
        ("99999999999999999999999999", Some(u64::MAX)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Mon, 07 Nov 1994 08:49:37 GMT", Some(86_400)),
        ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
        ("Sun Nov  6 08:50:37 1994", Some(60)),
        (NOW, Some(0)),
        ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("5 s", None),
        ("soon", None),
        ("Sun, 99 Nov 1994 08:50:37 GMT", None),
    ] {
        let error = answered_with(503, &[("Retry-After", value), ("Date", NOW)]);
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(error.retry_after(), expected, "{value:?}");
        let expected = expected.map_or(Retry::Backoff, Retry::NotBefore);
        assert_eq!(Retry::of(&error), expected, "{value:?}");
    }
}

#[test]
fn a_date_to_retry_after_needs_the_date_of_the_response() {
    let value = "Sun, 06 Nov 1994 08:50:37 GMT";
    for headers in [
        &[("Retry-After", value)][..],
        &[("Retry-After", value), ("Date", "today")],
    ] {
        let error = answered_with(503, headers);
        assert_eq!(error.retry_after(), None);
        assert_eq!(Retry::of(&error), Retry::Backoff);
    }
    assert_eq!(refused().retry_after(), None);
}

#[test]
fn retry_after_counts_for_transient_answers_of_servers_and_proxies_only() {
    let five = [("Retry-After", "5")];
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let retry = Retry::of(&answered_with(status, &five));
        assert_eq!(retry, Retry::NotBefore(5 * SECOND), "{status}");
    }
    for status in [301, 403, 404, 413] {
        let retry = Retry::of(&answered_with(status, &five));
        assert_eq!(retry, Retry::Never, "{status}");
    }
    let proxy = |answer: &[u8]| refusal("http://a", &[answer]);
    let error = proxy(b"HTTP/1.1 503 \r\nRetry-After: 5\r\n\r\n");
    assert_eq!(error.retry_after(), Some(5 * SECOND));
    assert_eq!(Retry::of(&error), Retry::NotBefore(5 * SECOND));
    let error = proxy(b"HTTP/1.1 407 \r\nRetry-After: 5\r\n\r\n");
    assert_eq!(Retry::of(&error), Retry::Never);
}

#[test]
fn a_server_is_not_tried_again_before_the_time_that_it_asks_for() {
    let busy = |seconds: &str| answered_with(503, &[("Retry-After", seconds)]);
    // The delays after it, from the middle of the range, are 1, 2 and 4 seconds.
    let outcomes = [Err(busy("5")), Err(busy("0")), Err(refused()), Ok(1)];
    let script = Script::new(outcomes);
    let mut connections = script.connections(halves());
    assert_eq!(script.run(connections.next()).unwrap(), Some(1));
    assert_eq!(script.seconds(), [0., 6., 8., 12.]);

    let script = Script::new([Err(busy("5")), Ok(1)]);
    let mut connections = script.connections(halves().max_attempts(1));
    assert!(script.run(connections.next()).is_err());
    assert_eq!(script.seconds(), [0.]);
}

#[test]
fn a_server_cannot_make_a_client_wait_for_ever() {
    let busy = || answered_with(503, &[("Retry-After", "99999999999999999999")]);
    for (backoff, second) in [
        (halves(), 601.),
        (halves().max_retry_after(7 * SECOND), 8.),
        (halves().max_retry_after(Duration::ZERO), 1.),
    ] {
        let script = Script::new([Err(busy()), Ok(1)]);
        let mut connections = script.connections(backoff);
        assert_eq!(script.run(connections.next()).unwrap(), Some(1));
        assert_eq!(script.seconds(), [0., second]);
    }
}

#[test]
fn errors_of_the_network_and_of_a_server_at_fault_are_transient() {
    let io = |kind| Error::from(std::io::Error::from(kind));
    let socks = |reply| refusal("socks5h://a", &[&[5, 0], &[5, reply]]);
    let status = |status| {
        refusal(
            "http://a",
            &[format!("HTTP/1.1 {status} \r\n\r\n").as_bytes()],
        )
    };
    let cases = [
        (io(ErrorKind::ConnectionRefused), true),
        (io(ErrorKind::ConnectionReset), true),
        (io(ErrorKind::HostUnreachable), true),
        (io(ErrorKind::NetworkUnreachable), true),
        (io(ErrorKind::NotFound), true),
        (io(ErrorKind::UnexpectedEof), true),
        (io(ErrorKind::TimedOut), true),
        (io(ErrorKind::Other), true),
        (io(ErrorKind::InvalidData), false),
        (io(ErrorKind::InvalidInput), false),
        (io(ErrorKind::Unsupported), false),
        (Error::TimedOut(Deadline::Open), true),
        (Error::Lost(None), true),
        (
            HandshakeError::from(HeadError::Incomplete { bytes: 3 }).into(),
            true,
        ),
        (HandshakeError::from(HeadError::StartLine).into(), false),
        (HandshakeError::MissingHeader("Upgrade").into(), false),
        (answered(500), true),
        (answered(502), true),
        (answered(503), true),
        (answered(504), true),
        (answered(501), false),
        (answered(301), false),
        (answered(401), false),
        (answered(404), false),
        (answered(408), true),
        (answered(425), true),
        (answered(429), true),
        (answered(400), false),
        (answered(409), false),
        (answered(413), false),
        (ProxyError::Ended.into(), true),
        (ProxyError::Tls.into(), false),
        (ProxyError::CredentialsRefused.into(), false),
        (status(503), true),
        (status(429), true),
        (status(407), false),
        (status(403), false),
        (socks(1), true),
        (socks(5), true),
        (socks(2), false),
        (socks(7), false),
        (Error::Protocol(ProtocolError::InvalidUtf8), false),
        (Error::Uri(UriError::Host), false),
        (Origins::list(["*"]).unwrap_err().into(), false),
        (Error::NoTls, false),
        (Error::InMessage, false),
    ];
    for (error, is_transient) in cases {
        assert_eq!(error.is_transient(), is_transient, "{error:?}");
        let expected = if is_transient {
            Retry::Backoff
        } else {
            Retry::Never
        };
        assert_eq!(Retry::of(&error), expected);
    }
}

/// What a proxy that answers so is refused with.
fn refusal(proxy: &str, answers: &[&[u8]]) -> Error {
    let proxy: Proxy = proxy.parse().unwrap();
    let uri: Uri = "ws://a/".parse().unwrap();
    let mut handshake = sansock::proxy::Handshake::new(&proxy, &(&uri).into()).unwrap();
    let error = answers
        .iter()
        .find_map(|answer| handshake.receive_data(answer).err());
    error.unwrap().into()
}

#[test]
fn nothing_is_lost_when_a_future_is_dropped_at_every_poll() {
    let outcomes = [Err(refused()), Ok(1), Err(refused()), Ok(2)];
    let script = Script::new(outcomes);
    script.hesitation.set(3);
    let mut connections = script.connections(halves());
    for expected in [1, 2] {
        let connection = script.run(recreated(async || connections.next().await));
        assert_eq!(connection.unwrap(), Some(expected));
    }
    assert_eq!(script.seconds(), [0., 1., 3., 7.]);
}

#[test]
fn it_waits_for_the_whole_delay_and_no_longer() {
    let script = Script::new([Err(refused()), Ok(1)]);
    let mut connections = script.connections(halves());
    let mut task = Task::new(connections.next());
    settle(&mut [&mut task]);
    assert_eq!(script.clock.next_alarm(), Some(Instant::from_start(SECOND)));
    script.clock.advance(SECOND - Duration::from_nanos(1));
    assert!(!task.is_woken());
    task.poll();
    assert_eq!(script.seconds().len(), 1, "it was polled for nothing");
    script.clock.advance(Duration::from_nanos(1));
    assert!(task.is_woken());
    settle(&mut [&mut task]);
    assert_eq!(task.output().unwrap(), Some(1));
    assert_eq!(script.clock.next_alarm(), None);
}

#[test]
fn an_alarm_that_rings_early_does_no_harm() {
    /// Rings at every third poll.
    struct Hasty(VirtualClock, u32);
    impl Timer for Hasty {
        fn now(&self) -> Instant {
            self.0.now()
        }
        fn set(&mut self, _deadline: Option<Instant>) {}
        fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.1 += 1;
            cx.waker().wake_by_ref();
            match self.1 % 3 {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }
    }
    let script = Script::new([Err(refused()), Ok(1)]);
    let (attempts, clock) = (script.clone(), script.clock.clone());
    let connections = Reconnect::new(move || attempts.attempt(), Hasty(clock.clone(), 0));
    let mut connections = connections.backoff(halves());
    let mut task = Task::new(connections.next());
    for _ in 0..100 {
        task.poll();
    }
    assert_eq!(script.seconds(), [0.0]);
    clock.advance(SECOND);
    task.poll();
    assert_eq!(task.output().unwrap(), Some(1));
}

#[test]
fn a_delay_beyond_the_end_of_time_never_ends() {
    for (initial, max) in [(Duration::MAX, Duration::MAX), (SECOND, Duration::MAX)] {
        let script = Script::new(failing(200));
        let mut seed = [0; 32];
        seed[..4].fill(0xff);
        let backoff = Backoff::new()
            .entropy(FixedSeed(seed))
            .initial(initial)
            .max(max);
        let mut connections = script.connections(backoff);
        let mut task = Task::new(connections.next());
        settle(&mut [&mut task]);
        while script.clock.advance_to_next_alarm() {
            settle(&mut [&mut task]);
        }
        assert!(!task.is_done());
        assert!(script.seconds().len() < 40);
    }
    let script = Script::new(failing(2));
    let attempts = script.clone();
    let mut connections = Reconnect::new(move || attempts.attempt(), NoTimer).backoff(halves());
    let mut task = Task::new(connections.next());
    settle(&mut [&mut task]);
    assert!(!task.is_done() && script.seconds().len() == 1);
}

#[test]
fn no_delay_is_no_alarm() {
    let script = Script::new(failing(3).into_iter().chain([Ok(1), Ok(2)]));
    let backoff = Backoff::new().initial(Duration::ZERO);
    let mut connections = script.connections(backoff);
    assert_eq!(run(connections.next()).unwrap(), Some(1));
    assert_eq!(run(connections.next()).unwrap(), Some(2));
    assert_eq!(script.clock.now(), Instant::START);
}

#[test]
fn it_is_a_stream() {
    let script = Script::new([Ok(1), Err(refused()), Ok(2), Err(Error::NoTls), Ok(3)]);
    let connections = Box::pin(script.connections(halves()));
    let all: Vec<Result<u32>> = script.run(connections.collect());
    assert!(
        matches!(all[..], [Ok(1), Ok(2), Err(Error::NoTls)]),
        "{all:?}"
    );
}

#[test]
fn it_may_move_to_another_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let connect = move || {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move { Ok(number) }
    };
    let mut connections = is_send(Reconnect::new(connect, VirtualClock::new().timer()));
    assert_eq!(run(is_send(connections.next())).unwrap(), Some(0));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn a_client_comes_back_to_a_server_that_fails_and_drops_it() {
    use async_net::{TcpListener, TcpStream};
    use futures_lite::future::try_zip;
    use futures_lite::{AsyncReadExt, AsyncWriteExt};

    async fn next(listener: &TcpListener) -> std::io::Result<TcpStream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    async_io::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let server = async {
            drop(next(&listener).await?);
            let mut stream = next(&listener).await?;
            let _ = stream.read(&mut [0; 1024]).await?;
            let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await?;
            stream.close().await?;
            let mut ws = sansock::smol::accept(next(&listener).await?).await?;
            ws.send("one").await?;
            drop(ws);
            let mut ws = sansock::smol::accept(next(&listener).await?).await?;
            ws.send("two").await?;
            ws.close(1000, "").await?;
            let mut stream = next(&listener).await?;
            let _ = stream.read(&mut [0; 1024]).await?;
            stream
                .write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
                .await?;
            stream.close().await?;
            Ok::<_, Error>(())
        };
        let client = async {
            let timer = async_io::Timer::never();
            let connections = Reconnect::new(|| sansock::smol::connect(&url), timer);
            let mut connections = connections.backoff(Backoff::new().initial(Duration::ZERO));
            let mut received = Vec::new();
            let error = loop {
                match connections.next().await {
                    Ok(Some(mut ws)) => {
                        while let Ok(Some(message)) = ws.recv().await {
                            received.push(message.as_text().unwrap().to_string());
                        }
                    }
                    Ok(None) => panic!("an error comes first"),
                    Err(error) => break error,
                }
            };
            assert_eq!(received, ["one", "two"]);
            assert_eq!(error.response().unwrap().status(), StatusCode::FORBIDDEN);
            Ok(())
        };
        try_zip(client, server).await.unwrap();
    });
}
