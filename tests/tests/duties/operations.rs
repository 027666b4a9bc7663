//! Every operation that a program can call on a connection: the rows of the table.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::Stream;
use futures_sink::Sink;
use sansock::clock::VirtualClock;
use sansock::core::OpCode;
use sansock::{Compression, Error, Fin, Kind, Message, Prepared, Result};

use super::rig::{End, Owner, Report, Running, Subject, boxed, sleep};

/// One operation of one type.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) owner: Owner,
    /// The type that has the method, which is the owner unless the method is that of a
    /// [`MessageWriter`](sansock::MessageWriter).
    pub(crate) of: &'static str,
    pub(crate) method: &'static str,
    pub(crate) class: Class,
    /// Calls it once.
    pub(crate) run: for<'a> fn(&'a mut Subject, &'a Use) -> Running<'a, Report>,
}

/// What an operation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Data, or an event.
    Receive,
    /// That a message was written.
    Send,
    /// Room in the queue.
    Queue,
    /// That what is queued was written.
    Flush,
    /// The pong of a ping.
    Ping,
    /// Another future.
    Attend,
    /// Nothing: it queues a Close frame.
    SendClose,
    /// The end, after a Close frame of its own.
    Close,
    /// The end, after a failure of its own.
    Fail,
}

/// What operations are called with.
#[derive(Clone)]
pub(crate) struct Use {
    pub(crate) clock: VirtualClock,
    /// What is sent.
    pub(crate) payload: Bytes,
    /// How long an application is busy at a time.
    pub(crate) pause: Duration,
}

impl Operation {
    pub(crate) fn name(&self) -> String {
        let (of, method) = (self.of, self.method);
        let owner = format!("{:?}", self.owner);
        if self.owner == Owner::WebSocket || owner == of {
            format!("{of}::{method}")
        } else {
            format!("{of}::{method} of {owner}")
        }
    }
}

/// Rows of one owner. The body is the operation, called once on `$it` with `$with`.
macro_rules! rows {
    ($rows:ident, $owner:ident, $pattern:pat => $value:expr,
     $( $(#[$of:meta])? $method:ident $class:ident |$it:ident, $with:ident| $body:expr; )*) => {
        $($rows.push(Operation {
            owner: Owner::$owner,
            of: stringify!($owner),
            method: stringify!($method),
            class: Class::$class,
            run: |subject, $with| {
                let $pattern = subject else {
                    panic!("another subject");
                };
                let $it = $value;
                boxed(async move { $body })
            },
        });)*
    };
}

/// What a WebSocket and a server's socket have in common.
macro_rules! socket_rows {
    ($rows:ident, $owner:ident, $pattern:pat => $value:expr) => {
        rows! { $rows, $owner, $pattern => $value,
            recv Receive |it, _with| received(it.recv().await);
            poll_recv Receive |it, _with| received(poll_fn(|cx| it.poll_recv(cx)).await);
            recv_ref Receive |it, _with| received(it.recv_ref().await);
            recv_frame Receive |it, _with| received(it.recv_frame().await);
            recv_chunk Receive |it, _with| received(it.recv_chunk().await);
            recv_event Receive |it, _with| {
                match it.recv_event().await {
                    Some(_) => Ok(()),
                    None => over(it.close_result()),
                }
            };
            send Send |it, with| sent(it.send(with.message()).await);
            send_with Send |it, with| {
                sent(it.send_with(with.message(), Compression::Never).await)
            };
            send_prepared Send |it, with| {
                let prepared = Prepared::new(with.message());
                sent(it.send_prepared(&prepared).await)
            };
            feed Queue |it, with| sent(it.feed(with.message()).await);
            feed_frame Queue |it, with| {
                sent(it.feed_frame(OpCode::Binary, with.payload.clone(), Fin::Last).await)
            };
            flush Flush |it, _with| sent(it.flush().await);
            ping Ping |it, _with| sent(it.ping().await);
            send_ping Send |it, _with| sent(it.send_ping(b"?").await);
            send_pong Send |it, _with| sent(it.send_pong(b"!").await);
            send_close SendClose |it, _with| {
                it.send_close(1000, "").await?;
                match it.closed() {
                    Some(_) => over(it.close_result()),
                    None => Ok(()),
                }
            };
            close Close |it, _with| over(it.close(1000, "").await);
            fail Fail |it, _with| over(it.fail(1011, "").await.and_then(|()| it.close_result()));
            poll_next Receive |it, _with| {
                received(poll_fn(|cx| Pin::new(&mut *it).poll_next(cx)).await.transpose())
            };
        }
        sink_rows! { $rows, $owner, $pattern => $value }
        writer_rows! { $rows, $owner, $pattern => $value }
    };
}

macro_rules! sink_rows {
    ($rows:ident, $owner:ident, $pattern:pat => $value:expr) => {
        rows! { $rows, $owner, $pattern => $value,
            poll_ready Queue |it, with| {
                let mut it = Pin::new(it);
                sent(poll_fn(|cx| Sink::poll_ready(it.as_mut(), cx)).await)?;
                sent(it.start_send(with.message()))
            };
            poll_flush Flush |it, _with| {
                let mut it = Pin::new(it);
                sent(poll_fn(|cx| Sink::poll_flush(it.as_mut(), cx)).await)
            };
            poll_close Close |it, _with| {
                let mut it = Pin::new(it);
                over(poll_fn(|cx| Sink::poll_close(it.as_mut(), cx)).await)
            };
        }
    };
}

macro_rules! writer_rows {
    ($rows:ident, $owner:ident, $pattern:pat => $value:expr) => {
        for (method, run) in [
            (
                "write",
                (|subject, with| {
                    let $pattern = subject else {
                        panic!("another subject");
                    };
                    let it = $value;
                    boxed(async move {
                        let mut writer = it.writer(Kind::Binary);
                        sent(writer.write(&with.payload[..]).await)?;
                        sent(writer.finish("").await)
                    })
                }) as for<'a> fn(&'a mut Subject, &'a Use) -> Running<'a, Report>,
            ),
            ("finish", |subject, with| {
                let $pattern = subject else {
                    panic!("another subject");
                };
                let it = $value;
                boxed(async move { sent(it.writer(Kind::Binary).finish(&with.payload[..]).await) })
            }),
        ] {
            $rows.push(Operation {
                owner: Owner::$owner,
                of: "MessageWriter",
                method,
                class: Class::Send,
                run,
            });
        }
    };
}

/// Returns all of them.
pub(crate) fn all() -> Vec<Operation> {
    let mut rows: Vec<Operation> = Vec::new();
    socket_rows! { rows, WebSocket, Subject::WebSocket(it) => it }
    rows! { rows, WebSocket, Subject::WebSocket(ws) => ws,
        attend Attend |it, with| {
            it.attend(sleep(&with.clock, with.pause)).await;
            match it.closed() {
                Some(_) => over(it.close_result()),
                None => Ok(()),
            }
        };
    }
    rows! { rows, Receiver, Subject::Receiver(receiver, _) => receiver,
        recv Receive |it, _with| received(it.recv().await);
        poll_recv Receive |it, _with| received(poll_fn(|cx| it.poll_recv(cx)).await);
        recv_ref Receive |it, _with| received(it.recv_ref().await);
        recv_frame Receive |it, _with| received(it.recv_frame().await);
        recv_chunk Receive |it, _with| received(it.recv_chunk().await);
        poll_next Receive |it, _with| {
            received(poll_fn(|cx| Pin::new(&mut *it).poll_next(cx)).await.transpose())
        };
    }
    rows! { rows, Sender, Subject::Sender(sender, _) => sender,
        send Send |it, with| sent(it.send(with.message()).await);
        send_with Send |it, with| sent(it.send_with(with.message(), Compression::Never).await);
        send_prepared Send |it, with| {
            let prepared = Prepared::new(with.message());
            sent(it.send_prepared(&prepared).await)
        };
        feed Queue |it, with| sent(it.feed(with.message()).await);
        flush Flush |it, _with| sent(it.flush().await);
        ping Ping |it, _with| sent(it.ping().await);
        send_ping Send |it, _with| sent(it.send_ping(b"?").await);
        send_pong Send |it, _with| sent(it.send_pong(b"!").await);
        send_close SendClose |it, _with| {
            it.send_close(1000, "").await?;
            match it.closed() {
                Some(_) => over(it.close_result()),
                None => Ok(()),
            }
        };
        close Close |it, _with| over(it.close(1000, "").await);
        fail Fail |it, _with| over(it.fail(1011, "").await.and_then(|()| it.close_result()));
    }
    sink_rows! { rows, Sender, Subject::Sender(it, _) => it }
    writer_rows! { rows, Sender, Subject::Sender(it, _) => it }
    rows! { rows, ByteStream, Subject::ByteStream(stream) => stream,
        poll_read Receive |it, _with| {
            let mut buf = [0; 4096];
            match poll_fn(|cx| Pin::new(&mut *it).poll_read(cx, &mut buf)).await {
                Ok(0) => Err(End::Closed(None)),
                Ok(_) => Ok(()),
                Err(error) => Err(End::of_bytes(&error)),
            }
        };
        poll_write Queue |it, with| {
            let written = poll_fn(|cx| Pin::new(&mut *it).poll_write(cx, &with.payload)).await;
            written.map(drop).map_err(|error| End::of_bytes(&error))
        };
        poll_flush Flush |it, _with| {
            let flushed = poll_fn(|cx| Pin::new(&mut *it).poll_flush(cx)).await;
            flushed.map_err(|error| End::of_bytes(&error))
        };
        poll_close Close |it, _with| {
            match poll_fn(|cx| Pin::new(&mut *it).poll_close(cx)).await {
                Ok(()) => Err(End::Closed(None)),
                Err(error) => Err(End::of_bytes(&error)),
            }
        };
    }
    socket_rows! { rows, Socket, Subject::Socket(it) => it }
    rows
}

impl Use {
    fn message(&self) -> Message {
        Message::binary(self.payload.clone())
    }
}

fn received<T>(received: Result<Option<T>>) -> Report {
    match received {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(End::Closed(None)),
        Err(error) => Err(error.into()),
    }
}

fn sent<T>(sent: Result<T>) -> Report {
    sent.map(drop).map_err(End::from)
}

/// What an operation reports that waits for the end.
fn over(ended: Result<()>) -> Report {
    Err(match ended {
        Ok(()) => End::Closed(None),
        Err(Error::Closed(closed)) => End::Closed(Some(*closed)),
        Err(error) => error.into(),
    })
}
