//! Name resolution, addresses and deadlines, over a fake runtime with a virtual clock.

use std::collections::HashMap;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::FutureExt;
use sansock_core::Instant;

use super::deadline::ConnectDeadline;
use super::proxy::{Proxy, Socks4Reply};
use super::{Connect, dial};
use crate::driver::Timer;
use crate::error::{ConnectError, ConnectPhase, Error, ProxyError};
use crate::testing::clock::{VirtualClock, VirtualTimer};
use crate::transport::{Accepted, BoxFuture, Runtime, Stream, Threads};

const SECOND: Duration = Duration::from_secs(1);

/// What becomes of an attempt to connect to an address.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Connects(Duration),
    Fails(Duration),
    Hangs,
}

/// A runtime where everything happens as it is told, and is written down.
#[derive(Debug, Clone, Default)]
struct Fake {
    clock: VirtualClock,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The addresses of every host; without them the resolver hangs.
    addresses: Option<Result<Vec<SocketAddr>, io::ErrorKind>>,
    fates: HashMap<SocketAddr, Fate>,
    /// The hosts whose addresses were asked for.
    asked: Vec<String>,
    /// What all servers answer.
    answer: &'static [u8],
    /// What happened, with the milliseconds that had passed.
    log: Vec<(u128, String)>,
}

impl Fake {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    fn with_fates(fates: &[(&str, Fate)]) -> Self {
        let fake = Self::default();
        let fates = fates.iter().map(|(text, fate)| (address(text), *fate));
        fake.lock().fates = fates.collect();
        fake
    }

    fn log(&self, what: &str, address: SocketAddr) {
        let now = self.clock.now().since_start().as_millis();
        self.lock().log.push((now, format!("{what} {address}")));
    }

    fn logged(&self) -> Vec<String> {
        let shared = self.lock();
        let lines = shared.log.iter();
        lines.map(|(at, what)| format!("{at} {what}")).collect()
    }

    /// Runs a future, and moves the clock whenever it waits.
    fn run<O>(&self, future: impl Future<Output = O>) -> O {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            assert!(self.clock.advance_to_next_alarm(), "it waits for ever");
        }
    }

    async fn sleep(&self, time: Duration) {
        let mut timer = self.clock.timer();
        timer.set(timer.now().checked_add(time));
        poll_fn(|cx| timer.poll(cx)).await;
    }

    /// Connects to the first of these addresses that answers.
    fn first(&self, addresses: &[&str]) -> Result<SocketAddr, Vec<String>> {
        let addresses: Vec<_> = addresses.iter().map(|text| address(text)).collect();
        let connect = |to| {
            let attempt = self.connect(to, None);
            async move { attempt.await.map(|stream| stream.address) }
        };
        let connected = self.run(dial::first(&addresses, self.clock.timer(), connect));
        connected.map_err(|attempts| {
            let addresses = attempts.iter().map(|(address, _)| address.to_string());
            addresses.collect()
        })
    }
}

/// Writes down when an attempt is dropped before it came to an end.
struct Attempt(Fake, SocketAddr, bool);

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.2 {
            self.0.log("drop", self.1);
        }
    }
}

impl Runtime for Fake {
    type Mode = Threads;
    type Stream = Patient;
    type Listener = ();
    type Timer = VirtualTimer;

    fn timer(&self) -> VirtualTimer {
        self.clock.timer()
    }

    fn spawn(&self, _: BoxFuture<Threads, ()>) {
        unreachable!("a client spawns nothing");
    }

    fn resolve(&self, host: &str, _port: u16) -> BoxFuture<Threads, io::Result<Vec<SocketAddr>>> {
        self.lock().asked.push(host.into());
        let addresses = self.lock().addresses.clone();
        Box::pin(async {
            match addresses {
                Some(addresses) => addresses.map_err(io::Error::from),
                None => pending().await,
            }
        })
    }

    fn connect(
        &self,
        to: SocketAddr,
        _from: Option<IpAddr>,
    ) -> BoxFuture<Threads, io::Result<Patient>> {
        let fake = self.clone();
        Box::pin(async move {
            fake.log("try", to);
            let mut attempt = Attempt(fake.clone(), to, false);
            let fate = fake.lock().fates.get(&to).copied();
            match fate.unwrap_or(Fate::Hangs) {
                Fate::Connects(after) => fake.sleep(after).await,
                Fate::Fails(after) => {
                    fake.sleep(after).await;
                    attempt.2 = true;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Fate::Hangs => pending().await,
            }
            attempt.2 = true;
            let answer = fake.lock().answer;
            Ok(Patient {
                address: to,
                answer,
            })
        })
    }

    fn listen(&self, _: SocketAddr) -> BoxFuture<Threads, io::Result<()>> {
        unreachable!("a client does not listen");
    }

    fn accept(&self, (): &()) -> BoxFuture<Threads, io::Result<Accepted<Stream<Self>>>> {
        unreachable!("a client does not accept");
    }

    fn listener_address((): &()) -> Option<SocketAddr> {
        None
    }

    fn peer_address(stream: &Patient) -> io::Result<SocketAddr> {
        Ok(stream.address)
    }

    fn local_address(stream: &Patient) -> io::Result<SocketAddr> {
        Ok(stream.address)
    }

    fn set_nodelay(_: &Patient, _: bool) -> io::Result<()> {
        Ok(())
    }
}

/// A peer that takes everything, sends its answer and nothing else, and keeps the connection open.
#[derive(Debug)]
struct Patient {
    address: SocketAddr,
    answer: &'static [u8],
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.answer.is_empty() {
            true => Poll::Pending,
            false => Pin::new(&mut self.answer).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn an_address_that_answers_in_time_is_the_only_one_that_is_tried() {
    let fake = Fake::with_fates(&[("[::1]:1", Fate::Connects(millis(249)))]);
    assert_eq!(
        fake.first(&["[::1]:1", "1.1.1.1:1"]),
        Ok(address("[::1]:1"))
    );
    assert_eq!(fake.logged(), ["0 try [::1]:1"]);
}

#[test]
fn families_take_turns_a_quarter_of_a_second_apart_and_losers_are_dropped() {
    let fake = Fake::with_fates(&[
        ("[::3]:1", Fate::Connects(millis(300))),
        ("1.1.1.2:1", Fate::Connects(millis(10))),
    ]);
    let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"];
    assert_eq!(fake.first(&addresses), Ok(address("1.1.1.2:1")));
    let mut tried = fake.logged();
    let mut dropped = tried.split_off(4);
    assert_eq!(
        tried,
        [
            "0 try [::1]:1",
            "250 try 1.1.1.1:1",
            "500 try [::2]:1",
            "750 try 1.1.1.2:1"
        ]
    );
    dropped.sort();
    let expected = ["760 drop 1.1.1.1:1", "760 drop [::1]:1", "760 drop [::2]:1"];
    assert_eq!(dropped, expected);
}

#[test]
fn a_late_answer_of_an_earlier_attempt_counts() {
    let fake = Fake::with_fates(&[("[::1]:1", Fate::Connects(millis(600)))]);
    let addresses = ["[::1]:1", "1.1.1.1:1", "[::2]:1"];
    assert_eq!(fake.first(&addresses), Ok(address("[::1]:1")));
    assert!(fake.logged().contains(&"500 try [::2]:1".into()));
}

#[test]
fn after_a_failure_the_next_attempt_begins_at_once() {
    let fake = Fake::with_fates(&[
        ("[::1]:1", Fate::Fails(Duration::ZERO)),
        ("1.1.1.1:1", Fate::Fails(millis(100))),
        ("[::2]:1", Fate::Connects(millis(50))),
    ]);
    let addresses = ["[::1]:1", "[::2]:1", "1.1.1.1:1"];
    assert_eq!(fake.first(&addresses), Ok(address("[::2]:1")));
    let expected = ["0 try [::1]:1", "0 try 1.1.1.1:1", "100 try [::2]:1"];
    assert_eq!(fake.logged(), expected);
}

#[test]
fn the_delay_is_counted_from_the_latest_attempt() {
    let fake = Fake::with_fates(&[("[::1]:1", Fate::Fails(millis(200)))]);
    fake.lock()
        .fates
        .insert(address("1.1.1.1:1"), Fate::Connects(SECOND));
    let addresses = ["[::1]:1", "[::2]:1", "1.1.1.1:1"];
    assert_eq!(fake.first(&addresses), Ok(address("1.1.1.1:1")));
    assert_eq!(
        fake.logged()[..3],
        ["0 try [::1]:1", "200 try 1.1.1.1:1", "450 try [::2]:1"]
    );
}

#[test]
fn when_all_fail_all_are_told_in_the_order_of_their_failures() {
    let fake = Fake::with_fates(&[
        ("[::1]:1", Fate::Fails(millis(400))),
        ("1.1.1.1:1", Fate::Fails(millis(100))),
    ]);
    let failed = fake.first(&["[::1]:1", "1.1.1.1:1"]).unwrap_err();
    assert_eq!(failed, ["1.1.1.1:1", "[::1]:1"]);
    assert_eq!(fake.first(&[]), Err(Vec::new()));
}

/// Connects to example.com with the default time for it, 10 s, and returns why that fails.
fn fail(fake: &Fake, url: &str) -> Error {
    let connect = Connect::new(fake.clone(), url);
    fake.run(async { connect.await.unwrap_err() })
}

fn timed_out_in(error: &Error) -> Option<ConnectPhase> {
    let Error::Connect(error) = error else {
        return None;
    };
    let ConnectError::TimedOut { phase, .. } = **error else {
        return None;
    };
    Some(phase)
}

#[test]
fn the_error_of_the_deadline_names_the_phase() {
    let resolved = Some(Ok(vec![address("1.1.1.1:80")]));

    let fake = Fake::default();
    let error = fail(&fake, "ws://example.com/");
    assert_eq!(timed_out_in(&error), Some(ConnectPhase::Resolve));
    assert!(error.is_timeout() && error.is_connect());
    assert_eq!(
        error.to_string(),
        "connect timed out after 10s (phase: name resolution with example.com:80)"
    );

    let fake = Fake::default();
    fake.lock().addresses = resolved.clone();
    let error = fail(&fake, "ws://example.com/");
    assert_eq!(timed_out_in(&error), Some(ConnectPhase::Tcp));
    assert_eq!(fake.logged(), ["0 try 1.1.1.1:80", "10000 drop 1.1.1.1:80"]);

    let fake = Fake::with_fates(&[("1.1.1.1:80", Fate::Connects(6 * SECOND))]);
    fake.lock().addresses = resolved;
    let error = fail(&fake, "ws://example.com/");
    assert_eq!(timed_out_in(&error), Some(ConnectPhase::Handshake));
    assert_eq!(
        fake.clock.now().since_start(),
        10 * SECOND,
        "one deadline for all"
    );
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
}

/// Connects to a server that gives this answer and keeps the connection open. Returns the error, and when it
/// is reported, in seconds.
fn answered(answer: &'static [u8]) -> (Error, u64) {
    let fake = Fake::with_fates(&[("1.1.1.1:80", Fate::Connects(3 * SECOND))]);
    fake.lock().answer = answer;
    let connect = Connect::new(fake.clone(), "ws://1.1.1.1/").redirects(1);
    let error = fake.run(async { connect.await.unwrap_err() });
    (error, fake.clock.now().since_start().as_secs())
}

#[test]
fn the_deadline_ends_the_body_of_a_refusal_and_not_the_handshake() {
    let redirect = b"HTTP/1.1 302 Found\r\nLocation: ws://1.1.1.1/2\r\n\r\nbody";
    let unauthorized = b"HTTP/1.1 401 Unauthorized\r\n\r\nbody";
    for (answer, status) in [(&unauthorized[..], 401), (redirect, 302)] {
        let (error, at) = answered(answer);
        assert_eq!(at, 10);
        let response = error.response().expect("the refusal");
        assert_eq!(response.status().number(), status);
        assert_eq!(&response.body()[..], b"body");
        assert!(response.is_body_truncated());
        assert!(!error.is_timeout());
    }
}

/// A timer whose alarm fires a second early, and whose clock never shows the same time twice.
struct Inexact(VirtualClock, VirtualTimer);

impl Timer for Inexact {
    fn now(&self) -> Instant {
        self.0.advance(Duration::from_nanos(1));
        self.0.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        let early = deadline.map(|at| at.saturating_since(Instant::from_start(SECOND)));
        let early = early.map(Instant::from_start);
        let is_next = early.is_some_and(|at| at > self.0.now());
        self.1.set(if is_next { early } else { deadline });
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.1.poll(cx)
    }
}

#[test]
fn at_the_deadline_the_clock_decides_and_the_step_comes_first() {
    let fake = Fake::default();
    let timer = || Inexact(fake.clock.clone(), fake.clock.timer());
    let mut deadline = ConnectDeadline::new(timer(), Some(10 * SECOND));
    let at = deadline.at().unwrap();
    let never = deadline.within(ConnectPhase::Handshake, "a", pending::<Result<(), Error>>());
    let error = fake.run(never).unwrap_err();
    assert_eq!(timed_out_in(&error), Some(ConnectPhase::Handshake));
    assert!(fake.clock.now() >= at);

    let mut deadline = ConnectDeadline::new(timer(), Some(10 * SECOND));
    let at = deadline.at().unwrap();
    let clock = timer();
    let knows = poll_fn(|_| match clock.now() < at {
        true => Poll::Pending,
        false => Poll::Ready(Ok(())),
    });
    let mut within = pin!(deadline.within(ConnectPhase::Handshake, "a", knows));
    let mut context = Context::from_waker(Waker::noop());
    let nearly = at.saturating_since(fake.clock.now()) - Duration::from_nanos(20);
    fake.clock.advance(nearly);
    let output = loop {
        if let Poll::Ready(output) = within.as_mut().poll(&mut context) {
            break output;
        }
    };
    output.unwrap();
}

#[test]
fn an_answer_that_is_garbage_is_reported_at_once() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"AMQP",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/1.1 101 Switching Protocols\n",
    ] {
        let (error, at) = answered(answer);
        assert!(matches!(error, Error::Handshake(_)), "{error:?}");
        assert_eq!(at, 3);
    }
    let (error, at) = answered(b"HTTP/1.1 101 Switching");
    assert_eq!(timed_out_in(&error), Some(ConnectPhase::Handshake));
    assert_eq!(at, 10);
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn a_server_that_is_silent_about_tls_is_told() {
    let fake = Fake::with_fates(&[("1.1.1.1:443", Fate::Connects(Duration::ZERO))]);
    let tls = crate::transport::tls::ClientTls::new().danger_accept_invalid_certificates();
    let connect = Connect::new(fake.clone(), "wss://1.1.1.1/").tls(tls);
    let error = fake.run(async { connect.await.unwrap_err() });
    assert_eq!(timed_out_in(&error), Some(ConnectPhase::Tls));
    assert!(
        error
            .to_string()
            .ends_with("(phase: TLS handshake with 1.1.1.1:443)")
    );
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn a_proxy_that_is_silent_about_tls_times_out_in_that_phase() {
    let fake = Fake::with_fates(&[("1.1.1.1:443", Fate::Connects(Duration::ZERO))]);
    let connect = Connect::new(fake.clone(), "ws://example.com/")
        .proxy(proxy("https://1.1.1.1"))
        .proxy_tls(crate::transport::tls::ClientTls::new().danger_accept_invalid_certificates());
    let error = fake.run(async { connect.await.unwrap_err() });
    assert_eq!(timed_out_in(&error), Some(ConnectPhase::Tls));
    let text = error.to_string();
    let phase = "(phase: TLS handshake with 1.1.1.1:443)";
    assert!(text.ends_with(phase), "{text}");
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
#[test]
fn without_tls_an_https_proxy_is_refused_and_nothing_is_connected() {
    let fake = Fake::default();
    let connect = Connect::new(fake.clone(), "ws://example.com/").proxy(proxy("https://1.1.1.1"));
    let error = fake.run(async { connect.await.unwrap_err() });
    let text = error.to_string();
    assert!(text.contains("https:// needs TLS to the proxy"), "{text}");
    assert!(
        text.contains("cargo add sansock --features rustls"),
        "{text}"
    );
    assert!(fake.logged().is_empty());
}

#[test]
fn a_zone_is_for_the_resolver_and_the_connection_only() {
    let reached = address("[fe80::1%7]:80");
    let fake = Fake::with_fates(&[("[fe80::1%7]:80", Fate::Connects(Duration::ZERO))]);
    fake.lock().addresses = Some(Ok(vec![reached]));
    let error = fail(&fake, "ws://[fe80::1%25eth0]/");
    assert_eq!(timed_out_in(&error), Some(ConnectPhase::Handshake));
    assert!(error.to_string().ends_with("with [fe80::1]:80)"), "{error}");
    assert_eq!(fake.logged(), ["0 try [fe80::1%7]:80"]);
    assert_eq!(fake.lock().asked, ["fe80::1%eth0"]);

    let fake = Fake::default();
    fake.lock().addresses = Some(Err(io::ErrorKind::NotFound));
    let error = fail(&fake, "ws://[fe80::1%25eth9]/");
    let expected = "could not resolve the host fe80::1%eth9";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_zone_of_a_proxy_is_kept_and_that_of_a_destination_is_not_sent() {
    let fake = Fake::default();
    fake.lock().addresses = Some(Err(io::ErrorKind::NotFound));
    let proxy = proxy("socks5h://[fe80::1%25eth0]");
    assert_eq!(proxy.to_string(), "socks5h://[fe80::1%25eth0]:1080");
    let connect = Connect::new(fake.clone(), "ws://[fe80::2%25eth1]/").proxy(proxy);
    let error = fake.run(async { connect.await.unwrap_err() });
    assert!(error.is_connect());
    assert_eq!(fake.lock().asked, ["fe80::1%eth0"]);
}

fn proxy(url: &str) -> Proxy {
    url.parse().unwrap()
}

fn proxy_error(error: &Error) -> &ProxyError {
    let Error::Proxy(error) = error else {
        panic!("{error:?}");
    };
    error
}

#[test]
fn socks4_is_asked_for_the_addresses_of_ipv4_one_after_the_other() {
    let fake = Fake::with_fates(&[("9.9.9.9:1080", Fate::Connects(Duration::ZERO))]);
    let addresses = ["[::1]:80", "1.1.1.1:80", "[::ffff:2.2.2.2]:80"];
    fake.lock().addresses = Some(Ok(addresses.map(address).to_vec()));
    fake.lock().answer = &[0, 91];
    let connect = Connect::new(fake.clone(), "ws://example.com/").proxy(proxy("socks4://9.9.9.9"));
    let error = fake.run(async { connect.await.unwrap_err() });
    assert_eq!(
        *proxy_error(&error),
        ProxyError::Reply4(Socks4Reply::REJECTED)
    );
    assert_eq!(fake.logged(), ["0 try 9.9.9.9:1080"; 2]);
}

#[test]
fn socks4_is_not_asked_for_ipv6() {
    for (url, scheme) in [
        ("ws://example.com/", "socks4"),
        ("ws://[2001:db8::1]/", "socks4"),
        ("ws://[2001:db8::1]/", "socks4a"),
    ] {
        let fake = Fake::default();
        fake.lock().addresses = Some(Ok(vec![address("[2001:db8::1]:80")]));
        let proxy = proxy(&format!("{scheme}://9.9.9.9"));
        let connect = Connect::new(fake.clone(), url).proxy(proxy);
        let error = fake.run(async { connect.await.unwrap_err() });
        assert_eq!(*proxy_error(&error), ProxyError::Ipv6, "{url} {scheme}");
        assert!(fake.logged().is_empty());
    }
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
#[test]
fn without_tls_the_error_names_the_feature_and_nothing_is_connected() {
    let fake = Fake::default();
    let error = fail(&fake, "wss://1.1.1.1/");
    assert!(error.is_tls());
    let text = error.to_string();
    assert!(
        text.contains("cargo add sansock --features rustls"),
        "{text}"
    );
    assert!(fake.logged().is_empty());
}

#[test]
fn the_time_to_open_is_what_was_set_last_and_may_be_endless() {
    let config = crate::config().open_timeout(3 * SECOND);
    let fake = Fake::default();
    let connect = Connect::new(fake.clone(), "ws://example.com/").config(config.clone());
    let error = fake.run(async { connect.await.unwrap_err() });
    assert!(error.to_string().contains("after 3s"), "{error}");

    let connect = Connect::new(fake.clone(), "ws://example.com/").config(config);
    let error = fake.run(async { connect.open_timeout(SECOND).await.unwrap_err() });
    assert!(error.to_string().contains("after 1s"), "{error}");

    let connect = Connect::new(fake.clone(), "ws://example.com/").open_timeout(None);
    let waits = async { connect.await.is_ok() };
    let passes = async {
        fake.sleep(1_000_000 * SECOND).await;
        true
    };
    assert!(fake.run(waits.or(passes)));
}

#[test]
fn a_host_without_addresses_is_told_from_one_that_refuses() {
    let fake = Fake::with_fates(&[("1.1.1.1:80", Fate::Fails(Duration::ZERO))]);
    fake.lock().addresses = Some(Err(io::ErrorKind::NotFound));
    let error = fail(&fake, "ws://nobody.example/");
    assert_eq!(
        error.to_string(),
        "could not resolve the host nobody.example"
    );
    assert!(std::error::Error::source(&error).is_some());

    fake.lock().addresses = Some(Ok(vec![address("1.1.1.1:80")]));
    let error = fail(&fake, "ws://example.com/");
    assert_eq!(
        error.to_string(),
        "could not connect to example.com:80: 1.1.1.1:80: connection refused"
    );
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(
        io::Error::from(error).kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn only_addresses_of_the_family_of_the_local_one_are_tried() {
    let fake = Fake::with_fates(&[("[::1]:80", Fate::Fails(Duration::ZERO))]);
    fake.lock().addresses = Some(Ok(vec![address("1.1.1.1:80"), address("[::1]:80")]));
    let local: IpAddr = "::1".parse().unwrap();
    let connect = Connect::new(fake.clone(), "ws://example.com/").local_address(local);
    let error = fake.run(async { connect.await.unwrap_err() });
    assert!(error.is_connect());
    assert_eq!(fake.logged(), ["0 try [::1]:80"]);
}
