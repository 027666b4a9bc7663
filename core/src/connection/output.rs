//! What waits to be sent: bytes in order, large payloads by reference, and the end of the stream.
//!
//! Small frames are copied one behind the other into one leased buffer. A large payload that needs no
//! masking is queued by reference count, between two stretches of the buffer, so that it leaves in one
//! vectored write with its header.
//!
//! Pongs are bounded, as only the last of several pings needs one (RFC 6455 section 5.5.3). While the
//! transport takes what it is offered, a few pings that arrive together are all answered. If their pongs would
//! take more than that, the latest replaces them. Bytes that were offered never change: until a pong that was
//! offered is taken, the latest waits beside the queue. The queue is empty only if nothing is pending.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;

use bytes::{Buf, Bytes};

use crate::buffer::{Buffer, BufferPool};
use crate::frame::HeaderEncoder;

/// Payloads from this length on are sent by reference.
const BY_REFERENCE: usize = 4096;

/// Prepared frames from this length on are sent by reference where nothing else waits.
const ALONE_BY_REFERENCE: usize = 512;

/// Bytes of pongs that a server queues together: at least its longest.
const PONGS: u8 = 128;

/// As [`PONGS`], of a client, whose frames have masking keys.
const MASKED_PONGS: u8 = 160;

/// A payload by reference.
#[derive(Debug)]
struct SharedPayload {
    /// Bytes of the buffer that go before it, counted from the payload before.
    after: usize,
    payload: Bytes,
}

/// Whether the write side has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamEnd {
    NotYet,
    Queued,
    Taken,
    Written,
}

#[derive(Debug)]
pub(super) struct Output {
    pub(super) buffer: Buffer,
    /// Absent while there are none.
    #[expect(clippy::box_collection, reason = "an idle connection has none")]
    shared: Option<Box<VecDeque<SharedPayload>>>,
    /// Bytes of the buffer that go before the last payload by reference.
    ahead: usize,
    /// Bytes of the payloads by reference.
    referred: usize,
    /// Bytes handed over since the start.
    taken: u64,
    end: StreamEnd,
    /// The frame of a pong that waits for an earlier one to be taken.
    pong: Option<Box<[u8]>>,
    /// Where in the stream the pong ends that was queued last.
    pong_ends: u64,
    /// The bytes of that pong, and of those right before it.
    pongs: u8,
    /// Whether a transport may have seen what is queued up to the end of that pong.
    pong_offered: bool,
    /// Where in the stream our Close frame ends; 0 if there is none.
    close_ends: u64,
    /// Whether what was queued has been dropped.
    discarded: bool,
    /// Whether payloads are copied whatever their size.
    copies: bool,
}

impl Output {
    pub(super) const fn new() -> Self {
        Self {
            buffer: Buffer::EMPTY,
            shared: None,
            ahead: 0,
            referred: 0,
            taken: 0,
            end: StreamEnd::NotYet,
            pong: None,
            pong_ends: 0,
            pongs: 0,
            pong_offered: true,
            close_ends: 0,
            discarded: false,
            copies: false,
        }
    }

    /// Copies payloads from now on, for a transport that writes one stretch of bytes a call.
    pub(super) const fn disable_vectored_writes(&mut self) {
        self.copies = true;
    }

    /// Bytes in the queue. A pong beside it is not counted.
    #[inline]
    pub(super) const fn queued(&self) -> usize {
        self.buffer.len().wrapping_add(self.referred)
    }

    /// Whether no byte is pending. A pong waits beside the queue only while another is in it.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        // One comparison.
        self.buffer.len() | self.referred == 0
    }

    /// Whether a byte waits, or the end of the stream that was not told.
    #[inline]
    pub(super) const fn has_any(&self) -> bool {
        !self.is_empty() || matches!(self.end, StreamEnd::Queued)
    }

    /// Bytes handed over since the start.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Where in the stream the next byte will stand that is queued.
    pub(super) const fn position(&self) -> u64 {
        self.taken.saturating_add(self.queued() as u64)
    }

    /// Queues bytes as they are.
    pub(super) fn push(&mut self, bytes: &[u8], pool: &Arc<dyn BufferPool>) {
        self.buffer.extend_from_slice(bytes, pool);
    }

    /// Queues a frame.
    #[inline]
    pub(super) fn push_frame(
        &mut self,
        header: HeaderEncoder,
        payload: &[u8],
        pool: &Arc<dyn BufferPool>,
    ) {
        let slot = self.buffer.extend(header.frame_size(), pool);
        header.write_frame(payload, slot);
    }

    /// Queues a frame that is not masked, its payload by reference if it is large.
    #[inline]
    pub(super) fn push_shared_frame(
        &mut self,
        header: HeaderEncoder,
        payload: Bytes,
        pool: &Arc<dyn BufferPool>,
    ) {
        if payload.len() < BY_REFERENCE || self.copies {
            self.push_frame(header, &payload, pool);
            return;
        }
        header.write(self.buffer.extend(header.size(), pool));
        self.push_shared(payload);
    }

    /// Queues a frame that was made before: by reference if it is large, or not small and alone.
    pub(super) fn push_prepared(&mut self, frame: &Bytes, pool: &Arc<dyn BufferPool>) {
        let least = if self.is_empty() {
            ALONE_BY_REFERENCE
        } else {
            BY_REFERENCE
        };
        if frame.len() < least || self.copies {
            self.push(frame, pool);
        } else {
            self.push_shared(frame.clone());
        }
    }

    /// Queues bytes by reference.
    fn push_shared(&mut self, bytes: Bytes) {
        let before = core::mem::replace(&mut self.ahead, self.buffer.len());
        self.referred = self.referred.saturating_add(bytes.len());
        self.shared
            .get_or_insert_default()
            .push_back(SharedPayload {
                after: self.ahead.saturating_sub(before),
                payload: bytes,
            });
    }

    /// Queues a pong, in place of those before it if they are too many. While one that was offered is not
    /// taken, it waits beside the queue.
    pub(super) fn push_pong(
        &mut self,
        header: HeaderEncoder,
        payload: &[u8],
        pool: &Arc<dyn BufferPool>,
    ) {
        let size = u8::try_from(header.frame_size()).unwrap_or(u8::MAX);
        if self.taken >= self.pong_ends {
            self.pongs = 0;
        } else if self.pong_offered || self.position() != self.pong_ends {
            self.keep_pong(header, payload);
            return;
        }
        let most = if header.is_masked() {
            MASKED_PONGS
        } else {
            PONGS
        };
        let mut pongs = self.pongs.saturating_add(size);
        if pongs > most {
            self.buffer.retract(usize::from(self.pongs));
            pongs = size;
        }
        self.push_frame(header, payload, pool);
        self.pong_queued(pongs, false);
    }

    /// Keeps a pong beside the queue, in place of the one that is there.
    fn keep_pong(&mut self, header: HeaderEncoder, payload: &[u8]) {
        let size = header.frame_size();
        let frame = match &mut self.pong {
            Some(frame) if frame.len() == size => frame,
            pong => pong.insert(vec![0; size].into_boxed_slice()),
        };
        header.write_frame(payload, frame);
    }

    /// Registers pongs at the tail of the queue.
    const fn pong_queued(&mut self, pongs: u8, offered: bool) {
        self.pong_ends = self.position();
        self.pongs = pongs;
        self.pong_offered = offered;
    }

    /// Moves the pong beside the queue into it. The transport may look at it at once.
    #[inline(never)]
    pub(super) fn settle_pong(&mut self, pool: &Arc<dyn BufferPool>) {
        if let Some(frame) = self.pong.take() {
            self.push(&frame, pool);
            self.pong_queued(0, true);
        }
    }

    /// Registers the frame that was queued last as our Close frame.
    pub(super) const fn close_queued(&mut self) {
        self.close_ends = self.position();
    }

    /// Whether our Close frame has been taken, if there is one.
    pub(super) const fn is_close_taken(&self) -> bool {
        self.taken >= self.close_ends
    }

    /// Whether our Close frame waits to be taken.
    pub(super) const fn is_close_pending(&self) -> bool {
        !self.is_close_taken() && !self.discarded
    }

    /// Queues the end of the stream, once. What waits goes before it.
    pub(super) fn push_end(&mut self, pool: &Arc<dyn BufferPool>) {
        self.settle_pong(pool);
        if self.end == StreamEnd::NotYet {
            self.end = StreamEnd::Queued;
        }
    }

    /// Whether the end of the stream was queued, taken or not.
    pub(super) fn is_ended(&self) -> bool {
        self.end != StreamEnd::NotYet
    }

    /// Whether the end of the stream was queued, and has not been written.
    pub(super) const fn is_end_pending(&self) -> bool {
        matches!(self.end, StreamEnd::Queued | StreamEnd::Taken) && !self.discarded
    }

    /// The end of the stream was written, if it was taken.
    pub(super) fn end_written(&mut self) {
        if self.end == StreamEnd::Taken {
            self.end = StreamEnd::Written;
        }
    }

    /// Offers what can be sent now.
    #[inline]
    pub(super) fn offer<'a>(&'a mut self, pool: &'a Arc<dyn BufferPool>) -> DataToSend<'a> {
        self.pong_offered = true;
        DataToSend { output: self, pool }
    }

    /// Gives the buffer back where it is drained.
    #[inline(never)]
    pub(super) fn release(&mut self, pool: &Arc<dyn BufferPool>) {
        self.buffer.release(pool);
        if self.referred == 0 {
            self.shared = None;
        }
    }

    /// Drops what is queued, and the end of the stream: the transport takes nothing any more.
    pub(super) fn fail(&mut self, pool: &Arc<dyn BufferPool>) {
        self.discard(pool);
        self.end = StreamEnd::Taken;
    }

    /// Whether the transport takes nothing any more.
    pub(super) const fn is_discarded(&self) -> bool {
        self.discarded
    }

    /// Drops what is queued.
    pub(super) fn discard(&mut self, pool: &Arc<dyn BufferPool>) {
        self.buffer.clear();
        self.shared = None;
        self.ahead = 0;
        self.referred = 0;
        self.pong = None;
        self.pong_ends = 0;
        self.discarded = true;
        self.release(pool);
    }

    /// The first stretch of what is queued.
    #[inline]
    fn front(&self) -> &[u8] {
        if self.referred == 0 {
            return self.buffer.filled();
        }
        match self.shared.as_ref().and_then(|shared| shared.front()) {
            None => self.buffer.filled(),
            Some(SharedPayload { after: 0, payload }) => payload,
            Some(SharedPayload { after, .. }) => {
                self.buffer.filled().get(..*after).unwrap_or_default()
            }
        }
    }

    /// Takes bytes. A pong that had to wait for them follows; a block in which nothing is left goes back.
    #[inline]
    fn advance(&mut self, count: usize, pool: &Arc<dyn BufferPool>) {
        if self.referred > 0 || count < self.buffer.len() {
            self.advance_partly(count, pool);
            return;
        }
        self.taken = self.taken.wrapping_add(self.buffer.len() as u64);
        self.buffer.clear();
        if self.pong.is_some() {
            self.settle_pong(pool);
        } else if self.buffer.is_leased() {
            self.release(pool);
        }
    }

    #[inline(never)]
    fn advance_partly(&mut self, count: usize, pool: &Arc<dyn BufferPool>) {
        let count = count.min(self.queued());
        self.taken = self.taken.saturating_add(count as u64);
        let left = self.advance_shared(count);
        self.buffer.consume(left);
        if self.pong.is_some() && self.taken >= self.pong_ends {
            self.settle_pong(pool);
        } else if self.is_empty() && self.buffer.is_leased() {
            self.release(pool);
        }
    }

    /// Advances over payloads by reference; returns what is left to take from behind them.
    fn advance_shared(&mut self, mut count: usize) -> usize {
        let Some(shared) = &mut self.shared else {
            return count;
        };
        while let Some(front) = shared.front_mut() {
            let before = count.min(front.after);
            self.buffer.consume(before);
            self.ahead = self.ahead.saturating_sub(before);
            front.after = front.after.saturating_sub(before);
            count = count.saturating_sub(before);
            let of_payload = count.min(front.payload.len());
            front.payload.advance(of_payload);
            self.referred = self.referred.saturating_sub(of_payload);
            count = count.saturating_sub(of_payload);
            if front.after > 0 || !front.payload.is_empty() {
                return 0;
            }
            shared.pop_front();
        }
        count
    }
}

/// What a connection wants to send now: a [`Buf`] over the bytes in order.
///
/// Write as much as the transport takes and [`advance`](Buf::advance) by it; what is left stays
/// queued. When nothing remains, ask [`take_end`](Self::take_end).
#[derive(Debug)]
pub struct DataToSend<'a> {
    output: &'a mut Output,
    pool: &'a Arc<dyn BufferPool>,
}

impl DataToSend<'_> {
    /// Whether no byte waits.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.output.is_empty()
    }

    /// Whether what waits is one stretch of bytes, which [`chunk`](Buf::chunk) returns.
    #[must_use]
    #[inline]
    pub const fn is_contiguous(&self) -> bool {
        self.output.referred == 0
    }

    /// Returns the stretches of bytes, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut buffered = self.output.buffer.filled();
        let shared = self.output.shared.iter().flat_map(|shared| shared.iter());
        let shared = shared.flat_map(move |shared| {
            let (before, rest) = buffered.split_at_checked(shared.after).unwrap_or_default();
            buffered = rest;
            [before, &shared.payload[..]]
        });
        let filled = self.output.buffer.filled();
        let tail = filled.get(self.output.ahead..).unwrap_or_default();
        shared
            .chain(core::iter::once(tail))
            .filter(|slice| !slice.is_empty())
    }

    /// Returns whether the write side of the transport must be closed now: `true` once, when every
    /// byte before the end of the stream was taken.
    ///
    /// Over TCP this is a half-close; what the peer still sends can be received. Call
    /// [`Io::end_written`](crate::Io::end_written) once the transport has done it.
    #[inline]
    pub fn take_end(&mut self) -> bool {
        let ends = self.output.is_empty() && self.output.end == StreamEnd::Queued;
        if ends {
            self.output.end = StreamEnd::Taken;
        }
        ends
    }
}

impl Buf for DataToSend<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        self.output.queued()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.output.front()
    }

    /// Marks bytes as sent; more than there are counts as all. A pong that had to wait for them follows: what
    /// [remains](Self::remaining) may grow. A block of the pool goes back once nothing is left in it.
    #[inline]
    fn advance(&mut self, count: usize) {
        self.output.advance(count, self.pool);
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, slots: &mut [std::io::IoSlice<'a>]) -> usize {
        let mut filled = 0_usize;
        for (slot, slice) in slots.iter_mut().zip(self.slices()) {
            *slot = std::io::IoSlice::new(slice);
            filled = filled.saturating_add(1);
        }
        filled
    }
}
