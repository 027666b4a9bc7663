//! The methods of WebSockets, sockets of servers, and halves, in the same shape.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_lite::Stream;
use futures_sink::Sink;
use sansock::core::{Event, OpCode};
use sansock::serve::Socket;
use sansock::{
    ByteStream, Closed, Compression, Error, Fin, Kind, Message, Prepared, Receiver, Sender,
    WebSocket,
};
use sansock_core::State;

use super::Application;
use crate::simulation::network::Wire;
use crate::simulation::time::{SimulatedTimer, sleep};

pub(super) type Ws = WebSocket<Wire, SimulatedTimer>;
pub(super) type Served = Socket<Wire, SimulatedTimer>;
pub(super) type ReceivingHalf = Receiver<Wire, SimulatedTimer>;
pub(super) type SendingHalf = Sender<Wire, SimulatedTimer>;

type Result<T> = std::result::Result<T, Error>;

/// A message, or a part of one.
pub(super) struct Part {
    /// `None` if it continues a message.
    pub(super) kind: Option<Kind>,
    pub(super) is_last: bool,
    pub(super) payload: Vec<u8>,
}

impl Part {
    fn whole(kind: Kind, payload: &[u8]) -> Self {
        Self {
            kind: Some(kind),
            is_last: true,
            payload: payload.to_vec(),
        }
    }

    fn of(opcode: OpCode, is_last: bool, payload: &[u8]) -> Self {
        let kind = match opcode {
            OpCode::Text => Some(Kind::Text),
            OpCode::Binary => Some(Kind::Binary),
            OpCode::Continuation | OpCode::Close | OpCode::Ping | OpCode::Pong => None,
        };
        Self {
            kind,
            is_last,
            payload: payload.to_vec(),
        }
    }
}

/// An event.
pub(super) enum Observed {
    Part(Part),
    Other,
    End,
}

impl Observed {
    fn of(event: Option<Event<'_>>) -> Self {
        match event {
            Some(Event::Message(message)) => {
                Self::Part(Part::whole(message.kind(), message.as_bytes()))
            }
            Some(Event::Frame(frame)) => {
                Self::Part(Part::of(frame.opcode, frame.fin, &frame.payload))
            }
            Some(Event::Chunk(chunk)) => Self::Part(Part {
                kind: chunk.first.then_some(chunk.kind),
                is_last: chunk.last,
                payload: chunk.payload.to_vec(),
            }),
            Some(_) => Self::Other,
            None => Self::End,
        }
    }
}

/// What can be received from.
pub(super) trait Receives {
    /// Whether there are events.
    const OBSERVES: bool;
    /// Whether the connection is not driven between an operation that lends a part and the next one.
    const LENDS: bool;

    async fn recv(&mut self) -> Result<Option<Message>>;

    async fn next(&mut self) -> Option<Result<Message>>;

    /// Receives a message, and holds it for a while.
    async fn lent(&mut self, app: &Application, time: Duration) -> Result<Option<Part>>;

    async fn frame(&mut self) -> Result<Option<Part>>;

    async fn chunk(&mut self) -> Result<Option<Part>>;

    async fn event(&mut self) -> Observed;

    fn closed(&self) -> Option<Closed>;

    fn close_result(&self) -> Result<()>;
}

/// What can be sent with.
pub(super) trait Sends {
    async fn send(&mut self, message: &Message) -> Result<()>;

    async fn send_with(&mut self, message: &Message, compression: Compression) -> Result<()>;

    async fn send_prepared(&mut self, message: &Prepared) -> Result<()>;

    async fn feed(&mut self, message: &Message) -> Result<()>;

    async fn flush(&mut self) -> Result<()>;

    /// Sends a fragment; `None` if there is no such method.
    async fn feed_frame(&mut self, opcode: OpCode, part: &[u8], fin: Fin) -> Option<Result<()>>;

    /// Sends a message with a writer, in two parts.
    async fn write(&mut self, message: &Message, sent: impl FnOnce()) -> Result<()>;

    /// Sends a message as a sink.
    async fn sink(&mut self, message: &Message, sent: impl FnOnce()) -> Result<()>;

    async fn ping(&mut self) -> Result<()>;

    async fn send_ping(&mut self, payload: &[u8]) -> Result<()>;

    async fn send_pong(&mut self, payload: &[u8]) -> Result<()>;

    async fn send_close(&mut self) -> Result<()>;

    async fn close(&mut self) -> Result<()>;

    async fn fail(&mut self) -> Result<()>;

    /// How the connection has ended, as the sender reports it.
    fn sender_closed(&self) -> Option<Closed>;

    fn sender_result(&self) -> Result<()>;
}

/// What both sends and receives, in one task.
pub(super) trait Duplex:
    Receives + Sends + Stream<Item = Result<Message>> + Sink<Message, Error = Error> + Unpin
{
    /// Whether a server drives the connection while no operation does.
    const IS_SERVED: bool;

    /// Drives the connection meanwhile, unless a server does.
    async fn attend(&mut self, app: &Application, time: Duration);

    /// Whether the transport was dropped.
    fn is_over(&mut self) -> bool;

    fn close_read(&mut self);

    fn halves(self) -> (SendingHalf, ReceivingHalf);

    fn bytes(self) -> ByteStream<Wire, SimulatedTimer>;
}

async fn next<S: Stream<Item = Result<Message>> + Unpin>(
    stream: &mut S,
) -> Option<Result<Message>> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// What is the same for all that receive.
macro_rules! receives {
    ($borrows:expr) => {
        async fn recv(&mut self) -> Result<Option<Message>> {
            Self::recv(self).await
        }

        async fn next(&mut self) -> Option<Result<Message>> {
            next(self).await
        }

        async fn lent(&mut self, app: &Application, time: Duration) -> Result<Option<Part>> {
            let receiving = app.duties.receive();
            let Some(lent) = self.recv_ref().await? else {
                return Ok(None);
            };
            drop(receiving);
            let part = Part::whole(lent.kind(), lent.as_bytes());
            if !time.is_zero() {
                let _borrowed = $borrows.then(|| app.duties.borrow());
                sleep(&app.world, time).await;
            }
            assert!(
                lent.as_bytes() == part.payload,
                "what is borrowed has changed"
            );
            Ok(Some(part))
        }

        async fn frame(&mut self) -> Result<Option<Part>> {
            let frame = self.recv_frame().await?;
            Ok(frame.map(|frame| Part::of(frame.opcode, frame.fin, &frame.payload)))
        }

        async fn chunk(&mut self) -> Result<Option<Part>> {
            let chunk = self.recv_chunk().await?;
            Ok(chunk.map(|chunk| Part {
                kind: chunk.first.then_some(chunk.kind),
                is_last: chunk.last,
                payload: chunk.payload.to_vec(),
            }))
        }
    };
}

impl Receives for Ws {
    receives!(true);

    const OBSERVES: bool = true;
    const LENDS: bool = false;

    async fn event(&mut self) -> Observed {
        Observed::of(self.recv_event().await)
    }

    fn closed(&self) -> Option<Closed> {
        Self::closed(self).cloned()
    }

    fn close_result(&self) -> Result<()> {
        Self::close_result(self)
    }
}

impl Receives for Served {
    receives!(true);

    const OBSERVES: bool = true;
    const LENDS: bool = true;

    async fn event(&mut self) -> Observed {
        Observed::of(self.recv_event().await)
    }

    fn closed(&self) -> Option<Closed> {
        Self::closed(self)
    }

    fn close_result(&self) -> Result<()> {
        Self::close_result(self)
    }
}

impl Receives for ReceivingHalf {
    receives!(false);

    const OBSERVES: bool = false;
    const LENDS: bool = false;

    async fn event(&mut self) -> Observed {
        Observed::End
    }

    fn closed(&self) -> Option<Closed> {
        Self::closed(self)
    }

    fn close_result(&self) -> Result<()> {
        Self::close_result(self)
    }
}

/// What is the same for all that send: the methods of a type, called on `$on`.
macro_rules! sends {
    ($type:ty, $this:ident => $on:expr, $sink:expr) => {
        async fn send(&mut self, message: &Message) -> Result<()> {
            let $this = self;
            <$type>::send($on, message).await
        }

        async fn send_with(&mut self, message: &Message, compression: Compression) -> Result<()> {
            let $this = self;
            <$type>::send_with($on, message, compression).await
        }

        async fn send_prepared(&mut self, message: &Prepared) -> Result<()> {
            let $this = self;
            <$type>::send_prepared($on, message).await
        }

        async fn feed(&mut self, message: &Message) -> Result<()> {
            let $this = self;
            <$type>::feed($on, message).await
        }

        async fn flush(&mut self) -> Result<()> {
            let $this = self;
            <$type>::flush($on).await
        }

        async fn write(&mut self, message: &Message, sent: impl FnOnce()) -> Result<()> {
            let $this = self;
            let (start, rest) = message.as_bytes().split_at(message.len() / 3);
            let mut writer = <$type>::writer($on, message.kind());
            writer.write(start).await?;
            writer.finish(rest).await?;
            sent();
            Ok(())
        }

        async fn sink(&mut self, message: &Message, sent: impl FnOnce()) -> Result<()> {
            let $this = self;
            let sink = $sink;
            poll_fn(|cx| Pin::new(&mut *sink).poll_ready(cx)).await?;
            Pin::new(&mut *sink).start_send(message.clone())?;
            sent();
            poll_fn(|cx| Sink::poll_flush(Pin::new(&mut *sink), cx)).await
        }

        async fn ping(&mut self) -> Result<()> {
            let $this = self;
            <$type>::ping($on).await.map(|_| ())
        }

        async fn send_ping(&mut self, payload: &[u8]) -> Result<()> {
            let $this = self;
            <$type>::send_ping($on, payload).await
        }

        async fn send_pong(&mut self, payload: &[u8]) -> Result<()> {
            let $this = self;
            <$type>::send_pong($on, payload).await
        }

        async fn send_close(&mut self) -> Result<()> {
            let $this = self;
            <$type>::send_close($on, 1000, "bye").await
        }

        async fn close(&mut self) -> Result<()> {
            let $this = self;
            <$type>::close($on, 1000, "bye").await
        }

        async fn fail(&mut self) -> Result<()> {
            let $this = self;
            <$type>::fail($on, 1008, "no").await
        }
    };
}

impl Sends for Ws {
    sends!(Ws, this => this, this);

    async fn feed_frame(&mut self, opcode: OpCode, part: &[u8], fin: Fin) -> Option<Result<()>> {
        Some(Self::feed_frame(self, opcode, part, fin).await)
    }

    fn sender_closed(&self) -> Option<Closed> {
        Self::closed(self).cloned()
    }

    fn sender_result(&self) -> Result<()> {
        Self::close_result(self)
    }
}

impl Sends for Served {
    sends!(Served, this => this, this);

    async fn feed_frame(&mut self, opcode: OpCode, part: &[u8], fin: Fin) -> Option<Result<()>> {
        Some(Self::feed_frame(self, opcode, part, fin).await)
    }

    fn sender_closed(&self) -> Option<Closed> {
        Self::closed(self)
    }

    fn sender_result(&self) -> Result<()> {
        Self::close_result(self)
    }
}

impl Sends for SendingHalf {
    sends!(SendingHalf, this => this, this);

    async fn feed_frame(&mut self, _: OpCode, _: &[u8], _: Fin) -> Option<Result<()>> {
        None
    }

    fn sender_closed(&self) -> Option<Closed> {
        Self::closed(self)
    }

    fn sender_result(&self) -> Result<()> {
        Self::close_result(self)
    }
}

/// One sender that several operations share. As a sink, each takes a clone.
impl Sends for &SendingHalf {
    sends!(SendingHalf, this => this, &mut (*this).clone());

    async fn feed_frame(&mut self, _: OpCode, _: &[u8], _: Fin) -> Option<Result<()>> {
        None
    }

    fn sender_closed(&self) -> Option<Closed> {
        (**self).closed()
    }

    fn sender_result(&self) -> Result<()> {
        (**self).close_result()
    }
}

impl Duplex for Ws {
    const IS_SERVED: bool = false;

    async fn attend(&mut self, app: &Application, time: Duration) {
        let _driven = app.duties.drive();
        Self::attend(self, sleep(&app.world, time)).await;
    }

    fn is_over(&mut self) -> bool {
        self.get_ref().is_none() && self.state() == State::Closed
    }

    fn close_read(&mut self) {
        Self::close_read(self, u64::MAX);
    }

    fn halves(self) -> (SendingHalf, ReceivingHalf) {
        self.split()
    }

    fn bytes(self) -> ByteStream<Wire, SimulatedTimer> {
        self.into_byte_stream()
    }
}

impl Duplex for Served {
    const IS_SERVED: bool = true;

    async fn attend(&mut self, app: &Application, time: Duration) {
        sleep(&app.world, time).await;
    }

    fn is_over(&mut self) -> bool {
        let is_gone = self.with(|socket| socket.get_ref().is_none());
        is_gone == Some(true) && self.state() == State::Closed
    }

    fn close_read(&mut self) {
        Self::close_read(self, u64::MAX);
    }

    fn halves(self) -> (SendingHalf, ReceivingHalf) {
        self.split()
    }

    fn bytes(self) -> ByteStream<Wire, SimulatedTimer> {
        self.into_byte_stream()
    }
}
