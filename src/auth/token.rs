//! Secrets that open something: an API key, a confirmation link. Whoever holds one may do what it stands for.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::CryptoRng;
use sha2::{Digest, Sha256};

/// Bytes of a token: 256 bits cannot be guessed.
const TOKEN_BYTES: usize = 32;

/// A new token, in characters that need no escaping in a URL or a header.
pub fn new(random: &mut impl CryptoRng) -> String {
    let mut bytes = [0; TOKEN_BYTES];
    random.fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What is stored of a token: it cannot be turned back into it. The token is random and long, so it needs neither salt
/// nor a slow hash.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_256_bits_and_new_each_time() {
        let (first, second) = (new(&mut rand::rng()), new(&mut rand::rng()));
        assert_eq!(URL_SAFE_NO_PAD.decode(&first).expect("base64url").len(), TOKEN_BYTES);
        assert_ne!(first, second);
        assert_ne!(hash(&first), hash(&second));
    }
}
