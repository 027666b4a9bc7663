//! Paths of several tasks: halves, generic splits, and both ways of a stream of bytes.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use sansock::{ByteStream, Error, Message};
use sansock_core::Instant;

use super::methods::{Duplex, ReceivingHalf, SendingHalf, Sends};
use super::talk::Got;
use super::{Application, Ending};
use crate::simulation::faults::Fault;
use crate::simulation::network::Wire;
use crate::simulation::paths::Path;
use crate::simulation::time::{SimulatedTimer, sleep};

type Bytes = ByteStream<Wire, SimulatedTimer>;

impl Application {
    // Halves.

    /// One task receives, and several send with a clone of the sender each.
    pub(super) async fn halves(self: &Rc<Self>, ws: impl Duplex) -> Ending {
        self.world.walk(Path::Halves);
        if self.role.senders > 1 {
            self.world.walk(Path::ClonedSenders);
        }
        let (sender, receiver) = ws.halves();
        let left = Rc::new(Cell::new(self.role.senders));
        let mut tasks = Vec::new();
        for lane in 0..self.role.senders {
            let (app, mut sender, left) = (self.clone(), sender.clone(), left.clone());
            tasks.push(self.start_task(async move {
                let sent = app.send_from_a_half(&mut sender, lane).await;
                left.set(left.get() - 1);
                if sent.is_ok() && lane == 0 {
                    // Whoever closes does so once all have sent.
                    app.close_from_a_half(&mut sender, &left).await;
                }
            }));
        }
        self.receive_from_a_half(receiver, sender, tasks).await
    }

    /// One task receives, and another sends several messages at once through one sender.
    pub(super) async fn one_sender(self: &Rc<Self>, ws: impl Duplex) -> Ending {
        self.world.walk(Path::OneSender);
        let (sender, receiver) = ws.halves();
        let (app, shared) = (self.clone(), sender.clone());
        let task = self.start_task(async move {
            let lanes = 0..app.role.senders;
            let sending = lanes.map(async |lane| {
                let mut sender = &shared;
                let sending = app.send_from_a_half(&mut sender, lane);
                app.duties.beside_others(sending).await
            });
            let sent = join_all(sending).await;
            if sent.iter().all(Result::is_ok) {
                app.close_from_a_half(&mut &shared, &Cell::new(0)).await;
            }
        });
        self.receive_from_a_half(receiver, sender, vec![task]).await
    }

    async fn receive_from_a_half(
        &self,
        mut receiver: ReceivingHalf,
        mut sender: SendingHalf,
        tasks: Vec<impl Future<Output = ()>>,
    ) -> Ending {
        while matches!(self.receive(&mut receiver).await, Ok(Got::Message)) {
            if self.stops_receiving.get() {
                // What arrives meanwhile is discarded, after a while.
                sleep(&self.world, Duration::from_millis(500)).await;
            } else if self.world.below(20) == 0 {
                // The other half drives the connection, if it is used.
                sleep(&self.world, self.busy_time()).await;
            }
            if self.world.strikes(Fault::Abandon, 60) {
                self.theirs.end();
                self.received_all.set(true);
                drop(receiver);
                self.duties.set_discards();
                for task in tasks {
                    task.await;
                }
                return Ending::Abandoned;
            }
        }
        let ending = self.end_of_receiver(&mut receiver).await;
        for task in tasks {
            task.await;
        }
        self.end_of_sender(&mut sender).await;
        ending
    }

    /// Sends all messages of a lane.
    async fn send_from_a_half(&self, sender: &mut impl Sends, lane: usize) -> Result<(), Error> {
        while let Some(message) = self.ours.next(lane) {
            match self.world.below(8) {
                0 => self.ping(sender).await?,
                1 => self.send_control(sender).await?,
                _ => self.send(sender, &message, lane).await?,
            }
            if self.world.below(10) == 0 {
                sleep(&self.world, self.busy_time()).await;
            }
            if lane == 0 && self.world.strikes(Fault::CloseEarly, 40) {
                return self.close(sender).await;
            }
        }
        // There may be no other task that writes what was fed.
        self.flush(sender).await
    }

    /// Closes once everything has arrived, and all have sent.
    async fn close_from_a_half(&self, sender: &mut impl Sends, left: &Cell<usize>) {
        if !self.role.closes {
            return;
        }
        let since = self.world.now();
        let is_done = || left.get() == 0 && (self.is_done(since) || self.received_all.get());
        while !is_done() {
            sleep(&self.world, Duration::from_millis(50)).await;
        }
        self.stops_receiving.set(self.role.leaves_unread);
        if self.role.leaves_unread {
            self.world.walk(Path::CloseUnread);
        }
        if !self.role.leaves_unread && self.world.below(3) == 0 {
            self.world.walk(Path::SendClose);
            let sent = sender.send_close().await;
            self.report("send_close", &sent);
            return;
        }
        self.world.walk(Path::CloseFromHalf);
        let _ = self.close(sender).await;
    }

    // The splits of other crates.

    /// One task receives from the stream, and another sends into the sink.
    pub(super) async fn generic_split<D: Duplex + 'static>(self: &Rc<Self>, ws: D) -> Ending {
        self.world.walk(Path::GenericSplit);
        let (mut sink, mut stream) = StreamExt::split(ws);
        let app = self.clone();
        let task = self.start_task(async move {
            if let Err(error) = app.send_into(&mut sink).await {
                app.report("sink", &Err::<(), _>(error));
            }
            sink
        });
        self.receive_from(&mut stream).await;
        let sink = task.await;
        let mut ws = stream.reunite(sink).expect("two of one");
        self.end(&mut ws).await
    }

    async fn receive_from(&self, stream: &mut SplitStream<impl Duplex>) {
        loop {
            let received = {
                let _receiving = self.duties.receive();
                stream.next().await
            };
            self.world.walk(Path::NextOfStream);
            let Some(received) = received else {
                break;
            };
            self.report("next", &received);
            match received {
                Ok(message) => self.theirs.delivered(message.kind(), message.as_bytes()),
                Err(_) => break,
            }
            if self.world.below(20) == 0 {
                sleep(&self.world, self.busy_time()).await;
            }
        }
        self.received_all.set(true);
    }

    /// The sink keeps the latest message until the WebSocket has room for it.
    async fn send_into<D: Duplex>(&self, sink: &mut SplitSink<D, Message>) -> Result<(), Error> {
        self.ours.keep();
        let sent = {
            let _driven = self.duties.drive();
            match self.world.below(2) {
                0 => self.forward_into(sink).await,
                _ => self.feed_into(sink).await,
            }
        };
        sent?;
        self.ours.let_go();
        if !self.role.closes {
            return Ok(());
        }
        let since = self.world.now();
        while !self.is_done(since) && !self.received_all.get() {
            sleep(&self.world, Duration::from_millis(50)).await;
        }
        let start = self.world.now();
        let closed = {
            let _driven = self.duties.drive();
            sink.close().await
        };
        self.duties.took(start, super::CLOSE_TIMEOUT);
        closed
    }

    async fn forward_into<D: Duplex>(&self, sink: &mut SplitSink<D, Message>) -> Result<(), Error> {
        self.world.walk(Path::Forward);
        let mut is_underway = false;
        let messages = std::iter::from_fn(|| {
            if std::mem::replace(&mut is_underway, true) {
                self.ours.sent(0);
            }
            let message = self.ours.next(0)?;
            self.ours.begin(0);
            Some(Ok(message))
        });
        let mut messages = pin!(futures_util::stream::iter(messages));
        sink.send_all(&mut messages).await
    }

    async fn feed_into<D: Duplex>(&self, sink: &mut SplitSink<D, Message>) -> Result<(), Error> {
        while let Some(message) = self.ours.next(0) {
            self.world.walk(Path::SinkSend);
            self.ours.begin(0);
            match self.world.below(3) {
                0 => sink.feed(message).await?,
                _ => sink.send(message).await?,
            }
            self.ours.sent(0);
            self.duties.result();
        }
        sink.flush().await
    }

    // A stream of bytes.

    /// One task reads, and another writes.
    pub(super) async fn byte_stream(self: &Rc<Self>, ws: impl Duplex) -> Ending {
        self.world.walk(Path::ByteStream);
        let (mut reader, mut writer) = ws.bytes().split();
        let app = self.clone();
        let task = self.start_task(async move {
            if let Err(error) = app.write(&mut writer).await {
                app.report_io("write", &error);
            }
            writer
        });
        if let Err(error) = self.read(&mut reader).await {
            self.report_io("read", &error);
        }
        self.received_all.set(true);
        let writer = task.await;
        let mut ws = reader.reunite(writer).expect("two of one").into_inner();
        // Bytes that were not read are lost.
        self.theirs.end();
        let ending = self.end_of_receiver(&mut ws).await;
        self.end_of_sender(&mut ws).await;
        ending
    }

    async fn read(&self, reader: &mut ReadHalf<Bytes>) -> io::Result<()> {
        let mut buf = vec![0; 1 + self.world.below(4096)];
        loop {
            let size = {
                let _receiving = self.duties.receive();
                reader.read(&mut buf).await?
            };
            if size == 0 {
                self.ended_with("read", None);
                return Ok(());
            }
            self.theirs.delivered_bytes(&buf[..size]);
            if self.world.below(20) == 0 {
                sleep(&self.world, self.busy_time()).await;
            }
        }
    }

    async fn write(&self, writer: &mut WriteHalf<Bytes>) -> io::Result<()> {
        while let Some(message) = self.ours.next(0) {
            self.ours.begin(0);
            {
                let _driven = self.duties.drive();
                writer.write_all(message.as_bytes()).await?;
            }
            self.ours.sent(0);
            if self.world.below(3) == 0 {
                let _driven = self.duties.drive();
                writer.flush().await?;
            }
        }
        {
            let _driven = self.duties.drive();
            writer.flush().await?;
        }
        if !self.role.closes {
            return Ok(());
        }
        let since: Instant = self.world.now();
        while !self.is_done(since) && !self.received_all.get() {
            sleep(&self.world, Duration::from_millis(50)).await;
        }
        let start = self.world.now();
        let closed = {
            let _driven = self.duties.drive();
            writer.close().await
        };
        self.duties.took(start, super::CLOSE_TIMEOUT);
        closed
    }

    /// An error of a stream of bytes is one of the connection, unless text has arrived.
    fn report_io(&self, by: &str, error: &io::Error) {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(inner) => self.report(by, &Err::<(), _>(inner.clone())),
            None => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{by}: {error:?}"),
        }
    }
}
