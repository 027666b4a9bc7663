//! A server: the connection is driven by its own task whatever the handler does.

use std::io;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_lite::future::pending;
use sansock::Prepared;
use sansock::runtime::{BoxFuture, Threads};
use sansock::serve::{
    Accepted, Handle, Listen, Listener, Origins, OverflowPolicy, Peer, Push, Serve, ServerEvent,
    ServerHandle,
};

use super::methods::Served;
use super::{Application, CLOSE_TIMEOUT, Ending, Handling, Handover, OPEN_TIMEOUT, Role, Usage};
use crate::simulation::duties::Duties;
use crate::simulation::faults::Fault;
use crate::simulation::local::{Local, LocalFuture};
use crate::simulation::network::Wire;
use crate::simulation::paths::Path;
use crate::simulation::time::{SimulatedTimer, sleep};
use crate::simulation::world::World;

/// A listener of one connection.
struct One(Mutex<Option<Accepted<Wire>>>);

impl Listener<Wire> for One {
    fn accept(&self) -> BoxFuture<Threads, io::Result<Accepted<Wire>>> {
        let accepted = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async {
            match accepted {
                Some(accepted) => Ok(accepted),
                None => pending().await,
            }
        })
    }
}

/// What a connection of a server has in common with whoever waits for its end.
struct Serving {
    app: Rc<Application>,
    /// How the handler has ended.
    handled: Handover<Ending>,
    /// The task of the connection has ended.
    gone: Handover<()>,
}

impl Application {
    pub(super) async fn serve(self: &Rc<Self>, wire: Wire, handling: Handling) -> Ending {
        let serving = Rc::new(Serving {
            app: self.clone(),
            handled: Handover::default(),
            gone: Handover::default(),
        });
        let start = self.world.now();
        let server = self.start_server(wire, handling, &serving).await;
        serving.gone.take().await;
        self.duties.set_served(None);
        let handled = serving.handled.given.borrow_mut().take();
        let snapshot = server.snapshot();
        assert_eq!(
            snapshot.open + snapshot.handshakes,
            0,
            "a place is still taken"
        );
        match handled {
            // The server has ended it, or no operation has waited for the end.
            Some(Ending::Abandoned) if snapshot.closed.get(&1000) == Some(&1) => Ending::Clean,
            Some(ending) => ending,
            None if snapshot.opened == 0 => {
                self.duties.took(start, OPEN_TIMEOUT);
                Ending::NotOpened(format!("{snapshot:?}"))
            }
            None => Ending::Abandoned,
        }
    }

    async fn start_server(
        self: &Rc<Self>,
        wire: Wire,
        handling: Handling,
        serving: &Rc<Serving>,
    ) -> ServerHandle {
        let shared = Local::new(serving.clone());
        let handler = move |socket: Served| {
            let serving = shared.get();
            let future = async move {
                let ending = serving.app.handle(socket, handling).await;
                serving.handled.give(ending);
            };
            LocalFuture::new(future)
        };
        let timers: Local<(Rc<World>, Rc<Duties>)> =
            Local::new((self.world.clone(), self.duties.clone()));
        let timer = move || {
            let timers = timers.get();
            let (world, duties) = &*timers;
            SimulatedTimer::new(world, duties.alarm())
        };
        let tasks = Local::new(serving.clone());
        let spawn = move |future| {
            let serving: Rc<Serving> = (*tasks.get()).clone();
            let app = serving.app.clone();
            app.spawn(async move {
                let future: BoxFuture<Threads, ()> = future;
                future.await;
                serving.gone.give(());
            });
        };
        let panicked = Local::new(self.world.clone());
        let on_event = move |event: &ServerEvent<'_>| {
            if matches!(event, ServerEvent::Panic(_)) {
                panicked.get().panicked();
            }
        };
        let accepted = Accepted::new(wire, Peer::Unknown);
        let serve = Serve::new(handler, timer, spawn)
            .listen(Listen::on(One(Mutex::new(Some(accepted)))))
            .origins(Origins::SameHost)
            .config(self.config.clone())
            .on_event(on_event);
        let server = serve.bind().await.expect("nothing is bound");
        let handle = server.handle();
        self.world.spawn_in_background(self.side, server.run());
        handle
    }

    async fn handle(self: &Rc<Self>, mut socket: Served, handling: Handling) -> Ending {
        self.duties.opened();
        let handle = socket.handle().clone();
        self.duties.set_served(Some(handle.clone()));
        if self.role.is_pushed {
            let (app, handle) = (self.clone(), handle.clone());
            self.spawn(async move { app.push(&handle).await });
        }
        if self.world.strikes(Fault::Shutdown, 2) {
            let (app, handle) = (self.clone(), handle.clone());
            self.spawn(async move {
                sleep(&app.world, app.world.time_up_to(20_000)).await;
                handle
                    .close(1001, "shutting down")
                    .expect("a code that is sent");
            });
        }
        let is_split = matches!(self.role.usage, Usage::Halves | Usage::OneSender);
        match handling {
            Handling::TakenOut => {
                self.world.walk(Path::IntoInner);
                self.duties.set_served(None);
                self.use_duplex(socket.into_inner()).await
            }
            _ if self.role.usage == Usage::ByteStream => {
                self.duties.set_served(None);
                self.use_duplex(socket).await
            }
            Handling::InAnotherTask => {
                self.world.walk(Path::HandlerMoves);
                let app = self.clone();
                self.start_task(async move { app.use_duplex(socket).await })
                    .await
            }
            Handling::InHandler if is_split => {
                self.world.walk(Path::HandlerSplits);
                self.use_duplex(socket).await
            }
            Handling::InHandler if self.role.closes && self.world.below(3) == 0 => {
                self.leave_closing_to_others(&mut socket, &handle).await
            }
            Handling::InHandler => {
                self.world.walk(Path::Handler);
                self.use_duplex(socket).await
            }
        }
    }

    /// The handler returns while the connection is open, or it is closed by its handle.
    async fn leave_closing_to_others(&self, socket: &mut Served, handle: &Handle) -> Ending {
        while let Some(message) = self.ours.next(0) {
            if self.send(socket, &message, 0).await.is_err() {
                return self.end(socket).await;
            }
            if self.world.below(8) == 0 {
                self.be_busy(socket).await;
            }
        }
        let _ = self.flush(socket).await;
        let since = self.world.now();
        while !self.is_done(since) {
            let received = self.receive_for(socket, Duration::from_secs(1)).await;
            if !matches!(
                received,
                Ok(super::talk::Got::Message | super::talk::Got::Nothing)
            ) {
                return self.end(socket).await;
            }
        }
        while !self.ours.is_sent() && handle.is_open() {
            // What is pushed is sent by then.
            sleep(&self.world, Duration::from_millis(50)).await;
        }
        if self.world.below(2) == 0 {
            self.world.walk(Path::HandlerReturns);
            self.theirs.end();
            return Ending::Abandoned;
        }
        self.world.walk(Path::HandleCloses);
        handle.close(1000, "bye").expect("a code that is sent");
        // The handler may be busy meanwhile.
        sleep(&self.world, self.busy_time()).await;
        let start = self.world.now();
        let ending = self.end(socket).await;
        self.duties.took(start, CLOSE_TIMEOUT);
        ending
    }

    /// Pushes the messages of a lane, whatever the handler does.
    async fn push(&self, handle: &Handle) {
        while let Some(message) = self.ours.next(Role::PUSHED) {
            self.world.walk(Path::Pushed);
            self.ours.begin(Role::PUSHED);
            match handle.push(&Prepared::new(message), OverflowPolicy::Skip) {
                Push::Queued => {
                    self.ours.sent(Role::PUSHED);
                    // The peer may close before it leaves.
                    self.ours.keep();
                }
                Push::Overflow => panic!("less than the limit is pushed"),
                Push::Closed => return,
            }
            if self.world.below(3) > 0 {
                sleep(&self.world, self.world.time_up_to(2000)).await;
            }
        }
    }
}
