//! `Converge`: copo.toml is read anew, here, where it counts; what to do about it the supervisor decides.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use copo_proto::v1::{self, ErrorCode, response};

use super::error;
use super::hub::Hub;
use super::line::Line;
use crate::config;
use crate::layout::{self, Layout};
use crate::supervisor::Command;

/// Reads the file on another thread, so that a slow disk delays no record, and hands on the plan.
pub(super) fn converge(hub: &Rc<Hub>, line: &Rc<Line>, id: u64, request: v1::Converge) {
    let (hub, line) = (Rc::clone(hub), Rc::clone(line));
    tokio::task::spawn_local(async move {
        let v1::Converge { config_path, names, dry_run } = request;
        let loaded = match check_path(&hub, &config_path) {
            Ok(()) => load(config_path, dry_run).await,
            Err(error) => Err(error),
        };
        let command = loaded.map(|plan| Command::Converge { plan: Arc::new(plan), names, dry_run });
        if let Err(error) = command.and_then(|command| hub.command(&line, id, command)) {
            line.respond(id, response::Kind::Error(error));
        }
    });
}

/// One application has one copo.toml as long as it is up.
fn check_path(hub: &Hub, config_path: &str) -> Result<(), v1::Error> {
    let status = hub.status();
    if config_path == status.config_path {
        return Ok(());
    }
    let (application, pid, own) = (status.application, status.pid, status.config_path);
    let message = format!("cannot start {application}: it is already running (pid {pid}) from another file, {own}");
    Err(error(ErrorCode::Conflict, message))
}

async fn load(config_path: String, dry_run: bool) -> Result<crate::plan::Plan, v1::Error> {
    let load = move || {
        let home = layout::home().map_err(|why| why.to_string())?;
        let path = PathBuf::from(config_path);
        let plan = config::load(&path, &home).map_err(|why| why.to_string())?;
        let copied = if dry_run { Ok(()) } else { config::keep_copy(&path, &Layout::new(&home, &plan.application)) };
        if let Err(error) = copied {
            tracing::warn!("cannot copy {}: {error}", path.display());
        }
        Ok(plan)
    };
    let loaded = tokio::task::spawn_blocking(load).await.unwrap_or_else(|why| Err(why.to_string()));
    loaded.map_err(|why| error(ErrorCode::InvalidArgument, why))
}
