//! Where a repository lies: the address of a folder, read and nothing else.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// The address of a folder on a server: `https://HOST[:PORT]/PATH/`. By `http` too: what comes is verified anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Begins and ends with `/`.
    pub(super) path: String,
}

impl FromStr for Base {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Base, Self::Err> {
        let uri: Uri = text
            .parse()
            .map_err(|_| "it is no address of the form https://HOST/PATH/")?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("an address begins with https:// or http://"),
        };
        if uri.query().is_some() {
            return Err("an address of a folder has no `?`");
        }
        let authority = uri.authority().ok_or("an address has a host")?;
        if authority.as_str().contains('@') {
            return Err("an address holds no user name");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let mut path = uri.path().to_owned();
        if !path.ends_with('/') {
            path.push('/');
        }
        Ok(Base {
            secure,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            path,
        })
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.host_header(), self.path)
    }
}

impl Base {
    /// A folder within it.
    #[must_use]
    pub fn join(&self, name: &str) -> Base {
        Base {
            path: format!("{}{name}/", self.path),
            ..self.clone()
        }
    }

    /// Whether the connection is encrypted.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    pub(super) fn host_header(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        format!("{host}:{}", self.port)
    }
}
