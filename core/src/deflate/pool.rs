//! Compressors and decompressors at work, and where connections borrow them.
//!
//! A connection holds a [`Codec`] while it is busy and gives it back when it is idle: between two
//! messages, the history alone is enough to go on. A codec given back is dirty; who takes it starts it.

use alloc::boxed::Box;
use core::fmt;
#[cfg(feature = "std")]
use core::sync::atomic::{AtomicUsize, Ordering};

use super::deflater::{Deflater, DeflaterKind};
use super::inflate::Inflater;
use crate::buffer::NoPool;

/// What a [`Codec`] does, and with which parameters; codecs of one kind can stand in for one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodecKind(Parameters);

impl CodecKind {
    pub(super) const INFLATER: Self = Self(Parameters::Inflater);

    pub(super) const fn of_deflater(kind: DeflaterKind) -> Self {
        Self(Parameters::Deflater(kind))
    }

    /// Returns a number that no other kind has.
    pub(super) fn number(self) -> u64 {
        match self.0 {
            Parameters::Inflater => 0,
            Parameters::Deflater(kind) => kind.number(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Parameters {
    Deflater(DeflaterKind),
    Inflater,
}

/// A compressor or decompressor that connections borrow while they are busy.
///
/// With the default settings a compressor takes 165 to 325 KiB, a decompressor 24 to 56 KiB, by window.
pub struct Codec(Inner);

enum Inner {
    Deflater(Box<Deflater>),
    Inflater(Box<Inflater>),
}

impl Codec {
    /// Returns the kind, by which a [`CodecPool`] finds the codec again.
    #[must_use]
    pub fn kind(&self) -> CodecKind {
        match &self.0 {
            Inner::Deflater(deflater) => CodecKind::of_deflater(deflater.kind()),
            Inner::Inflater(_) => CodecKind::INFLATER,
        }
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Codec").field(&self.kind()).finish()
    }
}

/// Where connections borrow compressors and decompressors.
///
/// A pool keeps codecs that are not in use for the next connection that asks for the same kind. It
/// may forget any of them, and give none: then one is allocated.
pub trait CodecPool: fmt::Debug + Send + Sync {
    /// Hands out a codec of this kind, if there is one.
    fn take(&self, kind: CodecKind) -> Option<Codec>;

    /// Takes a codec back.
    fn give(&self, codec: Codec);

    /// Whether so few are lent that a connection may keep its own from one message to the next, for a while.
    /// One that may not gives it back after each message, and goes on from its history.
    fn has_spare(&self) -> bool {
        true
    }
}

/// Keeps nothing: every codec is allocated when it is needed and freed when it is not.
impl CodecPool for NoPool {
    fn take(&self, _: CodecKind) -> Option<Codec> {
        None
    }

    fn give(&self, _: Codec) {}
}

/// Keeps up to a number of codecs of each kind, and lets as many connections keep theirs between messages.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct BoundedPool {
    codecs: std::sync::Mutex<alloc::vec::Vec<Codec>>,
    limit: usize,
    /// Codecs that connections have.
    lent: AtomicUsize,
}

#[cfg(feature = "std")]
impl BoundedPool {
    /// Returns a pool that keeps at most `limit` idle codecs of each kind. While about as many connections are
    /// busy, each keeps a compressor and a decompressor between messages; what goes beyond is lent for one
    /// message only.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            codecs: std::sync::Mutex::new(alloc::vec::Vec::new()),
            limit,
            lent: AtomicUsize::new(0),
        }
    }

    fn codecs(&self) -> std::sync::MutexGuard<'_, alloc::vec::Vec<Codec>> {
        self.codecs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(feature = "std")]
impl CodecPool for BoundedPool {
    fn take(&self, kind: CodecKind) -> Option<Codec> {
        // Who is given none makes one.
        self.lent.fetch_add(1, Ordering::Relaxed);
        let mut codecs = self.codecs();
        let index = codecs.iter().rposition(|codec| codec.kind() == kind)?;
        Some(codecs.swap_remove(index))
    }

    fn give(&self, codec: Codec) {
        let fewer = |lent: usize| lent.checked_sub(1);
        let _ = self
            .lent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        let mut codecs = self.codecs();
        let same = codecs.iter().filter(|other| other.kind() == codec.kind());
        if same.count() < self.limit {
            codecs.push(codec);
        }
    }

    fn has_spare(&self) -> bool {
        self.lent.load(Ordering::Relaxed) <= self.limit.saturating_mul(2)
    }
}

/// Takes a decompressor from the pool, or makes one.
pub(super) fn take_inflater(pool: &dyn CodecPool) -> Box<Inflater> {
    match pool.take(CodecKind::INFLATER) {
        Some(Codec(Inner::Inflater(inflater))) => inflater,
        Some(Codec(Inner::Deflater(_))) | None => Box::new(Inflater::new()),
    }
}

pub(super) fn give_inflater(pool: &dyn CodecPool, inflater: Box<Inflater>) {
    pool.give(Codec(Inner::Inflater(inflater)));
}

/// Takes a compressor from the pool, or makes one.
pub(super) fn take_deflater(pool: &dyn CodecPool, kind: DeflaterKind) -> Box<Deflater> {
    match pool.take(CodecKind(Parameters::Deflater(kind))) {
        Some(Codec(Inner::Deflater(deflater))) if deflater.kind() == kind => deflater,
        Some(_) | None => Box::new(Deflater::new(kind)),
    }
}

pub(super) fn give_deflater(pool: &dyn CodecPool, deflater: Box<Deflater>) {
    pool.give(Codec(Inner::Deflater(deflater)));
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    fn kind(window_bits: u8, level: u8, mem_level: u8) -> DeflaterKind {
        DeflaterKind::new(window_bits, level, mem_level)
    }

    fn codec(kind: DeflaterKind) -> Codec {
        Codec(Inner::Deflater(Box::new(Deflater::new(kind))))
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_limit_of_each_kind() {
        let pool = BoundedPool::new(2);
        let (small, large) = (kind(9, 4, 1), kind(10, 4, 1));
        for _ in 0..3 {
            pool.give(codec(small));
            pool.give(codec(large));
        }
        for kind in [small, large].map(CodecKind::of_deflater) {
            assert!(pool.take(kind).is_some());
            assert!(pool.take(kind).is_some());
            assert!(pool.take(kind).is_none());
        }
    }

    #[test]
    fn codecs_abound_until_twice_the_limit_is_lent() {
        let pool = BoundedPool::new(1);
        let kind = kind(9, 4, 1);
        let lent = [(); 3].map(|()| {
            assert!(pool.has_spare());
            take_deflater(&pool, kind)
        });
        assert!(!pool.has_spare());
        for deflater in lent {
            give_deflater(&pool, deflater);
            assert!(pool.has_spare());
        }
    }

    #[test]
    fn kinds_are_not_mixed_up() {
        let pool = BoundedPool::new(10);
        pool.give(codec(kind(9, 4, 1)));
        for other in [kind(10, 4, 1), kind(9, 5, 1), kind(9, 4, 2)] {
            assert!(pool.take(CodecKind::of_deflater(other)).is_none());
            assert!(take_deflater(&pool, other).kind() == other);
        }
        assert!(pool.take(CodecKind::INFLATER).is_none());
        give_inflater(&pool, Box::new(Inflater::new()));
        let codec = pool.take(CodecKind::INFLATER).unwrap();
        assert_eq!(codec.kind(), CodecKind::INFLATER);
    }

    /// A pool that hands out whatever it has.
    #[derive(Debug)]
    struct Careless;

    impl CodecPool for Careless {
        fn take(&self, _: CodecKind) -> Option<Codec> {
            Some(codec(kind(9, 1, 1)))
        }

        fn give(&self, _: Codec) {}
    }

    #[test]
    fn a_codec_of_the_wrong_kind_is_not_used() {
        let wanted = kind(12, 4, 8);
        assert!(take_deflater(&Careless, wanted).kind() == wanted);
        take_inflater(&Careless);
    }
}
