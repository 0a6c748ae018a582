//! The ids of the workers, by number.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::HashMap;

/// A list of ids, nearly all of which are short.
///
/// One text has room for a short id at each number. So to compare an id with a name costs one look into memory,
/// and to go through a million of them not much more than to read them.
#[derive(Debug, Default)]
pub struct Ids {
    /// By number, a slot: the length of the id, the id, and zeros; or [`LONG`], and zeros.
    slots: String,
    long: HashMap<usize, Box<str>>,
}

const SLOT_BYTES: usize = 24;

/// The longest id that is kept in its slot, in bytes.
const MAX_SHORT_BYTES: usize = SLOT_BYTES - 1;

/// The length that no short id has.
const LONG: char = '\u{7f}';

impl Ids {
    pub fn len(&self) -> usize {
        self.slots.len() / SLOT_BYTES
    }

    pub fn get(&self, number: usize) -> &str {
        let start = number * SLOT_BYTES + 1;
        match self.slots.as_bytes()[start - 1] {
            length if length == LONG as u8 => &self.long[&number],
            length => &self.slots[start..start + usize::from(length)],
        }
    }

    pub fn push(&mut self, id: &str) {
        let number = self.len();
        append_slot(&mut self.slots, id);
        self.keep_if_long(number, id);
    }

    /// Puts another id at a number.
    pub fn set(&mut self, number: usize, id: &str) {
        let mut slot = String::with_capacity(SLOT_BYTES);
        append_slot(&mut slot, id);
        let start = number * SLOT_BYTES;
        self.slots.replace_range(start..start + SLOT_BYTES, &slot);
        self.long.remove(&number);
        self.keep_if_long(number, id);
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|number| self.get(number))
    }

    fn keep_if_long(&mut self, number: usize, id: &str) {
        if id.len() > MAX_SHORT_BYTES {
            self.long.insert(number, id.into());
        }
    }
}

fn append_slot(slots: &mut String, id: &str) {
    let end = slots.len() + SLOT_BYTES;
    match u8::try_from(id.len()) {
        Ok(length) if id.len() <= MAX_SHORT_BYTES => {
            slots.push(length.into());
            slots.push_str(id);
        }
        _ => slots.push(LONG),
    }
    while slots.len() < end {
        slots.push('\0');
    }
}

impl<'a> FromIterator<&'a str> for Ids {
    fn from_iter<I: IntoIterator<Item = &'a str>>(ids: I) -> Self {
        let mut list = Self::default();
        ids.into_iter().for_each(|id| list.push(id));
        list
    }
}

/// How a worker stands in a snapshot.
#[derive(Deserialize, Serialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl Serialize for Ids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|id| Named { id: id.into() }))
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<Named<'de>>::deserialize(deserializer)?;
        Ok(list.iter().map(|named| &*named.id).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn ids_of_any_length_stand_where_they_were_put() {
        let texts: Vec<String> = ["w", "\u{7f}", "\0", "\u{e9}", "\u{1f980}"]
            .into_iter()
            .flat_map(|letter| (0..30).map(|count| letter.repeat(count)))
            .collect();
        let mut ids: Ids = texts.iter().map(String::as_str).collect();
        assert!(ids.iter().eq(&texts));
        // Every id gives way to every other one.
        for shift in 1..texts.len() {
            for number in 0..texts.len() {
                ids.set(number, &texts[(number + shift) % texts.len()]);
            }
            assert!(ids.iter().eq(texts[shift..].iter().chain(&texts[..shift])));
        }
        assert!(ids.long.len() < texts.len(), "what is forgotten is kept");
    }
}
