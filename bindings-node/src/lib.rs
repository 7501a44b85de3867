//! The native addon of the Copo SDK for Node.
