//! One call: receives, sends, or waits for something else, by each of the methods.

use std::future::{Future, pending};
use std::time::Duration;

use futures_lite::future::or;
use sansock::core::OpCode;
use sansock::{Compression, Error, Fin, Kind, Message, Prepared};
use sansock_core::{Delivery, Instant, ProtocolError};

use super::methods::{Duplex, Observed, Part, Receives, Sends};
use super::{Application, Handling, again};
use crate::simulation::faults::Fault;
use crate::simulation::paths::Path;
use crate::simulation::time::sleep;

/// What came of receiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    Message,
    Nothing,
    End,
}

/// How a talk went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    Over,
    Abandoned,
}

impl Application {
    // Receiving.

    /// Receives a message by one of the methods. What is borrowed may be held for a while.
    pub(super) async fn receive(&self, from: &mut impl Receives) -> Result<Got, Error> {
        self.receive_holding(from, true).await
    }

    async fn receive_holding(
        &self,
        from: &mut impl Receives,
        may_hold: bool,
    ) -> Result<Got, Error> {
        let way = self.world.below(8);
        self.world
            .note(format_args!("{:?} receives {way}", self.side));
        let got = match way {
            0 => self.receive_lent(from, may_hold).await,
            1 => self.receive_parts(from, Delivery::Chunks).await,
            2 => self.receive_parts(from, Delivery::Frames).await,
            3 => self.receive_next(from).await,
            4 => self.receive_event(from).await,
            _ => self.receive_whole(from).await,
        };
        self.got(&got);
        got
    }

    /// Receives a message by a method that may be dropped while it waits.
    pub(super) async fn receive_or_drop(&self, from: &mut impl Receives) -> Result<Got, Error> {
        let got = match self.world.below(3) {
            0 => self.receive_lent(from, false).await,
            1 => self.receive_next(from).await,
            _ => self.receive_whole(from).await,
        };
        self.got(&got);
        got
    }

    fn got(&self, got: &Result<Got, Error>) {
        if !matches!(got, Ok(Got::Message)) {
            self.world.note(format_args!("{:?} got {got:?}", self.side));
        }
        match got {
            Ok(Got::End) => self.report_received("receive", &Ok(())),
            Ok(_) => self.duties.result(),
            Err(error) => self.report("receive", &Err::<(), _>(error.clone())),
        }
    }

    async fn receive_whole(&self, from: &mut impl Receives) -> Result<Got, Error> {
        self.duties.set_parts(None);
        let _receiving = self.duties.receive();
        let received = again(&self.world, async || from.recv().await).await?;
        self.world.walk(Path::Recv);
        Ok(self.got_message(received.as_ref()))
    }

    async fn receive_next(&self, from: &mut impl Receives) -> Result<Got, Error> {
        self.duties.set_parts(None);
        let _receiving = self.duties.receive();
        let received = again(&self.world, async || from.next().await).await;
        self.world.walk(Path::NextOfStream);
        match received {
            Some(received) => Ok(self.got_message(Some(&received?))),
            // How it has ended is reported by the other methods.
            None => self.receive_whole(from).await,
        }
    }

    async fn receive_lent(&self, from: &mut impl Receives, may_hold: bool) -> Result<Got, Error> {
        self.duties.set_parts(None);
        let lent = match may_hold && self.world.below(8) == 0 {
            true => {
                self.world.walk(Path::Borrows);
                from.lent(self, self.busy_time()).await?
            }
            false => again(&self.world, async || from.lent(self, Duration::ZERO).await).await?,
        };
        self.world.walk(Path::RecvRef);
        self.lend(from);
        Ok(self.got_part(&mut None, lent))
    }

    async fn receive_parts(
        &self,
        from: &mut impl Receives,
        delivery: Delivery,
    ) -> Result<Got, Error> {
        self.duties.set_parts(Some(delivery));
        let (path, are_chunks) = match delivery {
            Delivery::Chunks => (Path::RecvChunk, true),
            Delivery::Messages | Delivery::Frames => (Path::RecvFrame, false),
        };
        let mut parts = None;
        loop {
            let _receiving = self.duties.receive();
            let part = again(&self.world, async || match are_chunks {
                true => from.chunk().await,
                false => from.frame().await,
            });
            let part = part.await?;
            self.world.walk(path);
            self.lend(from);
            match self.got_part(&mut parts, part) {
                Got::Nothing => self.duties.result(),
                got @ (Got::Message | Got::End) => return Ok(got),
            }
        }
    }

    async fn receive_event<R: Receives>(&self, from: &mut R) -> Result<Got, Error> {
        if !R::OBSERVES {
            return self.receive_whole(from).await;
        }
        let mut parts = None;
        loop {
            let observed = {
                let _receiving = self.duties.receive();
                again(&self.world, async || from.event().await).await
            };
            self.world.walk(Path::RecvEvent);
            self.lend(from);
            let got = match observed {
                Observed::Part(part) => self.got_part(&mut parts, Some(part)),
                Observed::Other => Got::Nothing,
                // How it has ended is reported by the other methods.
                Observed::End => return self.receive_whole(from).await,
            };
            match got {
                Got::Nothing => self.duties.result(),
                got @ (Got::Message | Got::End) => return Ok(got),
            }
        }
    }

    /// Something was borrowed.
    fn lend<R: Receives>(&self, _: &R) {
        if R::LENDS {
            self.duties.lend();
        }
    }

    /// Receives a message, unless it takes too long.
    pub(super) async fn receive_for(
        &self,
        from: &mut impl Receives,
        time: Duration,
    ) -> Result<Got, Error> {
        let too_long = async {
            sleep(&self.world, time).await;
            Ok(Got::Nothing)
        };
        self.world.walk(Path::RecvInTime);
        let receiving = self.duties.beside_others(self.receive_whole(from));
        let got = or(receiving, too_long).await;
        self.got(&got);
        got
    }

    fn got_message(&self, message: Option<&Message>) -> Got {
        let Some(message) = message else {
            return Got::End;
        };
        self.theirs.delivered(message.kind(), message.as_bytes());
        Got::Message
    }

    /// Puts parts together. Returns nothing until the last.
    fn got_part(&self, parts: &mut Option<(Kind, Vec<u8>)>, part: Option<Part>) -> Got {
        let Some(part) = part else {
            return Got::End;
        };
        assert_eq!(
            part.kind.is_some(),
            parts.is_none(),
            "the first part has a kind"
        );
        match parts {
            // Of a message without end, no more is kept.
            Some((_, payload)) if payload.len() > Self::MAX_MESSAGE => {}
            Some((_, payload)) => payload.extend(part.payload),
            None => *parts = part.kind.map(|kind| (kind, part.payload)),
        }
        if !part.is_last {
            return Got::Nothing;
        }
        let (kind, payload) = parts.take().expect("the first part has a kind");
        self.theirs.delivered(kind, &payload);
        Got::Message
    }

    /// Receives whatever there is, until the end, or for a minute from a peer that never ends. Returns whether the
    /// end has come.
    pub(super) async fn receive_to_the_end(&self, from: &mut impl Receives) -> bool {
        let since = self.world.now();
        loop {
            match self.receive_holding(from, false).await {
                Ok(Got::Message) => {}
                // What is borrowed is judged before the Close frame is written.
                Err(Error::Protocol(ProtocolError::InvalidUtf8)) => {
                    let _ = self.receive_whole(from).await;
                    return true;
                }
                _ => return true,
            }
            let lasted = self.world.now().saturating_since(since);
            if self.world.faults().has(Fault::Endless) && lasted >= Duration::from_secs(60) {
                return false;
            }
        }
    }

    // Sending.

    /// Sends the next message of a lane by one of the methods.
    pub(super) async fn send(
        &self,
        with: &mut impl Sends,
        message: &Message,
        lane: usize,
    ) -> Result<(), Error> {
        // Fragments of one message keep out those of others.
        let is_alone = self.role.senders == 1;
        let sent = match self.world.below(10) {
            0 if is_alone => self.send_in_parts(with, message, lane).await,
            1 if is_alone => {
                self.world.walk(Path::Writer);
                let _writing = (self.duties.drive(), self.duties.write());
                self.ours.begin(lane);
                with.write(message, || self.ours.sent(lane)).await
            }
            2 => {
                self.world.walk(Path::SinkSend);
                let _driven = self.duties.drive();
                with.sink(message, || self.ours.sent(lane)).await
            }
            3 => {
                self.world.walk(Path::SendPrepared);
                let prepared = Prepared::new(message.clone());
                self.send_whole(lane, with.send_prepared(&prepared)).await
            }
            4 => {
                self.world.walk(Path::SendWith);
                let compression = match self.world.below(2) {
                    0 => Compression::Never,
                    _ => Compression::Auto,
                };
                self.send_whole(lane, with.send_with(message, compression))
                    .await
            }
            5 | 6 => {
                self.world.walk(Path::Send);
                self.send_whole(lane, with.send(message)).await
            }
            way => {
                self.world.walk(Path::Feed);
                let fed = {
                    let _driven = self.duties.drive();
                    again(&self.world, async || with.feed(message).await).await
                };
                match fed {
                    Err(error) => Err(error),
                    Ok(()) => {
                        self.ours.sent(lane);
                        match way {
                            7 => Ok(()),
                            _ => self.flush(with).await,
                        }
                    }
                }
            }
        };
        self.report("send", &sent);
        match sent {
            // The task of the connection does not write what another task has fed, or writes it later.
            Ok(()) if self.role.handling == Some(Handling::InAnotherTask) => self.flush(with).await,
            sent => sent,
        }
    }

    /// A future that sends is not dropped: the message may have left or not.
    async fn send_whole(
        &self,
        lane: usize,
        sending: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        self.ours.begin(lane);
        let sent = {
            let _driven = self.duties.drive();
            sending.await
        };
        if sent.is_ok() {
            self.ours.sent(lane);
            self.duties.has_sent();
        }
        sent
    }

    pub(super) async fn flush(&self, with: &mut impl Sends) -> Result<(), Error> {
        let flushed = {
            let _driven = self.duties.drive();
            again(&self.world, async || with.flush().await).await
        };
        self.report("flush", &flushed);
        if flushed.is_ok() {
            self.duties.has_sent();
        }
        flushed
    }

    async fn send_in_parts(
        &self,
        with: &mut impl Sends,
        message: &Message,
        lane: usize,
    ) -> Result<(), Error> {
        let mut rest = message.as_bytes();
        let mut is_first = true;
        let _writing = (self.duties.drive(), self.duties.write());
        self.ours.begin(lane);
        loop {
            let size = self.world.below(rest.len() + 1).min(4000);
            let (part, after) = rest.split_at(size);
            let fin = match after.is_empty() && self.world.below(3) > 0 {
                true => Fin::Last,
                false => Fin::More,
            };
            let opcode = match (is_first, message.kind()) {
                (true, Kind::Text) => OpCode::Text,
                (true, Kind::Binary) => OpCode::Binary,
                (false, _) => OpCode::Continuation,
            };
            let fed = again(&self.world, async || {
                with.feed_frame(opcode, part, fin).await
            });
            let Some(fed) = fed.await else {
                // It has no such method.
                return self.send_whole(lane, with.send(message)).await;
            };
            fed?;
            self.world.walk(Path::FeedFrame);
            (is_first, rest) = (false, after);
            if fin == Fin::Last {
                self.ours.sent(lane);
                return Ok(());
            }
            if self.world.below(8) == 0 {
                let pinging = again(&self.world, async || with.ping().await);
                or(pinging, self.until_flooded()).await?;
            }
        }
    }

    // Control.

    pub(super) async fn ping(&self, with: &mut impl Sends) -> Result<(), Error> {
        let pinged = {
            let _driven = self.duties.drive();
            let pinging = again(&self.world, async || with.ping().await);
            or(pinging, self.until_flooded()).await
        };
        self.world.walk(Path::Ping);
        self.report("ping", &pinged);
        match pinged {
            // A message is being received in parts.
            Err(Error::InMessage) => Ok(()),
            pinged => pinged,
        }
    }

    /// Waits until the peer floods without end: then it answers nothing.
    async fn until_flooded(&self) -> Result<(), Error> {
        if !self.world.faults().has(Fault::Endless) {
            return pending().await;
        }
        while self.world.poll_time().is_zero() {
            sleep(&self.world, Duration::from_secs(1)).await;
        }
        // The ping was pending: what its task does now has a budget of its own.
        self.world.goes_on();
        Ok(())
    }

    pub(super) async fn send_control(&self, with: &mut impl Sends) -> Result<(), Error> {
        self.world.walk(Path::SendPing);
        let sent = {
            let _driven = self.duties.drive();
            match self.world.below(2) {
                0 => with.send_ping(b"are you there?").await,
                _ => with.send_pong(b"here I am").await,
            }
        };
        self.report("send_ping", &sent);
        sent
    }

    /// Waits for something else.
    pub(super) async fn be_busy<D: Duplex>(&self, ws: &mut D) {
        let time = self.busy_time();
        if D::IS_SERVED {
            self.world.walk(Path::HandlerBusy);
            sleep(&self.world, time).await;
        } else if self.world.below(2) == 0 {
            self.world.walk(Path::Attends);
            ws.attend(self, time).await;
        } else {
            self.world.walk(Path::Absent);
            sleep(&self.world, time).await;
        }
    }

    // One call after another.

    pub(super) async fn call_by_call(&self, mut ws: impl Duplex) -> super::Ending {
        self.world.walk(Path::CallByCall);
        let talked = self.talk(&mut ws).await;
        if matches!(talked, Ok(Talk::Abandoned)) {
            self.theirs.end();
            return super::Ending::Abandoned;
        }
        // Whatever kept from sending, what has arrived is still received.
        self.end(&mut ws).await
    }

    async fn talk(&self, ws: &mut impl Duplex) -> Result<Talk, Error> {
        let mut waits = 0;
        while let Some(message) = self.ours.next(0) {
            match self.world.below(16) {
                0 => self.ping(ws).await?,
                1 => self.flush(ws).await?,
                2..=4 => {
                    let time = self.world.time_up_to(2000);
                    if self.receive_for(ws, time).await? == Got::End {
                        return Ok(Talk::Over);
                    }
                }
                5 if waits < 4 => {
                    // Long enough for pings to pass.
                    waits += 1;
                    let time = self.world.time_up_to(100_000);
                    if self.receive_for(ws, time).await? == Got::End {
                        return Ok(Talk::Over);
                    }
                }
                6 => self.send_control(ws).await?,
                7 => self.be_busy(ws).await,
                _ => self.send(ws, &message, 0).await?,
            }
            if self.world.strikes(Fault::CloseEarly, 40) {
                return self.close_somehow(ws).await;
            }
            if self.world.strikes(Fault::FailsItself, 40) {
                return self.fail(ws).await;
            }
            if self.world.strikes(Fault::Abandon, 60) {
                return Ok(Talk::Abandoned);
            }
        }
        let since = self.world.now();
        loop {
            if self.role.closes && self.is_done(since) {
                return self.close_somehow(ws).await;
            }
            if self.receive_until_done(ws, since).await? == Got::End {
                return Ok(Talk::Over);
            }
            if self.world.below(20) == 0 {
                self.be_busy(ws).await;
            }
        }
    }

    /// Receives a message, unless it is time to close.
    async fn receive_until_done(&self, ws: &mut impl Duplex, since: Instant) -> Result<Got, Error> {
        if !self.role.closes {
            return self.receive(ws).await;
        }
        let waited = self.world.now().saturating_since(since);
        self.receive_for(ws, self.patience().saturating_sub(waited))
            .await
    }

    /// Closes by one of the methods.
    pub(super) async fn close_somehow(&self, ws: &mut impl Duplex) -> Result<Talk, Error> {
        if self.world.below(3) == 0 {
            self.world.walk(Path::SendClose);
            let start = self.world.now();
            let sent = ws.send_close().await;
            self.report("send_close", &sent);
            loop {
                let got = self.receive_whole(ws).await;
                self.got(&got);
                if !matches!(got, Ok(Got::Message)) {
                    break;
                }
            }
            self.duties.took(start, super::CLOSE_TIMEOUT);
            return Ok(Talk::Over);
        }
        self.close(ws).await.map(|()| Talk::Over)
    }

    async fn fail(&self, ws: &mut impl Duplex) -> Result<Talk, Error> {
        let failed = {
            let _driven = self.duties.drive();
            again(&self.world, async || ws.fail().await).await
        };
        self.report("fail", &failed);
        failed.map(|()| Talk::Over)
    }
}
