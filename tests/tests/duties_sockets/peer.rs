//! A peer in blocking code, with the frames of [`sansock_tests::driver`], and what floods.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sansock::core::Side;
use sansock_tests::driver::{Frame, close_frame, frame};
use socket2::SockRef;

/// After this time the peer has waited in vain.
const IN_VAIN: Duration = Duration::from_secs(10);

/// Runs what blocks on another thread.
pub(crate) async fn elsewhere<R: Send + 'static>(script: impl FnOnce() -> R + Send + 'static) -> R {
    blocking::unblock(script).await
}

/// The other end of a WebSocket, for a script that blocks.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    side: Side,
}

impl Peer {
    /// Returns a peer over a socket on which the handshake is left out.
    pub(crate) fn new(stream: TcpStream, side: Side) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(IN_VAIN)).unwrap();
        stream.set_write_timeout(Some(IN_VAIN)).unwrap();
        Self { stream, side }
    }

    /// Opens a connection as a client.
    pub(crate) fn connect(address: SocketAddr, path: &str) -> Self {
        let mut peer = Self::new(TcpStream::connect(address).unwrap(), Side::Client);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        peer.send_bytes(request.as_bytes());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(peer.read::<1>().expect("a response")[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        peer
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&frame(self.side, first, payload));
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.send(0x81, text.as_bytes());
    }

    pub(crate) fn send_ping(&mut self, payload: &str) {
        self.send(0x89, payload.as_bytes());
    }

    pub(crate) fn send_close(&mut self, code: u16, reason: &str) {
        self.send_bytes(&close_frame(self.side, code, reason));
    }

    /// Returns the next frame, `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let [first, second] = self.read()?;
        let size = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.read()?)),
            127 => u64::from_be_bytes(self.read()?),
            size => u64::from(size),
        };
        let key = match second & 0x80 {
            0 => [0; 4],
            _ => self.read()?,
        };
        let mut payload = vec![0; usize::try_from(size).unwrap()];
        self.fill(&mut payload)?;
        let key = key.iter().cycle();
        payload
            .iter_mut()
            .zip(key)
            .for_each(|(byte, key)| *byte ^= key);
        Some(Frame { first, payload })
    }

    /// Returns the next frame with this first byte; others are passed over.
    pub(crate) fn next_of(&mut self, first: u8) -> Frame {
        loop {
            let frame = self.next().expect("a frame before the end of the stream");
            if frame.first == first {
                return frame;
            }
        }
    }

    /// Waits for the pong of a ping, passing over what comes before it.
    pub(crate) fn expect_pong(&mut self, payload: &str) {
        assert_eq!(self.next_of(0x8a).payload, payload.as_bytes());
    }

    /// Waits for a Close frame, passing over what comes before it. Returns its code.
    pub(crate) fn expect_close(&mut self) -> u16 {
        let frame = self.next_of(0x88);
        let code = frame.payload.first_chunk().expect("a code");
        u16::from_be_bytes(*code)
    }

    /// Whether nothing arrives within a time.
    pub(crate) fn hears_nothing_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(IN_VAIN)).unwrap();
        peeked.is_err_and(|error| is_blocked(&error))
    }

    /// Reads to the end of the stream.
    pub(crate) fn drain(&mut self) -> u64 {
        io::copy(&mut self.stream, &mut io::sink()).unwrap_or(0)
    }

    /// Answers every ping, and the Close frame, until the end of the stream.
    pub(crate) fn behave(mut self) {
        while let Some(frame) = self.next() {
            match frame.first {
                0x89 => self.send(0x8a, &frame.payload),
                0x88 => self.send(0x88, &frame.payload),
                _ => {}
            }
        }
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        let now = Some(Duration::ZERO);
        SockRef::from(&self.stream).set_linger(now).unwrap();
    }

    /// Has the system keep little for this end, so that the other one is blocked soon.
    pub(crate) fn keep_little(&self) {
        SockRef::from(&self.stream)
            .set_recv_buffer_size(4096)
            .unwrap();
    }

    /// Sends these frames again and again from now on.
    pub(crate) fn flood(self, frames: &[(u8, &[u8])], answers: Answers) -> Flood {
        let side = self.side;
        let frames = frames.iter();
        let bytes = frames.flat_map(|(first, payload)| frame(side, *first, payload));
        Flood::start(vec![self.stream], &bytes.collect::<Vec<u8>>(), answers)
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn read<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Some(bytes)
    }

    fn fill(&mut self, buf: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(buf) {
            Ok(()) => Some(()),
            Err(error) if is_blocked(&error) => panic!("nothing came for {IN_VAIN:?}"),
            Err(_) => None,
        }
    }
}

/// What a flood does with the bytes that it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    Read,
    Unread,
}

/// A thread that writes to sockets as much as they take, until it is dropped.
#[derive(Debug)]
pub(crate) struct Flood {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    read: AtomicU64,
}

impl Flood {
    /// The bytes are repeated until the flood ends. They should be many frames: each turn writes them
    /// once at most.
    pub(crate) fn start(streams: Vec<TcpStream>, bytes: &[u8], answers: Answers) -> Self {
        let shared = Arc::new(Shared::default());
        let repeated = bytes.repeat((64 << 10) / bytes.len() + 1);
        let thread = thread::spawn({
            let shared = shared.clone();
            move || flood(streams, &repeated, answers, &shared)
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Returns how many bytes came back.
    pub(crate) fn read(&self) -> u64 {
        self.shared.read.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn flood(streams: Vec<TcpStream>, bytes: &[u8], answers: Answers, shared: &Shared) {
    let mut streams: Vec<_> = streams.into_iter().map(|stream| (stream, 0)).collect();
    for (stream, _) in &streams {
        stream.set_nonblocking(true).unwrap();
    }
    let mut buf = vec![0; 64 << 10];
    while !shared.stopped.load(Ordering::Relaxed) {
        let mut moved = 0;
        streams.retain_mut(|(stream, at)| {
            if answers == Answers::Read {
                match unless_blocked(stream.read(&mut buf)) {
                    Ok(None) => {}
                    Ok(Some(0)) | Err(_) => return false,
                    Ok(Some(read)) => {
                        moved += 1;
                        shared.read.fetch_add(read as u64, Ordering::Relaxed);
                    }
                }
            }
            match unless_blocked(stream.write(&bytes[*at..])) {
                Ok(None) => {}
                Ok(Some(written)) => {
                    moved += 1;
                    *at = (*at + written) % bytes.len();
                }
                Err(_) => return false,
            }
            true
        });
        if moved == 0 {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if is_blocked(&error) => Ok(None),
        result => result.map(Some),
    }
}

fn is_blocked(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
