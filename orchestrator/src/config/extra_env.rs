//! `secrets`, `secret_file` and `port`: what they say, and what they mean.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

use super::at::{At, Entries};
use super::error::bare;
use super::process::{OWN_VARIABLES, Reader};
use crate::plan::{ExtraEnv, Port};

/// The variable a port is given in, unless another is named.
const PORT: &str = "PORT";

/// `port` as written.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
#[schemars(rename = "Port")]
pub(super) enum RawPort {
    /// Any free one, or none at all.
    Any(bool),
    /// The first that is free from this one on.
    From(u16),
    /// With the name of its variable.
    Named(RawNamedPort),
}

/// A port and the variable it is given in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "NamedPort")]
pub(super) struct RawNamedPort {
    /// The variable.
    #[schemars(extend("default" = "PORT"))]
    pub env: Option<String>,
    /// The first that is free from this one on; any, when it is not said.
    pub base: Option<u16>,
}

/// By hand, since serde's own untagged enums forget where in the file an error is.
impl<'de> Deserialize<'de> for RawPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortVisitor)
    }
}

struct PortVisitor;

impl<'de> Visitor<'de> for PortVisitor {
    type Value = RawPort;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, a number from 1 to 65535, or a table { env, base }")
    }

    fn visit_bool<E: Error>(self, any: bool) -> Result<Self::Value, E> {
        Ok(RawPort::Any(any))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        port.map(RawPort::From).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        RawNamedPort::deserialize(MapAccessDeserializer::new(map)).map(RawPort::Named)
    }
}

impl Reader<'_> {
    /// Beside what `env` sets, which no other key may set too.
    pub(super) fn extra_env(
        &mut self,
        secrets: Vec<At<String>>,
        secret_file: Entries<At<String>>,
        port: Option<At<RawPort>>,
        env: &BTreeMap<String, String>,
    ) -> ExtraEnv {
        let mut names = BTreeSet::new();
        for name in secrets {
            if self.is_name("secrets", &name) && !names.insert(name.value.clone()) {
                self.refuse("secrets", &name, &format!("{:?} stands there already", name.value));
            }
        }
        let mut secret_files = BTreeMap::new();
        for (name, file) in secret_file.0 {
            let key = format!("secret_file.{}", bare(&name.value));
            if !self.is_name("secret_file", &name) {
            } else if env.contains_key(&name.value) {
                self.refuse(&key, &name, "env sets it too");
            } else if let Some(path) = self.path(&key, &file) {
                secret_files.insert(name.value, path);
            }
        }
        let port = port.and_then(|port| self.port(&port));
        if let Some((at, port)) = &port
            && (env.contains_key(&port.env) || secret_files.contains_key(&port.env))
        {
            self.refuse("port", at, &format!("{} is set by another key too", port.env));
        }
        ExtraEnv { secrets: names, secret_files, port: port.map(|(_, port)| port) }
    }

    fn port(&mut self, raw: &At<RawPort>) -> Option<(At<()>, Port)> {
        let at = At { span: raw.span.clone(), value: () };
        let port = match &raw.value {
            RawPort::Any(false) => return None,
            RawPort::Any(true) => Port { env: PORT.to_owned(), base: None },
            RawPort::From(base) => Port { env: PORT.to_owned(), base: Some(*base) },
            RawPort::Named(RawNamedPort { env, base }) => {
                Port { env: env.clone().unwrap_or_else(|| PORT.to_owned()), base: *base }
            }
        };
        if port.base == Some(0) {
            self.refuse("port.base", &at, "0 is no port; without base it is any that is free");
        }
        let name = At { span: raw.span.clone(), value: port.env.clone() };
        self.is_name("port", &name).then_some((at, port))
    }

    /// A name of a variable that may be set; told when it is none.
    fn is_name(&mut self, key: &str, name: &At<String>) -> bool {
        if OWN_VARIABLES.contains(&name.value.as_str()) {
            self.refuse(key, name, &format!("copo itself sets {} for every run", name.value));
            return false;
        }
        let is_name = !name.value.is_empty() && !name.value.contains(['=', '\0']);
        if !is_name {
            self.refuse(key, name, &format!("{:?} is no name of a variable", name.value));
        }
        is_name
    }
}
