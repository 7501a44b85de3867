//! A connection is taken, or not.

use tokio::net::TcpStream;

use crate::plan::Address;
use crate::runtime::spawn::why;
use crate::supervisor::Answer;

pub(super) async fn ask(address: &Address) -> Answer {
    connect(address).await.map(drop).map_err(|error| format!("tcp {}: {error}", shown(address)))
}

pub(super) async fn connect(address: &Address) -> Result<TcpStream, String> {
    TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|error| why(&error))
}

/// As people write it.
pub(super) fn shown(address: &Address) -> String {
    let Address { host, port } = address;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
