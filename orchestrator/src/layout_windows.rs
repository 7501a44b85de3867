//! What names a Windows user's pipes.

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::windows_user;

/// 16 hex digits of SHA-256(user SID + absolute COPO_HOME): pipes have one name space for all users of a machine, so
/// what makes an application's pipe its own stands in the name.
///
/// # Panics
///
/// When Windows does not tell who runs this process; without that no pipe has a name.
pub fn owner_hash(home: &Path) -> String {
    let sid = windows_user::own_sid().unwrap_or_else(|why| panic!("cannot ask Windows for this process's user: {why}"));
    let home = std::path::absolute(home).unwrap_or_else(|_| home.to_owned());
    let digest =
        Sha256::new().chain_update(sid.as_bytes()).chain_update(home.as_os_str().as_encoded_bytes()).finalize();
    digest[..8].iter().fold(String::with_capacity(16), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // Writing to a String cannot fail.
        hex
    })
}
