//! What is said in one process reaches the others through Redis: everything is published, and every
//! process, the one that published it too, hears it from there. So all hear all in the same order.

use std::time::Duration;

use async_channel::{Receiver, Sender, bounded};
use async_io::Timer;
use futures_lite::{StreamExt, future};
use redis::{AsyncCommands, Client, Msg, RedisError, RedisResult};

use crate::rooms::{Rooms, Said};

/// Rooms are channels of this name, with theirs behind it.
const PREFIX: &str = "chat:";

/// How long it takes until the next attempt, once Redis is gone.
const PAUSE: Duration = Duration::from_millis(500);

/// How much may wait while Redis is slow, or away.
const QUEUE: usize = 256;

pub(crate) struct Exchange {
    client: Client,
    outgoing: Receiver<Said>,
}

impl Exchange {
    /// Returns the exchange, and the way into it.
    pub(crate) fn new(url: &str) -> RedisResult<(Self, Sender<Said>)> {
        let client = Client::open(url)?;
        let (sender, outgoing) = bounded(QUEUE);
        Ok((Self { client, outgoing }, sender))
    }

    /// Carries messages for as long as the program runs, whatever becomes of Redis.
    pub(crate) async fn run(self, rooms: &Rooms) {
        loop {
            let Err(error) = self.carry(rooms).await;
            eprintln!("Redis: {error}");
            Timer::after(PAUSE).await;
        }
    }

    /// Carries messages until Redis fails.
    async fn carry(&self, rooms: &Rooms) -> RedisResult<Never> {
        let mut subscription = self.client.get_async_pubsub().await?;
        subscription.psubscribe(format!("{PREFIX}*")).await?;
        let mut publisher = self.client.get_multiplexed_async_connection().await?;
        let publish = async {
            loop {
                let Ok(Said { room, text }) = self.outgoing.recv().await else {
                    return Err(gone("nobody speaks any more"));
                };
                let _: () = publisher.publish(format!("{PREFIX}{room}"), text).await?;
            }
        };
        let listen = async {
            let mut messages = subscription.on_message();
            while let Some(message) = messages.next().await {
                pass_on(&message, rooms)?;
            }
            Err(gone("the subscription has ended"))
        };
        future::or(listen, publish).await
    }
}

/// What a loop without an end returns.
enum Never {}

fn pass_on(message: &Msg, rooms: &Rooms) -> RedisResult<()> {
    let text: String = message.get_payload()?;
    if let Some(room) = message.get_channel_name().strip_prefix(PREFIX) {
        rooms.tell(room, text);
    }
    Ok(())
}

fn gone(what: &'static str) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::ConnectionAborted, what).into()
}
