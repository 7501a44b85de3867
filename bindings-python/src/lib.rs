//! The native module copo._copo of the Copo SDK for Python.
