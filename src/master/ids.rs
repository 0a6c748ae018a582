//! The ids of the workers, by number.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// A list of ids, made for millions of them, most of which are short.
///
/// One text has a slot for each number, with room for a short id. So to compare an id with a name costs one look into
/// memory, to go through all of them not much more than to read them, and a slot is a text without being checked.
#[derive(Debug, Default)]
pub struct Ids {
    /// By number, a slot: the length of a short id, the id, and zeros.
    slots: String,
    /// By number, as far as there are any: the long ids, and between them nothing.
    long: Vec<Box<str>>,
}

const SLOT_BYTES: usize = 24;

/// The longest id that is kept in its slot, in bytes.
const MAX_SHORT_BYTES: usize = SLOT_BYTES - 1;

impl Ids {
    pub fn len(&self) -> usize {
        self.slots.len() / SLOT_BYTES
    }

    pub fn get(&self, number: usize) -> &str {
        match self.long.get(number) {
            Some(id) if !id.is_empty() => id,
            _ => {
                let start = number * SLOT_BYTES + 1;
                let length = self.slots.as_bytes()[start - 1];
                &self.slots[start..start + usize::from(length)]
            }
        }
    }

    pub fn push(&mut self, id: &str) {
        let number = self.len();
        let short = self.put_if_long(number, id);
        append_slot(&mut self.slots, short);
    }

    /// Puts another id at a number.
    pub fn set(&mut self, number: usize, id: &str) {
        let short = self.put_if_long(number, id);
        let mut slot = String::with_capacity(SLOT_BYTES);
        append_slot(&mut slot, short);
        let start = number * SLOT_BYTES;
        self.slots.replace_range(start..start + SLOT_BYTES, &slot);
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|number| self.get(number))
    }

    /// Puts an id among the long ones if it is one. Returns what goes into its slot.
    fn put_if_long<'i>(&mut self, number: usize, id: &'i str) -> &'i str {
        let (long, short) = if id.len() > MAX_SHORT_BYTES {
            (id, "")
        } else {
            ("", id)
        };
        if self.long.len() <= number && !long.is_empty() {
            self.long.resize(number + 1, Box::default());
        }
        if let Some(place) = self.long.get_mut(number) {
            *place = long.into();
        }
        short
    }
}

fn append_slot(slots: &mut String, short: &str) {
    let end = slots.len() + SLOT_BYTES;
    let length = u8::try_from(short.len()).expect("it fits into a slot");
    slots.push(length.into());
    slots.push_str(short);
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
    use super::{Ids, MAX_SHORT_BYTES};

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
        let snapshot = serde_json::to_string(&ids).expect("texts are JSON");
        let recovered: Ids = serde_json::from_str(&snapshot).expect("it was just written");
        assert!(recovered.iter().eq(ids.iter()));
        let is_long = |text: &&String| text.len() > MAX_SHORT_BYTES;
        let long = ids.long.iter().filter(|id| !id.is_empty()).count();
        assert_eq!(long, texts.iter().filter(is_long).count());
    }
}
