//! Where text ends up: the process' streams, or memory in tests.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A stream to write to.
#[derive(Debug, Clone)]
pub(crate) enum Sink {
    /// Data.
    Stdout,
    /// Talk.
    Stderr,
    /// What a test looks at.
    #[cfg(test)]
    Memory(std::sync::Arc<Mutex<Vec<u8>>>),
}

impl Sink {
    /// Writes all of `text` at once. A reader that went away is no error.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let written = match self {
            Self::Stdout => all(&mut io::stdout().lock(), text),
            Self::Stderr => all(&mut io::stderr().lock(), text),
            #[cfg(test)]
            Self::Memory(bytes) => all(&mut *lock(bytes), text),
        };
        written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
    }

    /// Writes talk. Nobody is left to tell when that fails.
    pub(crate) fn say(&self, text: &str) {
        drop(self.write(text));
    }

    /// A stream that only remembers.
    #[cfg(test)]
    pub(crate) fn memory() -> Self {
        Self::Memory(std::sync::Arc::default())
    }

    /// What was written to a stream in memory.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Stdout | Self::Stderr => String::new(),
            Self::Memory(bytes) => String::from_utf8(lock(bytes).clone()).unwrap(),
        }
    }
}

fn all(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// Locks, also after another thread panicked: half a line is better than none.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_broken_pipe_is_told_apart() {
        assert_eq!(all(&mut Gone, "x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let sink = Sink::memory();
        sink.write("x").unwrap();
        assert_eq!(sink.text(), "x");
    }
}
