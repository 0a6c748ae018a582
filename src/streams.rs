//! The standard streams of the process: a log that never delays the node, and streams in non-blocking mode.

use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The most bytes of log that wait for a reader. Lines that do not fit are dropped.
const MAX_QUEUED_BYTES: usize = 1 << 20;

/// The largest single write, in bytes. A pipe accepts a write of this size completely or not at all, so each completed
/// write shows that the reader is making progress.
const PIECE_BYTES: usize = 4 << 10;

/// When the log is dropped, it gives up on a reader that takes nothing for this long.
const READER_TIMEOUT: Duration = Duration::from_millis(500);

/// A log that is written by a thread of its own, so that nobody who writes to it ever waits for its reader.
///
/// Lines keep their order. When the queue is full, lines are dropped until the reader has caught up; then one line says
/// how many were lost. Dropping the log waits until every line is written, or the reader has stopped reading.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// The lines that the thread has not taken yet.
    lines: Vec<u8>,
    /// How many lines were dropped since the queue became full.
    dropped: u64,
    /// Whether the thread is writing what it took.
    is_writing: bool,
    /// How many pieces it has written.
    pieces: u64,
    /// Whether no more lines will come.
    is_closed: bool,
}

impl Log {
    /// Starts the thread that writes to `output`. After `output` fails, all further lines are discarded. Errors: the thread
    /// cannot be started.
    pub fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || of_thread.write_to(output))?;
        Ok(Self { shared })
    }
}

impl Write for Log {
    /// Takes whole lines.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut queue = self.shared.lock();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            queue.push(line);
        }
        self.shared.changed.notify_all();
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.log_dropped();
        queue.is_closed = true;
        self.shared.changed.notify_all();
        while queue.is_writing || !queue.lines.is_empty() {
            let before = queue.pieces;
            let waited = self.shared.changed.wait_timeout(queue, READER_TIMEOUT);
            let timed_out;
            (queue, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            if timed_out.timed_out() && queue.pieces == before {
                return;
            }
        }
    }
}

impl Queue {
    fn push(&mut self, line: &[u8]) {
        if self.dropped > 0 && self.lines.is_empty() {
            self.log_dropped();
        }
        if self.dropped > 0 || self.lines.len() + line.len() > MAX_QUEUED_BYTES {
            self.dropped += 1;
        } else {
            self.lines.extend_from_slice(line);
        }
    }

    fn log_dropped(&mut self) {
        if self.dropped > 0 {
            let count = mem::take(&mut self.dropped);
            let _ = writeln!(
                self.lines,
                "log: {count} lines dropped; nobody read them in time"
            );
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the lines as they come, until there will be no more.
    fn write_to(&self, output: impl Write) {
        let mut output = Some(Blocking(output));
        let mut queue = self.lock();
        loop {
            let lines = mem::take(&mut queue.lines);
            queue.is_writing = !lines.is_empty();
            self.changed.notify_all();
            if lines.is_empty() {
                if queue.is_closed {
                    return;
                }
                let waited = self.changed.wait(queue);
                queue = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            for piece in lines.chunks(PIECE_BYTES) {
                drop(queue);
                if let Some(stream) = &mut output
                    && stream
                        .write_all(piece)
                        .and_then(|()| stream.flush())
                        .is_err()
                {
                    output = None;
                }
                queue = self.lock();
                queue.pieces += 1;
                self.changed.notify_all();
            }
        }
    }
}

/// Makes a stream block, even if a parent process has set it to non-blocking mode.
///
/// std cannot wait for a file to become ready, so it sleeps between tries.
#[derive(Debug)]
pub struct Blocking<S>(pub S);

/// The first and the longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(16));

fn wait_while_blocked<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let (mut pause, longest) = PAUSES;
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(pause);
                pause = longest.min(2 * pause);
            }
            result => return result,
        }
    }
}

impl<S: Read> Read for Blocking<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait_while_blocked(|| self.0.read(buffer))
    }
}

impl<S: Write> Write for Blocking<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        wait_while_blocked(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        wait_while_blocked(|| self.0.flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A stream whose writes wait for a signal from the test.
    struct Gate(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once the sender is dropped, every write succeeds.
            let _ = self.0.recv();
            let mut taken = self.1.lock().unwrap_or_else(PoisonError::into_inner);
            taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Log, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (open, gate) = channel();
        let taken = Arc::default();
        let log = Log::start(Gate(gate, Arc::clone(&taken)));
        (log.expect("a thread starts"), open, taken)
    }

    fn taken(bytes: &Mutex<Vec<u8>>) -> String {
        let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn log_that_is_read_late_is_complete_and_in_order() {
        let (mut log, open, bytes) = gated();
        let lines = (0..1000).fold(String::new(), |lines, number| {
            format!("{lines}line {number}\n")
        });
        for line in lines.split_inclusive('\n') {
            log.write_all(line.as_bytes()).expect("it takes all");
        }
        drop(open);
        drop(log);
        assert_eq!(taken(&bytes), lines);
    }

    #[test]
    fn lines_that_do_not_fit_are_dropped_and_counted() {
        let (mut log, open, bytes) = gated();
        let line = "x".repeat(1023) + "\n";
        for _ in 0..5000 {
            log.write_all(line.as_bytes()).expect("it takes all");
        }
        drop(open);
        drop(log);
        let taken = taken(&bytes);
        let written = taken.lines().filter(|line| line.starts_with('x')).count();
        // What fits into the queue, and what the thread took before it was full.
        assert!((1024..=2048).contains(&written), "{written}");
        let notice = format!(
            "log: {} lines dropped; nobody read them in time",
            5000 - written
        );
        assert_eq!(
            taken
                .lines()
                .filter(|line| !line.starts_with('x'))
                .collect::<Vec<_>>(),
            [notice]
        );
    }

    #[test]
    fn log_that_nobody_reads_does_not_delay_the_end() {
        let (mut log, open, bytes) = gated();
        log.write_all(b"line\n").expect("it takes all");
        drop(log);
        assert_eq!(taken(&bytes), "");
        drop(open);
    }

    #[test]
    fn blocked_stream_is_waited_for() {
        struct Blocked(u32);
        impl Read for Blocked {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 < 10 {
                    Err(ErrorKind::WouldBlock.into())
                } else {
                    Ok(1)
                }
            }
        }
        let mut stream = Blocking(Blocked(0));
        assert_eq!(stream.read(&mut [0]).expect("it is waited for"), 1);
        assert_eq!(stream.0.0, 10);
    }
}
