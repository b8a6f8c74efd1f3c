//! SIGINT and SIGTERM. The first asks a run to stop after what is in flight;
//! a second one ends the process at once. They are listened to on a thread of
//! their own, because a run may be busy, or on a virtual clock.

use std::sync::mpsc;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::oneshot;

use crate::error::Exit;
use crate::execute::run::Signal;

/// Listens from now on. The future ends with the first signal; where signals
/// cannot be had it never ends, and they keep their default meaning.
pub(super) fn listen() -> impl Future<Output = Signal> + Send + 'static {
    let (first, received) = oneshot::channel();
    // Without the thread the sender is gone, and nobody waits for a signal.
    let (listening, listens) = mpsc::channel();
    let spawned =
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || thread(first, &listening));
    if spawned.is_ok() {
        // A signal that comes right after this call must find the listener. An error: it ended.
        let _ = listens.recv();
    }
    async move {
        match received.await {
            Ok(signal) => signal,
            Err(_) => std::future::pending().await,
        }
    }
}

fn thread(first: oneshot::Sender<Signal>, listening: &mpsc::Sender<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    runtime.block_on(async {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        let _ = listening.send(());
        let signal = next(&mut interrupt, &mut terminate).await;
        if first.send(signal).is_ok() {
            next(&mut interrupt, &mut terminate).await;
        }
        // A second signal, or one that comes when nothing is left to stop.
        end(signal);
    });
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
    let exit = match signal {
        Signal::Interrupt => Exit::Interrupted,
        Signal::Terminate => Exit::Terminated,
    };
    std::process::exit(exit.code().into());
}
