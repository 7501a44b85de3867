//! The server as a raw client sees it.
