//! Secrets at rest: AES-256-GCM under a key ring.
//!
//! A sealed secret is `version (1) | length of kid | kid | nonce (12) | ciphertext and tag`. Its place (workspace, id,
//! field) is associated data, so that a row copied to another tenant, or a column to another, does not open.

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead, KeyInit, Payload},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::WorkspaceId;
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::Error;

const VERSION: u8 = 1;

/// Seals with the newest key and opens with any of the ring's.
#[derive(Clone)]
pub struct Sealer {
    keys: Vec<(String, Aes256Gcm)>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(kid, _)| kid)).finish()
    }
}

impl Sealer {
    /// Reads a key ring: `kid:<32 bytes in base64>`, newest first, separated by commas or lines.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it, without quoting keys.
    pub fn parse(ring: &SecretString) -> Result<Self, String> {
        let entries =
            ring.expose_secret().split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        let keys = entries
            .map(|entry| {
                let (kid, key) = entry.split_once(':').ok_or("each key is written kid:base64")?;
                if kid.is_empty() || kid.len() > 64 {
                    return Err("a kid has 1 to 64 bytes".to_owned());
                }
                let bytes = STANDARD.decode(key).map_err(|_| format!("the key {kid} is not base64"))?;
                let cipher = Aes256Gcm::new_from_slice(&bytes)
                    .map_err(|_| format!("the key {kid} has not 32 bytes"))?;
                Ok((kid.to_owned(), cipher))
            })
            .collect::<Result<Vec<_>, String>>()?;
        if keys.is_empty() { Err("it holds no key".to_owned()) } else { Ok(Self { keys }) }
    }

    /// Makes a ring of one fresh key.
    pub fn fresh_ring() -> SecretString {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        format!("k1:{}\n", STANDARD.encode(key)).into()
    }

    /// Seals a secret for its place.
    pub fn seal(
        &self,
        workspace: WorkspaceId,
        id: Uuid,
        field: &str,
        secret: &SecretString,
    ) -> Result<Vec<u8>, Error> {
        let (kid, cipher) = &self.keys[0];
        let mut nonce = [0; 12];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &place(workspace, id, field) };
        let sealed =
            cipher.encrypt((&nonce).into(), payload).map_err(|_| Error::Sealing("encryption failed"))?;
        let mut out = vec![VERSION, u8::try_from(kid.len()).unwrap_or(u8::MAX)];
        out.extend(kid.as_bytes());
        out.extend(nonce);
        out.extend(sealed);
        Ok(out)
    }

    /// Opens a secret at its place.
    pub fn open(
        &self,
        workspace: WorkspaceId,
        id: Uuid,
        field: &str,
        sealed: &[u8],
    ) -> Result<SecretString, Error> {
        let broken = || Error::Sealing("it is cut short");
        let (&[version, length], rest) = sealed.split_first_chunk::<2>().ok_or_else(broken)?;
        if version != VERSION {
            return Err(Error::Sealing("its version is unknown"));
        }
        let (kid, rest) = rest.split_at_checked(usize::from(length)).ok_or_else(broken)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<12>().ok_or_else(broken)?;
        let (_, cipher) = self
            .keys
            .iter()
            .find(|(known, _)| known.as_bytes() == kid)
            .ok_or(Error::Sealing("the key ring lacks its key"))?;
        let payload = Payload { msg: ciphertext, aad: &place(workspace, id, field) };
        let bytes =
            cipher.decrypt(nonce.into(), payload).map_err(|_| Error::Sealing("it is not from this place"))?;
        String::from_utf8(bytes).map(Into::into).map_err(|_| broken())
    }
}

fn place(workspace: WorkspaceId, id: Uuid, field: &str) -> Vec<u8> {
    format!("switchboard/{workspace}/{id}/{field}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_at_its_own_place_only() {
        let sealer = Sealer::parse(&Sealer::fresh_ring()).unwrap();
        let (workspace, id) = (WorkspaceId(Uuid::from_u128(1)), Uuid::from_u128(2));
        let sealed = sealer.seal(workspace, id, "token", &"top".to_owned().into()).unwrap();
        assert_eq!(sealer.open(workspace, id, "token", &sealed).unwrap().expose_secret(), "top");
        assert!(sealer.open(WorkspaceId(Uuid::from_u128(3)), id, "token", &sealed).is_err());
        assert!(sealer.open(workspace, Uuid::from_u128(3), "token", &sealed).is_err());
        assert!(sealer.open(workspace, id, "other", &sealed).is_err());
        assert!(Sealer::parse(&Sealer::fresh_ring()).unwrap().open(workspace, id, "token", &sealed).is_err());
        for cut in 0..sealed.len() {
            assert!(sealer.open(workspace, id, "token", &sealed[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn an_older_key_still_opens_and_bad_rings_are_explained() {
        let (old, new) = (Sealer::fresh_ring(), Sealer::fresh_ring());
        let (workspace, id) = (WorkspaceId(Uuid::from_u128(1)), Uuid::from_u128(2));
        let sealed =
            Sealer::parse(&old).unwrap().seal(workspace, id, "token", &"x".to_owned().into()).unwrap();
        let both = format!("k2:{}{}", new.expose_secret().trim_start_matches("k1:"), old.expose_secret());
        assert!(Sealer::parse(&both.into()).unwrap().open(workspace, id, "token", &sealed).is_ok());
        for ring in ["", "k1", "k1:%%", "k1:AAAA", ":AAAA"] {
            assert!(Sealer::parse(&ring.to_owned().into()).is_err(), "{ring}");
        }
    }
}
