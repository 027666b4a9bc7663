//! What applications do with a connection, and over what: every path is to be walked.

use super::switches::switches;

switches! {
    /// A way to use a connection, or a kind of transport.
    Path {
        // How one task uses it.
        /// One call after another.
        CallByCall,
        /// `Stream` and `Sink`, polled in one task.
        BothWays,
        /// Waits for a message and for something else at once, and sends what that brings.
        Select,
        /// Sends with pauses, and never receives.
        SendOnly,
        /// As `SendOnly`, after `close_read`.
        CloseRead,
        // How several tasks use it.
        /// Halves, one of them in each task.
        Halves,
        /// Several tasks with a clone of the sender each.
        ClonedSenders,
        /// Several operations of one task through one sender.
        OneSender,
        /// `StreamExt::split` of the crate `futures`.
        GenericSplit,
        /// What a stream returns is forwarded into a sink.
        Forward,
        /// `AsyncReadExt::split` of a stream of bytes.
        ByteStream,
        // Busy elsewhere.
        /// `attend` while something else is awaited.
        Attends,
        /// Something else is awaited, and no operation.
        Absent,
        /// A message is borrowed meanwhile.
        Borrows,
        // Receiving.
        /// `recv`.
        Recv,
        /// `recv_ref`.
        RecvRef,
        /// `recv_frame`.
        RecvFrame,
        /// `recv_chunk`.
        RecvChunk,
        /// `recv_event`.
        RecvEvent,
        /// `Stream::poll_next`.
        NextOfStream,
        /// A message is waited for, for a while.
        RecvInTime,
        // Sending.
        /// `send`.
        Send,
        /// `send_with`.
        SendWith,
        /// `send_prepared`.
        SendPrepared,
        /// `feed`, and perhaps `flush`.
        Feed,
        /// `feed_frame`.
        FeedFrame,
        /// `writer`.
        Writer,
        /// `Sink`.
        SinkSend,
        // Control.
        /// `ping`.
        Ping,
        /// `send_ping` and `send_pong`.
        SendPing,
        /// `send_close`, and then receives to the end.
        SendClose,
        /// `close` from a half while messages are unread.
        CloseUnread,
        /// `close` by a half that a task waits for.
        CloseFromHalf,
        // Servers.
        /// A handler uses its socket in the task of the connection.
        Handler,
        /// A handler waits for something else.
        HandlerBusy,
        /// Others push messages.
        Pushed,
        /// A handler moves its socket to another task.
        HandlerMoves,
        /// A handler splits its socket.
        HandlerSplits,
        /// A handler returns while the connection is open.
        HandlerReturns,
        /// A handler takes the WebSocket out.
        IntoInner,
        /// A connection is closed by its handle.
        HandleCloses,
        // The transport.
        /// What was written has arrived at once: the transport is ready whenever the peer has written.
        Instant,
        /// A limited number of bytes a second.
        Bandwidth,
        /// Readiness for one waker a direction; another takes its place silently, as on tokio.
        Edge,
        /// Readiness for one waker a direction; one that is replaced is woken, as by async-io.
        OneShot,
    }
}
