//! Values that stay on their thread, for interfaces that ask for `Send`.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

thread_local! {
    static VALUES: RefCell<Vec<Option<Rc<dyn Any>>>> = const { RefCell::new(Vec::new()) };
}

/// A value that is kept by the thread that made it, and dropped with this.
pub(super) struct Local<T> {
    index: usize,
    value: PhantomData<fn() -> T>,
}

impl<T: 'static> Local<T> {
    pub(super) fn new(value: T) -> Self {
        let value: Rc<dyn Any> = Rc::new(value);
        let index = VALUES.with_borrow_mut(|values| {
            let free = values.iter().position(Option::is_none);
            let index = free.unwrap_or_else(|| {
                values.push(None);
                values.len() - 1
            });
            values[index] = Some(value);
            index
        });
        Self {
            index,
            value: PhantomData,
        }
    }

    /// Returns the value.
    ///
    /// # Panics
    /// On another thread.
    pub(super) fn get(&self) -> Rc<T> {
        let value = VALUES.with_borrow(|values| values[self.index].clone());
        let value = value.and_then(|value| value.downcast().ok());
        value.expect("a value of this thread")
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        // Dropped behind the borrow, as it may hold others.
        let value = VALUES.try_with(|values| values.borrow_mut()[self.index].take());
        drop(value);
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

/// A future that is polled by the thread that made it.
pub(super) struct LocalFuture(Local<RefCell<Pin<Box<dyn Future<Output = ()>>>>>);

impl LocalFuture {
    pub(super) fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Self(Local::new(RefCell::new(Box::pin(future))))
    }
}

impl Future for LocalFuture {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get().borrow_mut().as_mut().poll(cx)
    }
}
