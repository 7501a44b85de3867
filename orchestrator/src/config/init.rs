//! The copo.toml that `copo init` writes.

/// A copo.toml to begin with: it loads and runs as it is, and shows the rest in comments.
pub const STARTER: &str = r##"# What `copo up` runs. All keys: `copo schema`.

application = "hello"

# The context: what the processes publish, in one order, kept and replayable.
[context]
# headers    = ["station", "celsius"]   # names of the fields of a record
# durability = "crash"                  # memory | crash | power
# retain     = { records = 1_000_000, bytes = "256MiB", age = "7d" }

# A process that runs as long as the application does. With restart = "always" it also comes back after a success.
[process.greeter]
executable_path = "sh"                  # found on PATH; with a slash it is relative to this file
args            = ["-c", "while :; do copo udd send 'hello, world'; sleep 1; done"]

# A process that starts when the greeter is ready, and prints what it publishes.
[process.listener]
executable_path = "copo"
args            = ["udd", "tail"]
depends_on      = ["greeter"]

# A script of one's own: file_path is its first argument.
# [process.clean]
# executable_path = "python3"
# file_path       = "clean.py"
# depends_on      = [{ process = "greeter", condition = "started" }]
# env             = { LANG = "C.UTF-8" }
# restart         = "on_failure"

# At a time of day.
# [process.daily]
# executable_path    = "node"
# file_path          = "daily.mjs"
# trigger_type       = "cron"
# trigger_definition = "0 6 * * *"
# timezone           = "Europe/Vienna"

# When another has finished.
# [process.publish]
# executable_path    = "./publish"
# depends_on         = ["daily"]
# trigger_type       = "dependence_finish"
# trigger_definition = "succeeded"      # or failed, finished

# When somebody asks: `copo trigger backup`.
# [process.backup]
# executable_path = "./backup"
# trigger_type    = "manual"
"##;
