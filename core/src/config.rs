//! The configuration of connections: limits, times, and what is injected.
//!
//! Every buffer that a peer can make grow has a limit, and every wait has a deadline. The defaults are
//! safe for a server on the open internet. `None` turns a limit or a deadline off.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use core::time::Duration;

use crate::buffer::{BufferPool, NoPool};
use crate::deadline::Deadline;
use crate::entropy::{DefaultEntropy, Entropy};
use crate::error::ProtocolError;
use crate::extension::{self, Extension};
use crate::handshake::{ExtensionList, HeadLimits};

/// In which portions a connection gives out what it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Delivery {
    /// Whole messages, put together from their fragments; text is checked and given as `&str`.
    #[default]
    Messages,
    /// Data frames, one event each, as they were framed by the peer. The text of a fragmented
    /// message is checked across its frames, and may be cut inside a character.
    Frames,
    /// Whatever has arrived of a message, at once, so that a message larger than memory passes
    /// through. The limits of messages and frames do not apply, as nothing is put together.
    Chunks,
}

/// The configuration of one connection, or of many: a clone shares it by reference count.
#[derive(Debug, Clone)]
pub struct Config {
    settings: Arc<Settings>,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) delivery: Delivery,
    pub(crate) max_message_size: u64,
    pub(crate) max_frame_size: u64,
    pub(crate) max_empty_fragments: Option<u32>,
    pub(crate) max_queued_output: usize,
    pub(crate) head_limits: HeadLimits,
    pub(crate) max_refusal_body: usize,
    pub(crate) open_timeout: Option<Duration>,
    pub(crate) close_timeout: Option<Duration>,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) multiplexed: bool,
    pub(crate) min_send_rate: Option<NonZeroU64>,
    pub(crate) min_receive_rate: Option<NonZeroU64>,
    pub(crate) extensions: Vec<Arc<dyn Extension>>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) buffers: Arc<dyn BufferPool>,
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// Returns the default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self {
            settings: Arc::new(Settings {
                delivery: Delivery::Messages,
                max_message_size: 1 << 20,
                max_frame_size: u64::MAX,
                max_empty_fragments: Some(1024),
                max_queued_output: 64 << 10,
                head_limits: HeadLimits::default(),
                max_refusal_body: 4 << 10,
                open_timeout: Some(Duration::from_secs(10)),
                close_timeout: Some(Duration::from_secs(5)),
                ping_interval: Some(Duration::from_secs(20)),
                ping_timeout: Some(Duration::from_secs(20)),
                write_timeout: Some(Duration::from_secs(30)),
                multiplexed: false,
                min_send_rate: NonZeroU64::new(8 << 10),
                min_receive_rate: None,
                extensions: Vec::new(),
                entropy: Arc::new(DefaultEntropy::default()),
                buffers: Arc::new(NoPool),
            }),
        }
    }

    /// Sets in which portions received data is given out. Default: whole messages.
    #[must_use]
    pub fn delivery(self, delivery: Delivery) -> Self {
        self.with(|settings| settings.delivery = delivery)
    }

    /// Sets the largest message to receive, in bytes, compressed or not. Default: 1 MiB.
    ///
    /// A larger one fails the connection with 1009 as soon as a header announces it.
    #[must_use]
    pub fn max_message_size(self, size: impl Into<Option<usize>>) -> Self {
        let limit = limit(size.into());
        self.with(|settings| settings.max_message_size = limit)
    }

    /// Sets the largest data frame to receive, in bytes. Default: `None`, the limit of the message.
    ///
    /// A larger one fails the connection with 1009.
    #[must_use]
    pub fn max_frame_size(self, size: impl Into<Option<usize>>) -> Self {
        let limit = limit(size.into());
        self.with(|settings| settings.max_frame_size = limit)
    }

    /// Sets how many empty fragments may follow one another in a message. Default: 1024.
    ///
    /// One more fails the connection with 1008: they cost work and carry nothing.
    #[must_use]
    pub fn max_empty_fragments(self, limit: impl Into<Option<u32>>) -> Self {
        let limit = limit.into();
        self.with(|settings| settings.max_empty_fragments = limit)
    }

    /// Sets at how many queued bytes a further data frame is refused. Default: 64 KiB.
    ///
    /// The queue may exceed it by one frame. Control frames are not refused; at most one pong waits.
    #[must_use]
    pub fn max_queued_output(self, size: impl Into<Option<usize>>) -> Self {
        let limit = size.into().unwrap_or(usize::MAX);
        self.with(|settings| settings.max_queued_output = limit)
    }

    /// Sets the limits of the request or response of the opening handshake. Default: a first line of
    /// 8 KiB, 16 KiB in all, 100 headers.
    #[must_use]
    pub fn head_limits(self, limits: HeadLimits) -> Self {
        self.with(|settings| settings.head_limits = limits)
    }

    /// Sets how many bytes a client keeps of the body of a response that refuses the handshake.
    /// Default: 4 KiB. The rest is dropped.
    #[must_use]
    pub fn max_refusal_body(self, limit: usize) -> Self {
        self.with(|settings| settings.max_refusal_body = limit)
    }

    /// Sets how long the opening handshake may take, from the making of the connection. Default: 10 s.
    #[must_use]
    pub fn open_timeout(self, after: impl Into<Option<Duration>>) -> Self {
        let after = after.into();
        self.with(|settings| settings.open_timeout = after)
    }

    /// Sets how long the end of the stream may take after a Close frame or a failure. Default: 5 s.
    #[must_use]
    pub fn close_timeout(self, after: impl Into<Option<Duration>>) -> Self {
        let after = after.into();
        self.with(|settings| settings.close_timeout = after)
    }

    /// Sets whether the transport is a stream of a connection that carries others too, as over HTTP/2 and HTTP/3
    /// (RFC 8441 section 5, RFC 9220 section 3). Default: `false`, a separate connection.
    ///
    /// Over TCP, a server ends its stream after the closing handshake and waits for the client to do the same, and a
    /// client waits for the server (RFC 6455 section 7.1.1): a socket that is closed too early resets the connection, and
    /// the peer loses what it has not read. A stream that has ended resets nothing, and some peers never end theirs. So
    /// with `true`, each side ends its stream after the closing handshake or a failure, and is done as soon as that is
    /// written, within the [close timeout](Self::close_timeout).
    #[must_use]
    pub fn multiplexed(self, multiplexed: bool) -> Self {
        self.with(|settings| settings.multiplexed = multiplexed)
    }

    /// Sets how often a ping is sent to see whether the peer is there. Default: every 20 s.
    #[must_use]
    pub fn ping_interval(self, every: impl Into<Option<Duration>>) -> Self {
        let every = every.into();
        self.with(|settings| settings.ping_interval = every)
    }

    /// Sets how long the pong that answers such a ping may take. Default: 20 s.
    ///
    /// It is measured from the time at which the transport took the ping. Whatever requires a living
    /// peer restarts it: bytes that arrive, and bytes taken by a transport that was full before. It does
    /// not run while this side does not read, and restarts when that resumes. Past it the connection
    /// fails with 1011.
    ///
    /// So a peer that is gone is detected within the ping interval and this timeout, 40 s by default,
    /// after it was last heard of. Bytes that may be ahead of the ping add to that, at the
    /// [minimum rate](Self::min_send_rate), at most this timeout once more: 60 s. If the transport is
    /// full, so that the ping cannot leave, the [write timeout](Self::write_timeout) applies.
    #[must_use]
    pub fn ping_timeout(self, after: impl Into<Option<Duration>>) -> Self {
        let after = after.into();
        self.with(|settings| settings.ping_timeout = after)
    }

    /// Sets how long queued output may wait without one byte of progress. Default: 30 s.
    ///
    /// Past it the connection ends at once: the peer does not read.
    #[must_use]
    pub fn write_timeout(self, after: impl Into<Option<Duration>>) -> Self {
        let after = after.into();
        self.with(|settings| settings.write_timeout = after)
    }

    /// Sets the rate, in bytes a second, at which sent bytes are assumed to reach the peer at least. A
    /// ping behind them has that much more time, at most its [timeout](Self::ping_timeout) once more.
    /// Default: 8 KiB. `None` assumes that they arrive at once.
    ///
    /// Without it, a large message on a slow link could delay a ping for longer than its pong may take.
    #[must_use]
    pub fn min_send_rate(self, rate: impl Into<Option<u64>>) -> Self {
        let rate = rate.into().and_then(NonZeroU64::new);
        self.with(|settings| settings.min_send_rate = rate)
    }

    /// Sets the rate, in bytes a second, at which a message that has begun must arrive at least. Default:
    /// `None`, any rate.
    ///
    /// Bytes that arrive are evidence of a living peer, so that a message may take any time. With a
    /// rate, less in any 5 s in which this side was reading fails the connection with 1008. Pauses
    /// between the fragments of a message count as well.
    #[must_use]
    pub fn min_receive_rate(self, rate: impl Into<Option<u64>>) -> Self {
        let rate = rate.into().and_then(NonZeroU64::new);
        self.with(|settings| settings.min_receive_rate = rate)
    }

    /// Adds an extension to be offered by clients and accepted by servers, after those added before.
    #[must_use]
    pub fn extension(self, extension: impl Extension + 'static) -> Self {
        self.with(|settings| settings.extensions.push(Arc::new(extension)))
    }

    /// Turns compression on (permessage-deflate, RFC 7692): a client offers it, a server accepts it.
    /// Default: off.
    ///
    /// [`Deflate::new`](crate::deflate::Deflate::new) has good defaults. Do not compress a secret
    /// together with what an attacker can choose: the length tells.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(self, deflate: crate::deflate::Deflate) -> Self {
        self.extension(deflate)
    }

    /// Answers the extensions that a client offers, as [`ServerConnection`](crate::ServerConnection)
    /// does: for a server whose HTTP is done elsewhere, to be given to
    /// [`ServerOptions::accept_with_extensions`](crate::handshake::ServerOptions::accept_with_extensions).
    #[must_use]
    pub fn answer_extensions(&self, offers: &ExtensionList) -> ExtensionList {
        extension::answer(offers, &self.settings.extensions)
    }

    /// Sets where seeds for masking keys come from. Default: the operating system, with the feature
    /// `getrandom`. Without it there is none, and a client cannot be made without this.
    #[must_use]
    pub fn entropy(self, entropy: impl Entropy + 'static) -> Self {
        self.with(|settings| settings.entropy = Arc::new(entropy))
    }

    /// Sets where buffers are leased from. Default: [`NoPool`].
    #[must_use]
    pub fn buffers(self, pool: impl BufferPool + 'static) -> Self {
        self.with(|settings| settings.buffers = Arc::new(pool))
    }

    /// Returns the offers of a client, in the order of the extensions.
    pub(crate) fn extension_offers(&self) -> ExtensionList {
        let extensions = self.settings.extensions.iter();
        extensions
            .flat_map(|extension| extension.offers())
            .collect()
    }

    /// Returns how long a deadline leaves, `None` where there is none.
    #[must_use]
    pub fn time_for(&self, deadline: Deadline) -> Option<Duration> {
        let settings = &*self.settings;
        match deadline {
            Deadline::Open => settings.open_timeout,
            Deadline::Close => settings.close_timeout,
            Deadline::Ping => settings.ping_interval,
            Deadline::Pong => settings.ping_timeout,
            Deadline::Receive => settings.min_receive_rate.map(|_| Deadline::RECEIVE_PERIOD),
            Deadline::Write => settings.write_timeout,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl Settings {
    /// The most that the payload of a data frame may hold, when `before` bytes of its message came.
    #[inline]
    pub(crate) fn frame_limit(&self, delivery: Delivery, before: u64) -> u64 {
        match delivery {
            Delivery::Messages | Delivery::Frames => {
                let left = self.max_message_size.saturating_sub(before);
                left.min(self.max_frame_size)
            }
            Delivery::Chunks => u64::MAX,
        }
    }

    /// The most that a message may have, or be decoded to.
    pub(crate) fn message_limit(&self, delivery: Delivery) -> usize {
        match delivery {
            Delivery::Messages | Delivery::Frames => {
                usize::try_from(self.max_message_size).unwrap_or(usize::MAX)
            }
            Delivery::Chunks => usize::MAX,
        }
    }

    /// Says by how much a payload is over the [limit](Self::frame_limit).
    #[cold]
    pub(crate) fn too_big(&self, payload: u64, before: u64) -> ProtocolError {
        let (length, limit) = match payload > self.max_frame_size {
            true => (payload, self.max_frame_size),
            false => (before.saturating_add(payload), self.max_message_size),
        };
        let length = Some(length);
        ProtocolError::TooBig { length, limit }
    }
}

/// A limit as a number; none is as good as the largest.
fn limit(limit: Option<usize>) -> u64 {
    limit.map_or(u64::MAX, |limit| limit as u64)
}
