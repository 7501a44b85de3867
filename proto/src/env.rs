//! The environment a child of the orchestrator is given.

/// Path of the Server (a Unix domain socket, or the name of a Windows named pipe).
pub const SOCKET: &str = "COPO_SOCKET";
/// Name of the application.
pub const APPLICATION: &str = "COPO_APPLICATION";
/// Internal name of the process, `<name>-<n>`.
pub const PROCESS: &str = "COPO_PROCESS";
/// RunId of this run.
pub const RUN: &str = "COPO_RUN";
/// The secret that proves to belong to this run.
pub const TOKEN: &str = "COPO_TOKEN";
/// For a cron run: the time it was scheduled for, microseconds since the Unix epoch.
pub const SCHEDULED_TIME: &str = "COPO_SCHEDULED_TIME";
/// The folder that holds everything Copo keeps; the only one of these that a child inherits.
pub const HOME: &str = "COPO_HOME";
