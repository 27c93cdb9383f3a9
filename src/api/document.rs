//! The OpenAPI document.

/// The document as YAML.
pub fn yaml() -> Result<String, std::fmt::Error> {
    Ok(String::new())
}
