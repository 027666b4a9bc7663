//! One message for many connections.

use std::borrow::Borrow;

use sansock_core::Prepared;

use super::handle::{Handle, OverflowPolicy, Push};

/// What became of a message for many.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Broadcast {
    /// How many connections get it.
    pub queued: usize,
    /// The connections that do not keep up, handled as [`OverflowPolicy`] says.
    pub lagging: Vec<Handle>,
    /// How many were closed already.
    pub closed: usize,
}

/// Sends a message to many connections, without waiting for any of them.
///
/// It is framed once, and compressed once for each set of parameters among the connections; all share
/// the bytes. `policy` says what is done about clients that do not keep up.
///
/// ```
/// # async fn run(server: sansock::serve::ServerHandle) {
/// use sansock::Prepared;
/// use sansock::serve::{OverflowPolicy, broadcast};
///
/// let news = Prepared::new("news");
/// let sent = broadcast(server.connections(), &news, OverflowPolicy::Skip);
/// println!("{} of them are slow", sent.lagging.len());
/// # }
/// ```
pub fn broadcast<I>(connections: I, message: &Prepared, policy: OverflowPolicy) -> Broadcast
where
    I: IntoIterator,
    I::Item: Borrow<Handle>,
{
    let mut result = Broadcast::default();
    for connection in connections {
        let connection: &Handle = connection.borrow();
        match connection.push(message, policy) {
            Push::Queued => result.queued += 1,
            Push::Overflow => {
                result.queued += usize::from(policy == OverflowPolicy::DropOldest);
                result.lagging.push(connection.clone());
            }
            Push::Closed => result.closed += 1,
        }
    }
    result
}
