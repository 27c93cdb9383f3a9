//! `[archive]` and `[long_term]`: a directory, or a bucket of an S3-compatible store.

use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

use super::masked;

const SCHEMES: &str = "must be a directory, file:///directory or s3://bucket/prefix";

/// Where objects are kept, and what opens it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// A directory, made when it is missing, or `s3://bucket/prefix`.
    pub url: String,
    /// Where the store is, when it is not AWS: `https://host:port`. Only one that says `http` is spoken to without TLS.
    #[serde(serialize_with = "masked::url")]
    pub endpoint: String,
    /// The bucket's region.
    pub region: String,
    /// Empty: what AWS's own tools would find in the environment, or the role of the machine.
    pub access_key_id: String,
    /// Comes with `access_key_id`.
    pub secret_access_key: Secret,
}

/// Something that must not be told, in logs least of all.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    /// Nothing of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Serialize for Secret {
    /// Only whether there is one.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { masked::MASK })
    }
}

/// Where objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket.
    Bucket {
        /// Its name.
        name: String,
        /// What the names of all objects begin with; may be empty.
        prefix: String,
    },
}

impl Archive {
    /// What the URL says, or what is allowed.
    pub fn place(&self) -> Result<Place, &'static str> {
        match self.url.split_once("://") {
            None if self.url.is_empty() => Err(SCHEMES),
            None => Ok(Place::Directory(self.url.as_str().into())),
            Some(("file", path)) if path.starts_with('/') => Ok(Place::Directory(path.into())),
            Some(("s3", rest)) => {
                let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if name.is_empty() {
                    return Err(SCHEMES);
                }
                Ok(Place::Bucket { name: name.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
            }
            Some(_) => Err(SCHEMES),
        }
    }

    /// Whether one of key id and key is there and the other is not.
    pub(super) fn has_half_a_key(&self) -> bool {
        self.access_key_id.is_empty() != self.secret_access_key.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_directory_or_a_bucket() {
        let archive = |url: &str| Archive {
            url: url.to_owned(),
            endpoint: String::new(),
            region: String::new(),
            access_key_id: String::new(),
            secret_access_key: Secret(String::new()),
        };
        let bucket =
            |name: &str, prefix: &str| Ok(Place::Bucket { name: name.to_owned(), prefix: prefix.to_owned() });
        for url in ["archive", "/var/lib/archive", "../s3:archive"] {
            assert_eq!(archive(url).place(), Ok(Place::Directory(url.into())));
        }
        assert_eq!(
            archive("file:///var/lib/archive").place(),
            Ok(Place::Directory("/var/lib/archive".into()))
        );
        assert_eq!(archive("s3://bucket").place(), bucket("bucket", ""));
        assert_eq!(archive("s3://bucket/").place(), bucket("bucket", ""));
        assert_eq!(archive("s3://bucket/a/b/").place(), bucket("bucket", "a/b"));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret("key".to_owned())), "…");
    }
}
