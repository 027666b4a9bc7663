//! A transport in memory whose other end is moved by hand, and the frames that go over it.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use locks::sync::{Mutex, MutexGuard};

/// What both ends share. As a socket does, it keeps one waker a direction.
#[derive(Default)]
struct Shared {
    to_read: Vec<u8>,
    ended: bool,
    reader: Option<Waker>,
    written: Vec<u8>,
    /// How many bytes more it takes.
    room: usize,
    writer: Option<Waker>,
    /// The peer, while it waits for what is written.
    peer: Option<Waker>,
}

/// The transport.
pub struct Line(Arc<Mutex<Shared>>);

/// Its other end.
#[derive(Clone)]
pub struct Peer(Arc<Mutex<Shared>>);

/// Returns a transport that takes so many bytes until its peer makes room.
pub fn line(room: usize) -> (Line, Peer) {
    let shared = Shared {
        room,
        ..Shared::default()
    };
    let shared = Arc::new(Mutex::new(shared));
    (Line(shared.clone()), Peer(shared))
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap()
}

/// Changes what is shared, and then wakes whom that concerns.
fn change(shared: &Mutex<Shared>, change: impl FnOnce(&mut Shared) -> Option<Waker>) {
    let waker = change(&mut lock(shared));
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Peer {
    /// Sends bytes.
    pub fn put(&self, bytes: &[u8]) {
        change(&self.0, |shared| {
            shared.to_read.extend(bytes);
            shared.reader.take()
        });
    }

    /// Sends bytes, and ends the stream.
    pub fn put_last(&self, bytes: &[u8]) {
        change(&self.0, |shared| {
            shared.to_read.extend(bytes);
            shared.ended = true;
            shared.reader.take()
        });
    }

    /// Makes room for so many bytes more.
    pub fn make_room(&self, room: usize) {
        change(&self.0, |shared| {
            shared.room += room;
            shared.writer.take()
        });
    }

    /// Returns everything that was written.
    pub fn written(&self) -> Vec<u8> {
        lock(&self.0).written.clone()
    }

    /// Waits until this many bytes were written, and returns them.
    pub async fn wait_for(&self, size: usize) -> Vec<u8> {
        poll_fn(|cx| {
            let mut shared = lock(&self.0);
            if shared.written.len() >= size {
                return Poll::Ready(shared.written.clone());
            }
            shared.peer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Forgets what was written, and takes this many bytes from now on.
    pub fn start_over(&self, room: usize) {
        let mut shared = lock(&self.0);
        shared.written.clear();
        shared.room = room;
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.0);
        if shared.to_read.is_empty() && !shared.ended {
            shared.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let size = buf.len().min(shared.to_read.len());
        for (slot, byte) in buf.iter_mut().zip(shared.to_read.drain(..size)) {
            *slot = byte;
        }
        Poll::Ready(Ok(size))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.0);
        let size = buf.len().min(shared.room);
        if size == 0 {
            shared.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        shared.room -= size;
        shared.written.extend(&buf[..size]);
        let peer = shared.peer.take();
        drop(shared);
        if let Some(peer) = peer {
            peer.wake();
        }
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A small frame of a client, with a masking key of zeros.
pub fn from_client(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[first, length, 0, 0, 0, 0], payload].concat()
}

/// A small frame of a server.
pub fn to_client(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, u8::try_from(payload.len()).unwrap()], payload].concat()
}
