//! SIGINT and SIGTERM. The first asks a run to stop after what is in flight;
//! a second one ends the process at once. They are listened to on a thread of
//! their own, because a run may be busy, or on a virtual clock.

use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::oneshot;

use crate::error::Exit;
use crate::execute::run::Signal;

/// Who is told of the next signal; none: it ends the process. Whoever listened last takes the place of who did before.
static LISTENER: Mutex<Option<oneshot::Sender<Signal>>> = Mutex::new(None);

/// Whether there is a thread that hears signals.
static HEARD: OnceLock<bool> = OnceLock::new();

/// Listens from now on. The future ends with the first signal; where signals
/// cannot be had it never ends, and they keep their default meaning.
pub(super) fn listen() -> impl Future<Output = Signal> + Send + 'static {
    let (first, received) = oneshot::channel();
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(first);
    HEARD.get_or_init(|| {
        let (listening, listens) = mpsc::channel();
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || thread(&listening));
        // A signal that comes right after this call must find the listener. An error: it ended.
        thread.is_ok() && listens.recv().is_ok()
    });
    async move {
        match received.await {
            Ok(signal) => signal,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Work that only looks: a signal drops it, with the connections and folders that it holds.
pub(super) async fn or_stop<T>(work: impl Future<Output = T>) -> Result<T, Exit> {
    tokio::select! {
        biased;
        signal = listen() => Err(exit(signal)),
        done = work => Ok(done),
    }
}

fn thread(listening: &mpsc::Sender<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    runtime.block_on(async {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        let _ = listening.send(());
        loop {
            let signal = next(&mut interrupt, &mut terminate).await;
            let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take();
            // A second signal, or one that comes when nothing is left to stop.
            if listener.is_none_or(|listener| listener.send(signal).is_err()) {
                end(signal);
            }
        }
    });
}

/// How a process ends because of a signal.
pub(super) fn exit(signal: Signal) -> Exit {
    match signal {
        Signal::Interrupt => Exit::Interrupted,
        Signal::Terminate => Exit::Terminated,
    }
}

async fn next(interrupt: &mut Stream, terminate: &mut Stream) -> Signal {
    tokio::select! {
        biased;
        _ = interrupt.recv() => Signal::Interrupt,
        _ = terminate.recv() => Signal::Terminate,
    }
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "at once, whatever the other threads do")]
fn end(signal: Signal) {
    std::process::exit(exit(signal).code().into());
}
