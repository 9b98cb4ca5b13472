//! Cursors of lists: where a page ended, and of which list it was. Clients pass them back and read nothing in them.

use aegis_common::hash::Hash32;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::store::ListPosition;

/// Changes when what follows it does.
const VERSION: u8 = 1;
/// Bytes of the list's hash that stand in a cursor: against mistakes, not against forgery, which gains nothing.
const LIST: usize = 8;
const LENGTH: usize = 1 + LIST + 8 + 8 + 16;

/// The cursor behind a position of the list with this hash.
pub(super) fn write(at: ListPosition, list: &Hash32) -> String {
    let parts: [&[u8]; 5] = [
        &[VERSION],
        list.0.get(..LIST).unwrap_or_default(),
        &at.key.to_be_bytes(),
        &at.created.to_be_bytes(),
        at.id.as_bytes(),
    ];
    URL_SAFE_NO_PAD.encode(parts.concat())
}

/// The position of a cursor; `None` where it is damaged, of another version, or of another list.
pub(super) fn read(cursor: &str, list: &Hash32) -> Option<ListPosition> {
    let bytes: [u8; LENGTH] = URL_SAFE_NO_PAD.decode(cursor).ok()?.try_into().ok()?;
    let (head, rest) = bytes.split_at(1 + LIST);
    let (key, rest) = rest.split_first_chunk::<8>()?;
    let (created, id) = rest.split_first_chunk::<8>()?;
    let ours = head.strip_prefix(&[VERSION])? == list.0.get(..LIST)?;
    ours.then_some(ListPosition {
        key: i64::from_be_bytes(*key),
        created: i64::from_be_bytes(*created),
        id: Uuid::from_slice(id).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_for_its_own_list_only() {
        let [list, other] = [b"one", b"two"].map(|name| Hash32::sha256(name));
        let at = ListPosition { key: -5, created: i64::MAX, id: Uuid::now_v7() };
        let cursor = write(at, &list);
        assert_eq!(read(&cursor, &list), Some(at));
        assert_eq!(read(&cursor, &other), None);
        let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        bytes[0] += 1;
        assert_eq!(read(&URL_SAFE_NO_PAD.encode(&bytes), &list), None, "another version");
        for bad in ["", "7", &cursor[1..], &format!("{cursor}A"), &format!("{cursor}=")] {
            assert_eq!(read(bad, &list), None, "{bad}");
        }
    }
}
