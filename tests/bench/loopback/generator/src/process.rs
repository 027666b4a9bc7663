//! What a process has used, from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

use crate::Result;

/// Returns the time on a processor of all threads that live. That of a thread that has ended is gone.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        match fs::read_to_string(task?.path().join("schedstat")) {
            Ok(text) => nanoseconds += first_number(&text)?,
            Err(error) if ended(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The thread has ended since its name was read: `ENOENT`, or `ESRCH`.
fn ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3)
}

/// Returns the bytes of memory that are resident. `smaps_rollup` counts exactly, `status` does not.
pub fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    Ok(first_number(line.ok_or("smaps_rollup says nothing of Rss")?)? * 1024)
}

fn first_number(text: &str) -> Result<u64> {
    let word = text.split_whitespace().next().ok_or("no number")?;
    Ok(word.parse()?)
}
