//! Takes connections: checks who connected before the first byte is read, and gives each its own task.

use std::rc::Rc;
use std::time::Duration;

use copo_proto::v1::{self, ErrorCode, server_message};
use tracing::{debug, warn};

use super::hub::Hub;
use super::session;
use super::stream::{Listener, Stream, is_exhausted};

/// After how long to try again when the system has no descriptor left for another connection.
const RETRY: Duration = Duration::from_millis(100);

/// Takes connections until the hub closes; each is a task of its own. Runs within a `LocalSet`.
pub async fn serve(listener: Listener, hub: Rc<Hub>) {
    let mut is_exhausted_already = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hub.closed() => return,
        };
        match accepted {
            Ok(stream) => {
                is_exhausted_already = false;
                tokio::task::spawn_local(admit(stream, Rc::clone(&hub)));
            }
            // It stays queued in the kernel until there is a descriptor for it: asking again at once would spin.
            Err(error) if is_exhausted(&error) => {
                if !is_exhausted_already {
                    warn!("cannot take a connection for now: {error}");
                }
                is_exhausted_already = true;
                tokio::time::sleep(RETRY).await;
            }
            // Whoever connected is gone already, or is one we do not know how to take; the next one may be fine.
            Err(error) => {
                debug!("cannot take a connection: {error}");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn admit(stream: Stream, hub: Rc<Hub>) {
    let Some(_place) = hub.take_place() else {
        let message = format!("cannot take the connection: {} are open already", hub.limits().connections);
        return refuse(&stream, ErrorCode::Internal, message).await;
    };
    match stream.check_peer(|uid| hub.has_user(uid)) {
        Ok(guest) => session::run(stream, hub, guest).await,
        Err(why) => {
            debug!("refused a connection: {why}");
            refuse(&stream, ErrorCode::Unauthorized, format!("cannot admit the connection: {why}")).await;
        }
    }
}

/// The last frame of a connection that is not taken.
async fn refuse(stream: &Stream, code: ErrorCode, message: String) {
    let error = v1::Error { code: code.into(), message };
    session::say_last(stream, &[], server_message::Kind::Error(error)).await;
}
