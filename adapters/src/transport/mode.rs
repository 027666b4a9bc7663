//! Whether the futures of a runtime can move between threads.
//!
//! The two modes differ in their boxed types only. What is generic over a [`Mode`] is written once. Where a
//! future is boxed, one of the traits here is implemented for both modes, with and without `Send`.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Threads {}
    impl Sealed for super::Local {}
}

/// A boxed future of a [`Mode`]: it is `Send` if the mode is [`Threads`].
pub type BoxFuture<M, T> = <M as Mode>::BoxFuture<T>;

/// Whether the futures of a runtime can move between threads: [`Threads`] or [`Local`].
pub trait Mode: sealed::Sealed + Debug + Sized + 'static {
    /// A future on the heap.
    type BoxFuture<T>: Future<Output = T> + Unpin;

    /// A shared function.
    #[doc(hidden)]
    type Function<A, O>: Clone;

    /// A function that is called once.
    #[doc(hidden)]
    type FunctionOnce<A, O>;

    /// A function that looks at what it borrows.
    #[doc(hidden)]
    type Observer<B: Borrowed>;

    #[doc(hidden)]
    fn call<A: 'static, O: 'static>(function: &Self::Function<A, O>, argument: A) -> O;

    #[doc(hidden)]
    fn call_once<A: 'static, O: 'static>(function: Self::FunctionOnce<A, O>, argument: A) -> O;

    #[doc(hidden)]
    fn observe<B: Borrowed>(observer: &Self::Observer<B>, what: &B::For<'_>);
}

/// A type that borrows, for any lifetime.
pub trait Borrowed: 'static {
    #[doc(hidden)]
    type For<'a>;
}

/// Futures are `Send`: tasks can move between threads.
#[derive(Debug, Clone, Copy)]
pub enum Threads {}

/// Futures need not be `Send`: every task stays on the thread on which it was spawned.
#[derive(Debug, Clone, Copy)]
pub enum Local {}

impl Mode for Threads {
    type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
    type Function<A, O> = Arc<dyn Fn(A) -> O + Send + Sync>;
    type FunctionOnce<A, O> = Box<dyn FnOnce(A) -> O + Send>;
    type Observer<B: Borrowed> = Box<dyn Fn(&B::For<'_>) + Send + Sync>;

    fn call<A: 'static, O: 'static>(function: &Self::Function<A, O>, argument: A) -> O {
        function(argument)
    }

    fn call_once<A: 'static, O: 'static>(function: Self::FunctionOnce<A, O>, argument: A) -> O {
        function(argument)
    }

    fn observe<B: Borrowed>(observer: &Self::Observer<B>, what: &B::For<'_>) {
        observer(what);
    }
}

impl Mode for Local {
    type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;
    type Function<A, O> = Rc<dyn Fn(A) -> O>;
    type FunctionOnce<A, O> = Box<dyn FnOnce(A) -> O>;
    type Observer<B: Borrowed> = Box<dyn Fn(&B::For<'_>)>;

    fn call<A: 'static, O: 'static>(function: &Self::Function<A, O>, argument: A) -> O {
        function(argument)
    }

    fn call_once<A: 'static, O: 'static>(function: Self::FunctionOnce<A, O>, argument: A) -> O {
        function(argument)
    }

    fn observe<B: Borrowed>(observer: &Self::Observer<B>, what: &B::For<'_>) {
        observer(what);
    }
}

/// A mode in which this future can be boxed: [`Threads`] if it is `Send`, [`Local`] in any case.
pub trait Boxes<F: Future>: Mode {
    #[doc(hidden)]
    fn boxed<O: 'static>(future: F, map: fn(F::Output) -> O) -> Self::BoxFuture<O>;
}

impl<F: Future + Send + 'static> Boxes<F> for Threads {
    fn boxed<O: 'static>(future: F, map: fn(F::Output) -> O) -> Self::BoxFuture<O> {
        Box::pin(async move { map(future.await) })
    }
}

impl<F: Future + 'static> Boxes<F> for Local {
    fn boxed<O: 'static>(future: F, map: fn(F::Output) -> O) -> Self::BoxFuture<O> {
        Box::pin(async move { map(future.await) })
    }
}

/// A mode in which a function can be shared that returns this future: [`Threads`] if the function is `Send +
/// Sync` and the future `Send`, [`Local`] in any case.
#[diagnostic::on_unimplemented(
    message = "the threads of the runtime cannot share this function",
    label = "it is not `Send + Sync`, or its future is not `Send`",
    note = "in the mode `Threads`, a function is `Send + Sync` and its future `Send`: it holds no `Rc`, no `RefCell`, \
            and no guard of a lock across an `.await`",
    note = "to learn which value is at fault, pass the future to a function `fn is_send<T: Send>(_: T)`",
    note = "a runtime in the mode `Local` takes any function"
)]
pub trait Shares<H, F: Future>: Mode {
    #[doc(hidden)]
    fn shared<A: 'static, O: 'static>(
        function: H,
        map: fn(F::Output) -> O,
    ) -> Self::Function<A, Self::BoxFuture<O>>
    where
        H: Fn(A) -> F;
}

#[diagnostic::do_not_recommend]
impl<H: Send + Sync + 'static, F: Future + Send + 'static> Shares<H, F> for Threads {
    fn shared<A: 'static, O: 'static>(
        function: H,
        map: fn(F::Output) -> O,
    ) -> Self::Function<A, Self::BoxFuture<O>>
    where
        H: Fn(A) -> F,
    {
        Arc::new(move |argument| Self::boxed(function(argument), map))
    }
}

impl<H: 'static, F: Future + 'static> Shares<H, F> for Local {
    fn shared<A: 'static, O: 'static>(
        function: H,
        map: fn(F::Output) -> O,
    ) -> Self::Function<A, Self::BoxFuture<O>>
    where
        H: Fn(A) -> F,
    {
        Rc::new(move |argument| Self::boxed(function(argument), map))
    }
}

/// A mode in which a function can be kept that is called once and returns this future: [`Threads`] if both are
/// `Send`, [`Local`] in any case.
#[diagnostic::on_unimplemented(
    message = "the threads of the runtime cannot pass on this function",
    label = "it is not `Send`, or its future is not `Send`",
    note = "in the mode `Threads`, a function is `Send`, and so is its future: it holds no `Rc`, no `RefCell`, \
            and no guard of a lock across an `.await`",
    note = "to learn which value is at fault, pass the future to a function `fn is_send<T: Send>(_: T)`",
    note = "a runtime in the mode `Local` takes any function"
)]
pub trait Keeps<H, F: Future>: Mode {
    #[doc(hidden)]
    fn kept<A: 'static, O: 'static>(
        function: H,
        map: fn(F::Output) -> O,
    ) -> Self::FunctionOnce<A, Self::BoxFuture<O>>
    where
        H: FnOnce(A) -> F;
}

#[diagnostic::do_not_recommend]
impl<H: Send + 'static, F: Future + Send + 'static> Keeps<H, F> for Threads {
    fn kept<A: 'static, O: 'static>(
        function: H,
        map: fn(F::Output) -> O,
    ) -> Self::FunctionOnce<A, Self::BoxFuture<O>>
    where
        H: FnOnce(A) -> F,
    {
        Box::new(move |argument| Self::boxed(function(argument), map))
    }
}

impl<H: 'static, F: Future + 'static> Keeps<H, F> for Local {
    fn kept<A: 'static, O: 'static>(
        function: H,
        map: fn(F::Output) -> O,
    ) -> Self::FunctionOnce<A, Self::BoxFuture<O>>
    where
        H: FnOnce(A) -> F,
    {
        Box::new(move |argument| Self::boxed(function(argument), map))
    }
}

/// A mode in which a method of this value can be shared: [`Threads`] if it is `Send + Sync`, [`Local`] in any case.
pub trait Lends<V>: Mode {
    #[doc(hidden)]
    fn method<A: 'static, O: 'static>(value: V, method: fn(&V, A) -> O) -> Self::Function<A, O>;
}

impl<V: Send + Sync + 'static> Lends<V> for Threads {
    fn method<A: 'static, O: 'static>(value: V, method: fn(&V, A) -> O) -> Self::Function<A, O> {
        Arc::new(move |argument| method(&value, argument))
    }
}

impl<V: 'static> Lends<V> for Local {
    fn method<A: 'static, O: 'static>(value: V, method: fn(&V, A) -> O) -> Self::Function<A, O> {
        Rc::new(move |argument| method(&value, argument))
    }
}

/// A mode in which this function can look at what happens: [`Threads`] if it is `Send + Sync`, [`Local`] in any case.
#[diagnostic::on_unimplemented(
    message = "the threads of the runtime cannot share this function",
    label = "it is not `Send + Sync`",
    note = "in the mode `Threads`, a function is `Send + Sync`: it holds no `Rc` and no `RefCell`",
    note = "a runtime in the mode `Local` takes any function"
)]
pub trait Observes<F, B: Borrowed>: Mode {
    #[doc(hidden)]
    fn observer(function: F) -> Self::Observer<B>;
}

#[diagnostic::do_not_recommend]
impl<F, B> Observes<F, B> for Threads
where
    F: Fn(&B::For<'_>) + Send + Sync + 'static,
    B: Borrowed,
{
    fn observer(function: F) -> Self::Observer<B> {
        Box::new(function)
    }
}

impl<F, B> Observes<F, B> for Local
where
    F: Fn(&B::For<'_>) + 'static,
    B: Borrowed,
{
    fn observer(function: F) -> Self::Observer<B> {
        Box::new(function)
    }
}
