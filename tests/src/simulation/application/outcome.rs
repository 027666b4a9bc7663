//! D5: how a connection has ended is one fact, whoever reports it.

use sansock::{Closed, Error};
use sansock_core::CloseFrame;

use super::methods::{Duplex, Receives, Sends};
use super::{Application, CLOSE_TIMEOUT, Ending};

/// How the connection has ended, as it was reported.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// What has reported it first.
    by: String,
    /// Why it has failed; `None` if it has not.
    failure: Option<String>,
    /// The Close frame that came first.
    first: Option<CloseFrame>,
}

impl Application {
    /// An operation was ready.
    pub(super) fn report<T>(&self, by: &str, result: &Result<T, Error>) {
        self.duties.result();
        self.report_end(by, result);
    }

    /// Compares an error with the end that was reported before.
    pub(super) fn report_end<T>(&self, by: &str, result: &Result<T, Error>) {
        let Err(error) = result else {
            return;
        };
        self.world
            .note(format_args!("{:?} {by}: {error:?}", self.side));
        let says_nothing = matches!(
            error,
            Error::Misuse(_) | Error::InMessage | Error::Backlog | Error::NotSent(_)
        );
        if let Error::Discarded { messages } = error {
            self.theirs.discarded(*messages);
            self.ended_with(by, None);
        } else if let Error::Closed(closed) = error {
            self.ended_with(by, None);
            self.closed_with(by, Some(closed));
        } else if !says_nothing {
            self.ended_with(by, Some(&format!("{error:?}")));
        }
    }

    /// An operation has reported the end: a failure, or none.
    pub(super) fn ended_with(&self, by: &str, failure: Option<&str>) {
        let mut reported = self.reported.borrow_mut();
        let reported = reported.get_or_insert_with(|| Reported {
            by: by.to_owned(),
            failure: failure.map(str::to_owned),
            first: None,
        });
        assert_eq!(
            reported.failure.as_deref(),
            failure,
            "{:?}: {} and {by} report different ends",
            self.side,
            reported.by
        );
    }

    /// An operation has reported the Close frames.
    fn closed_with(&self, by: &str, closed: Option<&Closed>) {
        // Before the end, the answer to a Close frame may not have left.
        let Some(frame) = closed.and_then(Closed::first) else {
            return;
        };
        if let Some(reported) = &mut *self.reported.borrow_mut() {
            let first = reported.first.get_or_insert_with(|| frame.clone());
            assert_eq!(
                first, frame,
                "{:?}: {} and {by} report different Close frames",
                self.side, reported.by
            );
        }
    }

    /// The end was received: it is received again.
    pub(super) async fn end_of_receiver(&self, receiver: &mut impl Receives) -> Ending {
        self.theirs.end();
        self.received_all.set(true);
        for _ in 0..2 {
            let received = receiver.recv().await;
            let is_end = !matches!(received, Ok(Some(_)));
            assert!(is_end, "{:?}: a message after the end", self.side);
            self.report_received("recv", &received.map(|_| ()));
        }
        let closed = receiver.closed();
        self.closed_with("Receiver::closed", closed.as_ref());
        self.report("Receiver::close_result", &receiver.close_result());
        let reported = self.reported.borrow();
        let failure = reported
            .as_ref()
            .and_then(|reported| reported.failure.clone());
        let is_closed = closed.is_some_and(|closed| closed.received().is_some());
        assert_eq!(
            is_closed,
            failure.is_none(),
            "{failure:?}: the peer's Close frame and the outcome disagree"
        );
        failure.map_or(Ending::Clean, Ending::Failed)
    }

    /// A receiver has reported the end.
    pub(super) fn report_received(&self, by: &str, result: &Result<(), Error>) {
        self.report(by, result);
        if result.is_ok() {
            self.ended_with(by, None);
        }
    }

    /// The end was received: what sends reports it as well.
    pub(super) async fn end_of_sender(&self, sender: &mut impl Sends) {
        let sent = sender.send(&"too late".into()).await;
        assert!(sent.is_err(), "{:?}: sent after the end", self.side);
        self.report("send", &sent);
        let pinged = sender.ping().await;
        assert!(pinged.is_err(), "{:?}: pinged after the end", self.side);
        self.report("ping", &pinged);
        let closed = sender.close().await;
        self.report_received("close", &closed);
        self.closed_with("Sender::closed", sender.sender_closed().as_ref());
        self.report("Sender::close_result", &sender.sender_result());
    }

    /// Receives to the end, which every call reports then, and the transport is gone.
    pub(super) async fn end(&self, ws: &mut impl Duplex) -> Ending {
        if !self.receive_to_the_end(ws).await {
            let _ = self.close(ws).await;
        }
        assert!(
            ws.is_over(),
            "{:?}: the transport is still there",
            self.side
        );
        let ending = self.end_of_receiver(ws).await;
        self.end_of_sender(ws).await;
        ending
    }

    /// Closes, and waits for the end.
    pub(super) async fn close(&self, sender: &mut impl Sends) -> Result<(), Error> {
        let start = self.world.now();
        let closed = {
            let _driven = self.duties.drive();
            super::again(&self.world, async || sender.close().await).await
        };
        self.duties.took(start, CLOSE_TIMEOUT);
        self.report_received("close", &closed);
        closed
    }
}
