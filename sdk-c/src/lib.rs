//! The Copo SDK for C.
