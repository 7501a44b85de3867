//! Another boot of the machine: what was only in the kernel's memory cannot be proven to be there.
#![cfg(target_os = "linux")]

use std::process::Command;

use copo::{From, Item, SubscribeOptions};
use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, build, eventually};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// `copo up -d` as on another boot of this machine; false where that cannot be pretended.
fn up_on_another_boot(app: &App) -> bool {
    app.write("boot", "00000000-0000-4000-8000-000000000000\n");
    let script = format!("mount --bind boot {BOOT_ID} && exec \"$0\" \"$@\"");
    let inside = |args: &[&std::ffi::OsStr]| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &script]).args(args).current_dir(app.folder()).env("COPO_HOME", app.home());
        for (name, _) in app.command(&[]).get_envs().filter(|(_, value)| value.is_none()) {
            command.env_remove(name);
        }
        command.output()
    };
    if !inside(&["true".as_ref()]).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no file can be mounted over another here");
        return false;
    }
    let up = inside(&[build::copo().as_os_str(), "up".as_ref(), "-d".as_ref()]).expect("unshare can be run");
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    true
}

fn log_id(app: &App) -> Vec<u8> {
    app.follow(&SubscribeOptions::default()).log_id()
}

#[test]
fn after_a_crash_of_the_machine_the_log_is_another_one_and_after_a_clean_stop_the_same() {
    let app = App::new("");
    app.up();
    app.client("t").udd_send_sync(b"one").expect("it is taken");
    let first = log_id(&app);
    app.down();
    if !up_on_another_boot(&app) {
        return;
    }
    assert_eq!(log_id(&app), first, "it was stopped cleanly");
    let pid = app.orchestrator_pid();
    kill_9(app.keeper_pid());
    kill_9(pid);
    eventually("it is gone", || !is_alive(pid));
    app.up();
    assert_ne!(log_id(&app), first, "what the killed one wrote last may never have come to the disk");
    let options = SubscribeOptions::default().from(From::Seq(2)).log_id(first).no_follow();
    let items = copo_tests::data::all_of(app.follow(&options));
    assert!(matches!(&items[0], Item::Gap(gap) if gap.cause() == copo::v1::gap::Cause::LogReplaced), "{items:?}");
}
