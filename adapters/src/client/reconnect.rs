//! A stream of connections: where one ends, the next is made, after a delay that grows while it fails.
//!
//! ```no_run
//! # async fn run() -> sansock::Result<()> {
//! let mut connections = sansock::smol::connect("ws://localhost:9001/").reconnect();
//! while let Some(mut ws) = connections.next().await? {
//!     while let Ok(Some(message)) = ws.recv().await {
//!         println!("{message:?}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The rule: before every attempt but the first a delay is drawn, whoever is at fault. So a server is
//! not hammered, and clients that lost it at the same moment do not come back at the same moment.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::Stream;
use sansock_core::{Entropy, Instant, SystemEntropy};

use crate::driver::Timer;
use crate::error::{Error, Result};

/// What makes connections: any function that returns a future of one.
pub trait Connector {
    /// A connection.
    type Connection;

    /// An attempt to connect.
    type Attempt: Future<Output = Result<Self::Connection>>;

    /// Begins an attempt.
    fn connect(&mut self) -> Self::Attempt;
}

impl<F, A, C> Connector for F
where
    F: FnMut() -> A,
    A: IntoFuture<Output = Result<C>>,
{
    type Connection = C;
    type Attempt = A::IntoFuture;

    fn connect(&mut self) -> Self::Attempt {
        self().into_future()
    }
}

/// What to do about an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Try again, after the delay of the [`Backoff`].
    Backoff,
    /// Try again after exactly this time.
    After(Duration),
    /// Try again once this time has passed and then the delay of the [`Backoff`]. The time is limited by
    /// [`Backoff::max_retry_after`].
    NotBefore(Duration),
    /// Give the error to the caller.
    Never,
}

impl Retry {
    /// Returns what is done about an error by default: [transient](Error::is_transient) ones are retried,
    /// not before the time that the server asks for ([`Error::retry_after`]).
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match (error.is_transient(), error.retry_after()) {
            (true, Some(least)) => Self::NotBefore(least),
            (true, None) => Self::Backoff,
            (false, _) => Self::Never,
        }
    }
}

/// How long to wait between attempts: a random time below a bound, which doubles with every failure.
///
/// The time is drawn from the whole range between nothing and the bound ("full jitter"), so that the
/// attempts of many clients spread.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    max_retry_after: Duration,
    stable_after: Duration,
    max_attempts: Option<u32>,
    entropy: Arc<dyn Entropy>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// Returns the default delays.
    #[must_use]
    pub fn new() -> Self {
        Self {
            initial: Duration::from_secs(2),
            max: Duration::from_secs(90),
            max_retry_after: Duration::from_secs(600),
            stable_after: Duration::from_secs(10),
            max_attempts: None,
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// Sets below which bound the first delay lies. Default: 2 s.
    #[must_use]
    pub fn initial(self, initial: Duration) -> Self {
        Self { initial, ..self }
    }

    /// Sets beyond what the bound does not grow. Default: 90 s.
    #[must_use]
    pub fn max(self, max: Duration) -> Self {
        Self { max, ..self }
    }

    /// Sets how long a server can make the client wait with a `Retry-After` header. Default: 10 minutes.
    ///
    /// A server that asks for more is tried again after this time. The random delay comes after it, so
    /// that clients which were given the same time do not come back at the same moment.
    #[must_use]
    pub fn max_retry_after(self, max_retry_after: Duration) -> Self {
        Self {
            max_retry_after,
            ..self
        }
    }

    /// Sets how long a connection must have stayed open for the bound to start anew. Default: 10 s.
    ///
    /// One that ends earlier counts as a failure: a server that accepts connections only to drop them
    /// is not better off than one that refuses them.
    #[must_use]
    pub fn stable_after(self, stable_after: Duration) -> Self {
        Self {
            stable_after,
            ..self
        }
    }

    /// Sets how many attempts in a row may fail; the error of the last is given to the caller. Default:
    /// `None`, any number. A connection, however short, starts a new row. One is always made.
    #[must_use]
    pub fn max_attempts(self, attempts: impl Into<Option<u32>>) -> Self {
        Self {
            max_attempts: attempts.into(),
            ..self
        }
    }

    /// Sets where the randomness comes from. Default: the operating system.
    #[must_use]
    pub fn entropy(self, entropy: impl Entropy + 'static) -> Self {
        Self {
            entropy: Arc::new(entropy),
            ..self
        }
    }

    /// Returns the bound of the delay after so many failures.
    fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.initial.saturating_mul(factor).min(self.max)
    }

    /// Draws a delay. Without randomness it is the bound itself.
    fn delay(&self, failures: u32) -> Duration {
        let bound = self.bound(failures);
        let Ok([a, b, c, d, ..]) = self.entropy.seed() else {
            return bound;
        };
        let fraction = u32::from_le_bytes([a, b, c, d]);
        let nanos = (bound.as_nanos() * u128::from(fraction)) >> u32::BITS;
        Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
    }
}

/// A stream of connections, made by `F`, with the time of `T`. `P` decides which errors are retried.
///
/// The first attempt begins at once. Each call of [`next`](Self::next) after that means that the last
/// connection has ended, and waits as the [`Backoff`] says before it tries again; so does every attempt
/// that fails. Dropping it ends it.
pub struct Reconnect<F: Connector, T, P = fn(&Error) -> Retry> {
    connector: F,
    timer: T,
    policy: P,
    backoff: Backoff,
    phase: Phase<F::Attempt>,
    /// Failures, and connections that ended early, since one was stable.
    failures: u32,
    /// Attempts that failed since one succeeded.
    attempts: u32,
}

enum Phase<A> {
    /// No attempt was made so far.
    New,
    /// The attempt is under way.
    Connecting(Pin<Box<A>>),
    /// The caller has a connection, since this time.
    Connected { since: Instant },
    /// The next attempt begins at this time, `None` for never.
    Waiting { until: Option<Instant> },
    /// The caller has the last error.
    Over,
}

impl<F: Connector, T: Timer> Reconnect<F, T> {
    /// Returns connections that are made by a function, with the default delays; transient errors are
    /// retried.
    ///
    /// The timer must be a real one: with [`NoTimer`](crate::NoTimer) no delay ever ends.
    #[must_use]
    pub fn new(connector: F, timer: T) -> Self {
        Self {
            connector,
            timer,
            policy: Retry::of,
            backoff: Backoff::new(),
            phase: Phase::New,
            failures: 0,
            attempts: 0,
        }
    }
}

impl<F, T, P> Reconnect<F, T, P>
where
    F: Connector,
    T: Timer,
    P: FnMut(&Error) -> Retry,
{
    /// Sets the delays. Default: [`Backoff::new`].
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Sets which errors are retried. Default: [`Retry::of`]. It sees every error, also to log it.
    ///
    /// ```
    /// use sansock::core::handshake::StatusCode;
    /// use sansock::reconnect::{Reconnect, Retry};
    ///
    /// # fn run<T: sansock::Timer>(connections: Reconnect<impl sansock::reconnect::Connector, T>) {
    /// let connections = connections.policy(|error| match error.response() {
    ///     Some(response) if response.status() == StatusCode::NOT_FOUND => Retry::Backoff,
    ///     _ => Retry::of(error),
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn policy<Q>(self, policy: Q) -> Reconnect<F, T, Q>
    where
        Q: FnMut(&Error) -> Retry,
    {
        Reconnect {
            connector: self.connector,
            timer: self.timer,
            policy,
            backoff: self.backoff,
            phase: self.phase,
            failures: self.failures,
            attempts: self.attempts,
        }
    }

    /// Returns the next connection, once there is one; `None` after an error was returned.
    ///
    /// # Errors
    /// That of an attempt which the policy does not retry, or of the last that is allowed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the attempt, or the delay, goes on at the next call.
    pub async fn next(&mut self) -> Result<Option<F::Connection>> {
        poll_fn(|cx| self.poll_connection(cx)).await
    }

    /// The poll form of [`next`](Self::next).
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<F::Connection>>> {
        loop {
            match &mut self.phase {
                Phase::New => self.begin(),
                Phase::Connected { since } => {
                    let since = *since;
                    self.ended(since);
                }
                Phase::Waiting { until } => {
                    let until = *until;
                    ready!(self.poll_alarm(cx, until));
                    self.begin();
                }
                Phase::Connecting(attempt) => match ready!(attempt.as_mut().poll(cx)) {
                    Ok(connection) => {
                        self.attempts = 0;
                        let since = self.timer.now();
                        self.phase = Phase::Connected { since };
                        return Poll::Ready(Ok(Some(connection)));
                    }
                    Err(error) => self.failed(error)?,
                },
                Phase::Over => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn begin(&mut self) {
        self.phase = Phase::Connecting(Box::pin(self.connector.connect()));
    }

    /// The connection has ended that was given out at this time.
    fn ended(&mut self, since: Instant) {
        let lasted = self.timer.now().saturating_since(since);
        if lasted >= self.backoff.stable_after {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.wait(self.backoff.delay(self.failures));
    }

    fn failed(&mut self, error: Error) -> Result<()> {
        self.phase = Phase::Over;
        self.failures = self.failures.saturating_add(1);
        self.attempts = self.attempts.saturating_add(1);
        let retry = (self.policy)(&error);
        let max_attempts = self.backoff.max_attempts.unwrap_or(u32::MAX);
        if self.attempts >= max_attempts {
            return Err(error);
        }
        match retry {
            Retry::Backoff => self.wait(self.backoff.delay(self.failures)),
            Retry::After(delay) => self.wait(delay),
            Retry::NotBefore(least) => {
                let least = least.min(self.backoff.max_retry_after);
                let delay = self.backoff.delay(self.failures);
                self.wait(least.saturating_add(delay));
            }
            Retry::Never => return Err(error),
        }
        Ok(())
    }

    fn wait(&mut self, delay: Duration) {
        let until = self.timer.now().checked_add(delay);
        self.timer.set(until);
        self.phase = Phase::Waiting { until };
    }

    /// Asks the clock, not the alarm, whether the time has come.
    fn poll_alarm(&mut self, cx: &mut Context<'_>, until: Option<Instant>) -> Poll<()> {
        if self.is_past(until) {
            return Poll::Ready(());
        }
        ready!(self.timer.poll(cx));
        if self.is_past(until) {
            return Poll::Ready(());
        }
        self.timer.set(until);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_past(&self, until: Option<Instant>) -> bool {
        until.is_some_and(|until| until <= self.timer.now())
    }
}

/// The connections, then the error, then `None`.
impl<F, T, P> Stream for Reconnect<F, T, P>
where
    F: Connector + Unpin,
    T: Timer + Unpin,
    P: FnMut(&Error) -> Retry + Unpin,
{
    type Item = Result<F::Connection>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_connection(cx).map(Result::transpose)
    }
}

impl<F: Connector, T, P> fmt::Debug for Reconnect<F, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect")
            .field("backoff", &self.backoff)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}
