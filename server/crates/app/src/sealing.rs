//! Secrets at rest: AES-256-GCM under a key ring.
//!
//! A sealed secret is `version (1) | length of kid | kid | nonce (12) | ciphertext and tag`. Its place (workspace, id,
//! field) is associated data, so that a row copied to another tenant, or a column to another, does not open.
//!
//! An integration's credentials are sealed in an envelope: with a key of their own, and that key with the ring's. When the
//! ring gets a newer key, only the small wrapped keys are sealed anew ([`crate::jobs::rewrap_secrets`]).

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead, KeyInit, Payload},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::WorkspaceId;
use rand::Rng;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use uuid::Uuid;

use crate::Error;

/// What the ring's keys seal begins with this.
const BY_RING: u8 = 1;
/// What a row's own key seals begins with this.
const BY_DATA_KEY: u8 = 2;

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
        for (at, (kid, _)) in keys.iter().enumerate() {
            if keys[..at].iter().any(|(known, _)| known == kid) {
                return Err(format!("the key {kid} is there twice"));
            }
        }
        if keys.is_empty() { Err("it holds no key".to_owned()) } else { Ok(Self { keys }) }
    }

    /// Makes a ring of one fresh key.
    pub fn fresh_ring() -> SecretString {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        format!("k1:{}\n", STANDARD.encode(key)).into()
    }

    /// The id of the key that seals.
    pub fn newest(&self) -> &str {
        &self.keys[0].0
    }

    /// Seals a secret for its place.
    pub fn seal(
        &self,
        workspace: WorkspaceId,
        id: Uuid,
        field: &str,
        secret: &SecretString,
    ) -> Result<Vec<u8>, Error> {
        self.seal_bytes(secret.expose_secret().as_bytes(), &place(workspace, id, field))
    }

    /// Opens a secret at its place.
    pub fn open(
        &self,
        workspace: WorkspaceId,
        id: Uuid,
        field: &str,
        sealed: &[u8],
    ) -> Result<SecretString, Error> {
        text(&self.open_bytes(sealed, &place(workspace, id, field))?)
    }

    /// Seals anew, with the newest key, what any key of the ring has sealed.
    pub fn reseal(
        &self,
        workspace: WorkspaceId,
        id: Uuid,
        field: &str,
        sealed: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let place = place(workspace, id, field);
        self.seal_bytes(&self.open_bytes(sealed, &place)?, &place)
    }

    /// Makes a row's own key, and gives it sealed, too.
    pub fn fresh_data_key(
        &self,
        workspace: WorkspaceId,
        id: Uuid,
        field: &str,
    ) -> Result<(DataKey, Vec<u8>), Error> {
        let mut key = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(key.as_mut_slice());
        let sealed = self.seal_bytes(key.as_slice(), &place(workspace, id, field))?;
        Ok((DataKey::new(key.as_slice())?, sealed))
    }

    /// Opens a row's own key at its place.
    pub fn open_data_key(
        &self,
        workspace: WorkspaceId,
        id: Uuid,
        field: &str,
        sealed: &[u8],
    ) -> Result<DataKey, Error> {
        DataKey::new(&self.open_bytes(sealed, &place(workspace, id, field))?)
    }

    fn seal_bytes(&self, secret: &[u8], place: &[u8]) -> Result<Vec<u8>, Error> {
        let (kid, cipher) = &self.keys[0];
        let mut out = vec![BY_RING, u8::try_from(kid.len()).unwrap_or(u8::MAX)];
        out.extend(kid.as_bytes());
        encrypt(cipher, secret, place, out)
    }

    fn open_bytes(&self, sealed: &[u8], place: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (&[version, length], rest) = sealed.split_first_chunk::<2>().ok_or_else(cut_short)?;
        if version != BY_RING {
            return Err(Error::Sealing("its version is unknown"));
        }
        let (kid, rest) = rest.split_at_checked(usize::from(length)).ok_or_else(cut_short)?;
        let (_, cipher) = self
            .keys
            .iter()
            .find(|(known, _)| known.as_bytes() == kid)
            .ok_or_else(|| Error::KeyMissing(String::from_utf8_lossy(kid).into_owned()))?;
        decrypt(cipher, rest, place)
    }
}

/// A row's own key. What it seals is `version (2) | nonce (12) | ciphertext and tag`.
pub struct DataKey(Aes256Gcm);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(…)")
    }
}

impl DataKey {
    fn new(key: &[u8]) -> Result<Self, Error> {
        Aes256Gcm::new_from_slice(key).map(Self).map_err(|_| Error::Sealing("a data key has not 32 bytes"))
    }

    /// Seals a secret for its place.
    pub fn seal(
        &self,
        workspace: WorkspaceId,
        id: Uuid,
        field: &str,
        secret: &SecretString,
    ) -> Result<Vec<u8>, Error> {
        let Self(cipher) = self;
        encrypt(cipher, secret.expose_secret().as_bytes(), &place(workspace, id, field), vec![BY_DATA_KEY])
    }

    /// Opens a secret at its place.
    pub fn open(
        &self,
        workspace: WorkspaceId,
        id: Uuid,
        field: &str,
        sealed: &[u8],
    ) -> Result<SecretString, Error> {
        let Self(cipher) = self;
        let (&version, rest) = sealed.split_first().ok_or_else(cut_short)?;
        if version != BY_DATA_KEY {
            return Err(Error::Sealing("its version is unknown"));
        }
        text(&decrypt(cipher, rest, &place(workspace, id, field))?)
    }
}

fn encrypt(cipher: &Aes256Gcm, secret: &[u8], place: &[u8], mut head: Vec<u8>) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; 12];
    rand::rng().fill_bytes(&mut nonce);
    let payload = Payload { msg: secret, aad: place };
    let sealed = cipher.encrypt((&nonce).into(), payload).map_err(|_| Error::Sealing("encryption failed"))?;
    head.extend(nonce);
    head.extend(sealed);
    Ok(head)
}

fn decrypt(cipher: &Aes256Gcm, sealed: &[u8], place: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<12>().ok_or_else(cut_short)?;
    let payload = Payload { msg: ciphertext, aad: place };
    let opened = cipher.decrypt(nonce.into(), payload);
    opened.map(Zeroizing::new).map_err(|_| Error::Sealing("it is not from this place"))
}

fn text(bytes: &Zeroizing<Vec<u8>>) -> Result<SecretString, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| cut_short())?;
    Ok(text.to_owned().into())
}

const fn cut_short() -> Error {
    Error::Sealing("it is cut short")
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
        assert!(Sealer::parse(&both.clone().into()).unwrap().open(workspace, id, "token", &sealed).is_ok());
        let newer = Sealer::parse(&both.clone().into()).unwrap();
        assert_eq!(newer.newest(), "k2");
        let resealed = newer.reseal(workspace, id, "token", &sealed).unwrap();
        assert!(newer.open(workspace, id, "token", &resealed).is_ok());
        let missing = Sealer::parse(&old).unwrap().open(workspace, id, "token", &resealed).unwrap_err();
        assert!(matches!(missing, Error::KeyMissing(kid) if kid == "k2"));
        for ring in ["", "k1", "k1:AAAA,k1:AAAA", "k1:%%", "k1:AAAA", ":AAAA"] {
            assert!(Sealer::parse(&ring.to_owned().into()).is_err(), "{ring}");
        }
    }
    #[test]
    fn an_envelope_opens_at_its_own_place_only() {
        let sealer = Sealer::parse(&Sealer::fresh_ring()).unwrap();
        let (workspace, id, other) =
            (WorkspaceId(Uuid::from_u128(1)), Uuid::from_u128(2), WorkspaceId(Uuid::from_u128(3)));
        let (key, wrapped) = sealer.fresh_data_key(workspace, id, "key").unwrap();
        let sealed = key.seal(workspace, id, "credentials", &"top".to_owned().into()).unwrap();
        // A row that was copied to another tenant gives neither its key nor, with the key, its credentials.
        assert!(sealer.open_data_key(other, id, "key", &wrapped).is_err());
        assert!(key.open(other, id, "credentials", &sealed).is_err());
        assert!(key.open(workspace, Uuid::from_u128(4), "credentials", &sealed).is_err());
        let opened = sealer.open_data_key(workspace, id, "key", &wrapped).unwrap();
        assert_eq!(opened.open(workspace, id, "credentials", &sealed).unwrap().expose_secret(), "top");
        let (fresh, _) = sealer.fresh_data_key(workspace, id, "key").unwrap();
        assert!(fresh.open(workspace, id, "credentials", &sealed).is_err());
        for cut in 0..sealed.len() {
            assert!(opened.open(workspace, id, "credentials", &sealed[..cut]).is_err(), "{cut}");
        }
    }
}
