//! How much one task may do before it lets others run (D3).

/// What a task may still do before it yields.
///
/// A chain of operations that are all ready at once would never return to the executor. Each of them
/// spends from the budget; once it is spent, one operation wakes its task and returns `Pending`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// In bytes; negative once it is spent.
    left: i64,
}

impl Budget {
    /// Bytes that may be moved between two yields.
    const FULL: i64 = 256 << 10;
    /// What a message costs beside its bytes: 256 of them are a full budget.
    const MESSAGE: i64 = Self::FULL / 256;
    /// What a call of the transport costs beside its bytes: 64 of them are a full budget. A system call
    /// takes longer than many small messages; and an executor may let tens of tasks run, each with a
    /// full budget, before it looks at its timers (tokio: 61).
    const CALL: i64 = Self::FULL / 64;

    pub(crate) const fn full() -> Self {
        Self { left: Self::FULL }
    }

    /// Whether the task has to yield.
    #[inline]
    pub(crate) const fn is_spent(self) -> bool {
        self.left < 0
    }

    /// Spends one message. Returns whether it was within the budget.
    #[inline]
    pub(crate) const fn spend_message(&mut self) -> bool {
        self.left = self.left.wrapping_sub(Self::MESSAGE);
        self.left >= 0
    }

    /// Spends one call of the transport that moved `bytes`.
    #[inline]
    pub(crate) const fn spend_call(&mut self, bytes: usize) {
        // No call moves more than fits. A budget that is spent is refilled before it could wrap.
        self.left = self
            .left
            .wrapping_sub(Self::CALL.wrapping_add(bytes as i64));
    }

    /// Spends what was spent of a full budget.
    #[inline]
    pub(crate) const fn spend_as(&mut self, other: Self) {
        let spent = Self::FULL.wrapping_sub(other.left);
        self.left = self.left.wrapping_sub(spent);
    }

    /// The task has yielded or waits: the next poll starts with a full budget.
    #[inline]
    pub(crate) const fn refill(&mut self) {
        self.left = Self::FULL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_256_messages() {
        let mut budget = Budget::full();
        assert!((0..256).all(|_| budget.spend_message()));
        assert!(!budget.is_spent());
        assert!(!budget.spend_message());
        assert!(budget.is_spent());
        budget.refill();
        assert!(!budget.is_spent());
    }

    #[test]
    fn a_budget_is_256_kib() {
        let mut budget = Budget::full();
        budget.spend_call((252 << 10) - 1);
        assert!(!budget.is_spent());
        budget.spend_call(1);
        assert!(budget.is_spent());
        budget.spend_call(1 << 40);
        assert!(budget.is_spent());
    }
}
