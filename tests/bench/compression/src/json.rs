//! The messages: JSON as services send it, records of one kind with values that differ, always the same ones.

/// Takes one after the other, and then from the start.
pub struct Rounds<T> {
    all: Vec<T>,
    next: usize,
}

impl<T> Rounds<T> {
    pub fn of<M: Into<T>>(all: Vec<M>) -> Self {
        Self {
            all: all.into_iter().map(Into::into).collect(),
            next: 0,
        }
    }

    pub fn turn(&mut self) -> &T {
        let at = self.next;
        self.next = (at + 1) % self.all.len();
        &self.all[at]
    }
}

/// Messages of exactly this many bytes.
#[must_use]
pub fn messages(size: usize) -> Vec<String> {
    let mut numbers = Numbers(0x6a73_6f6e);
    (0..256).map(|id| message(&mut numbers, id, size)).collect()
}

fn message(numbers: &mut Numbers, id: u32, size: usize) -> String {
    let mut text = format!(
        r#"{{"type":"snapshot","sequence":{},"records":["#,
        48_112_000 + id
    );
    loop {
        let record = record(numbers);
        // What is left over becomes the text of a last field.
        if text.len() + record.len() + 32 > size {
            break;
        }
        text += &record;
    }
    text += r#"{}],"note":""#;
    let rest = size - text.len() - 2;
    text.extend((0..rest).map(|_| numbers.of(&['a', 'e', 'i', 'n', 'r', 's', 't', ' '])));
    text + r#""}"#
}

fn record(numbers: &mut Numbers) -> String {
    let user = numbers.of(&["maria", "björn", "li.wei", "samir", "o.brien", "yuki"]);
    let symbol = numbers.of(&["BTC-USD", "ETH-USD", "SOL-EUR", "ADA-EUR"]);
    let side = numbers.of(&["buy", "sell"]);
    let state = numbers.of(&["open", "filled", "cancelled", "partially_filled"]);
    let (order, price) = (numbers.below(1 << 32), numbers.below(9_000_000));
    let (cents, amount, time) = (
        price % 100,
        numbers.below(500_000),
        numbers.below(86_400_000),
    );
    format!(
        r#"{{"order_id":"{order:08x}","user":"{user}","symbol":"{symbol}","side":"{side}","price":{}.{cents:02},"amount":0.{amount:06},"state":"{state}","timestamp":{},"post_only":{}}},"#,
        price / 100,
        1_767_225_600_000_u64 + time,
        amount % 3 == 0,
    )
}

/// Marsaglia's xorshift.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
