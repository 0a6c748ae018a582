//! The fields of a message, and how each is interpreted.

use super::{Error, ErrorCode, Request};
use serde::Deserialize;
use serde::de::value::BytesDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Every field that some message has. The name on the wire is the variant's in snake case.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
pub enum Field {
    Src,
    Body,
    Type,
    MsgId,
    InReplyTo,
    NodeId,
    NodeIds,
    WorkerId,
    Timestamp,
    TimeoutMs,
    Now,
    FailedWorker,
    HealthyWorker,
    Tasks,
    Id,
    Chunk,
    JobId,
    ReduceTasks,
    MapOutput,
    MaxFailures,
    MaxLosses,
    MaxSkipped,
    Running,
    TaskId,
    Attempt,
    Output,
    Error,
    LostInputs,
    SlowAfterMs,
    MinRunMs,
    MaxFailed,
    RemoveAfterMs,
    Incarnation,
    Counters,
    MaxWorkerFailures,
    AvoidMs,
    TaskTimeoutMs,
    /// Any other: skipped.
    #[serde(other)]
    Unknown,
}

/// How a field is read, in every message.
#[derive(Clone, Copy, Debug)]
enum FieldKind {
    Text,
    Integer,
    /// Kept unchanged as JSON. This includes some strings: `src`, which is repeated in the reply; `id`, which is a number
    /// in some envelopes; and `error`, which often has escapes.
    Json,
}

impl Field {
    fn kind(self) -> FieldKind {
        match self {
            Self::Type
            | Self::NodeId
            | Self::WorkerId
            | Self::FailedWorker
            | Self::HealthyWorker
            | Self::JobId
            | Self::TaskId
            | Self::MapOutput => FieldKind::Text,
            Self::MsgId
            | Self::Timestamp
            | Self::TimeoutMs
            | Self::Now
            | Self::ReduceTasks
            | Self::MaxFailures
            | Self::MaxLosses
            | Self::MaxSkipped
            | Self::Attempt
            | Self::SlowAfterMs
            | Self::MinRunMs
            | Self::MaxFailed
            | Self::RemoveAfterMs
            | Self::Incarnation
            | Self::MaxWorkerFailures
            | Self::AvoidMs
            | Self::TaskTimeoutMs => FieldKind::Integer,
            _ => FieldKind::Json,
        }
    }
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A text without escapes.
    Text(&'a str),
    Integer(i64),
    /// Anything, as it came.
    Json(&'a RawValue),
}

impl<'a> Value<'a> {
    /// The text that it is, borrowed unless it holds escapes; `None` for anything else.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Integer(_) => None,
            Self::Json(json) => read_string(json),
        }
    }

    /// The integer of 64 bits that it is, without fraction or exponent; `None` for anything else.
    pub fn integer(self) -> Option<i64> {
        match self {
            Self::Text(_) => None,
            Self::Integer(number) => Some(number),
            Self::Json(json) => json.get().parse().ok(),
        }
    }

    /// A field of [`FieldKind::Json`] as it came.
    pub fn json(self) -> Option<&'a RawValue> {
        match self {
            Self::Json(json) => Some(json),
            Self::Text(_) | Self::Integer(_) => {
                debug_assert!(false, "the field was not kept as JSON");
                None
            }
        }
    }

    fn is_null(self) -> bool {
        matches!(self, Self::Json(json) if json.get() == "null")
    }
}

/// Reads a value as one kind of field. Fails on most values of other kinds, and on strings with escapes. The error does
/// not describe the value: nobody would see it, and formatting it is slow.
struct ValueReader(FieldKind);

impl<'a> DeserializeSeed<'a> for ValueReader {
    type Value = Value<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Value<'a>, D::Error> {
        match self.0 {
            FieldKind::Text => deserializer.deserialize_str(self),
            FieldKind::Integer => deserializer.deserialize_any(self),
            FieldKind::Json => Deserialize::deserialize(deserializer).map(Value::Json),
        }
    }
}

impl<'a> Visitor<'a> for ValueReader {
    type Value = Value<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another kind of value")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Value<'a>, E> {
        Ok(Value::Text(text))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Value<'a>, E> {
        Err(E::custom("a text with escapes"))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'a>, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value<'a>, E> {
        i64::try_from(number).map(Value::Integer).map_err(E::custom)
    }

    fn visit_unit<E>(self) -> Result<Value<'a>, E> {
        Ok(Value::Json(RawValue::NULL))
    }
}

/// The fields of one JSON object. If a field is given twice, the last value counts.
#[derive(Debug)]
pub struct Fields<'a>([Option<Value<'a>>; Field::Unknown as usize]);

impl<'a> Fields<'a> {
    const EMPTY: Self = Self([None; Field::Unknown as usize]);

    /// The field as it came; `null` is a value.
    pub(super) fn given(&self, field: Field) -> Option<Value<'a>> {
        self.0[field as usize]
    }

    /// Whether the field is there and not `null`.
    fn is_given(&self, field: Field) -> bool {
        self.given(field).is_some_and(|value| !value.is_null())
    }

    /// A required field, interpreted by `read`; `what` says what is expected.
    pub fn required<T>(
        &self,
        field: Field,
        what: &str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<T, Error> {
        let value = self
            .given(field)
            .ok_or_else(|| malformed(field, "is missing"))?;
        read(value).ok_or_else(|| malformed(field, &format!("must be {what}")))
    }

    /// A required string.
    pub fn string(&self, field: Field) -> Result<Cow<'a, str>, Error> {
        self.required(field, "a string", Value::text)
    }

    /// A required 64-bit integer.
    pub fn integer(&self, field: Field) -> Result<i64, Error> {
        self.required(field, "a 64-bit integer", Value::integer)
    }

    /// A required 64-bit integer that is not negative.
    pub fn duration(&self, field: Field) -> Result<i64, Error> {
        self.required(field, "a non-negative 64-bit integer", |value| {
            value.integer().filter(|number| *number >= 0)
        })
    }

    /// An optional field, interpreted by `read` when it is there; `what` says what is expected.
    pub fn optional<T>(
        &self,
        field: Field,
        what: &str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.if_given(field, |fields, field| fields.required(field, what, read))
    }

    /// An optional field. If it is present, `read` reads it like a required one.
    pub fn if_given<T>(
        &self,
        field: Field,
        read: impl FnOnce(&Self, Field) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.is_given(field).then(|| read(self, field)).transpose()
    }
}

/// The error for a field that is missing or not what it must be.
fn malformed(field: Field, problem: &str) -> Error {
    let mut name = String::new();
    for letter in format!("{field:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    Error::new(
        ErrorCode::MalformedRequest,
        format!("field \"{name}\" {problem}"),
    )
}

/// The text of a JSON string, borrowed unless it holds escapes; `None` for anything else.
pub fn read_string(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.bytes().any(|byte| byte == b'\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// A parsed message: an envelope around a body, or a bare body.
#[derive(Debug)]
pub struct Message<'a> {
    /// The fields of the body.
    pub fields: Fields<'a>,
    /// Whether the body came in an envelope.
    pub enveloped: bool,
    /// Whether the body is an object at all.
    pub has_object_body: bool,
}

impl<'a> Message<'a> {
    /// A message into which nothing has been read.
    pub const EMPTY: Self = Self {
        fields: Fields::EMPTY,
        enveloped: false,
        has_object_body: true,
    };

    fn keep_only_src(&mut self) {
        let src = self.fields.given(Field::Src);
        self.fields = Fields::EMPTY;
        self.fields.0[Field::Src as usize] = src;
    }

    /// Whether the message is itself a reply: it has `in_reply_to`, or is an error.
    pub fn is_reply(&self) -> bool {
        let is_error = match self.fields.given(Field::Type) {
            Some(Value::Text(kind)) => kind == "error",
            Some(kind) => kind.text().is_some_and(|kind| kind == "error"),
            None => false,
        };
        is_error || self.fields.is_given(Field::InReplyTo)
    }

    /// The `msg_id`, which the reply repeats as `in_reply_to`. Errors: 12 if it is not a 64-bit integer.
    pub fn msg_id(&self) -> Result<Option<i64>, Error> {
        self.fields.if_given(Field::MsgId, Fields::integer)
    }

    /// The request. Errors: 12 with the name of the missing or wrong field; 10 with the list of known types.
    pub fn request(&self) -> Result<Request<'a>, Error> {
        if !self.has_object_body {
            return Err(malformed(Field::Body, "must be an object"));
        }
        Request::read(&self.fields)
    }

    /// Who sent the envelope, as JSON; `None` where `src` is not a string.
    pub fn sender(&self) -> Option<&'a RawValue> {
        let src = self.fields.given(Field::Src)?.json()?;
        read_string(src).is_some().then_some(src)
    }
}

/// Reads a message (protocol, section 2) into `message`, which must be [`EMPTY`](Message::EMPTY). The caller provides it
/// because it is too large to move cheaply. Fails if the text is not exactly one JSON object.
///
/// Nearly always, each field can be read as its kind, in one pass. `parse_anything` reads any other JSON object.
///
/// All other code in this crate reads JSON objects from bytes (`from_slice`), even if it has a `str`. That leaves this
/// pass as the only one that reads them with `from_str`, so the compiler inlines serde_json here. Sharing the code makes
/// a heartbeat cost 5% more instructions.
pub fn parse<'a>(text: &'a [u8], message: &mut Message<'a>) -> Result<(), NotAnObject> {
    let text = std::str::from_utf8(text).map_err(|_| NotAnObject)?;
    let mut json = serde_json::Deserializer::from_str(text);
    match read_message(&mut json, message).and_then(|()| json.end()) {
        Ok(()) => Ok(()),
        Err(_) => parse_anything(text, message),
    }
}

/// Reads a message in one pass, each field as its kind. What was read before an error stays in `message`.
pub(super) fn read_message<'a, D: Deserializer<'a>>(
    json: D,
    message: &mut Message<'a>,
) -> Result<(), D::Error> {
    let depth = Depth::Top;
    MessageReader { message, depth }.deserialize(json)
}

/// Reads a message that the single pass cannot: a field has an unexpected type, a string has escapes, a key is not valid
/// text, or the body is not an object. Each of these still gets a reply.
fn parse_anything<'a>(text: &'a str, message: &mut Message<'a>) -> Result<(), NotAnObject> {
    *message = Message::EMPTY;
    let outer = read_fields(text).ok_or(NotAnObject)?;
    let Some(body) = outer.given(Field::Body).and_then(Value::json) else {
        message.fields = outer;
        return Ok(());
    };
    message.enveloped = true;
    match read_fields(body.get()) {
        Some(inner) => message.fields = inner,
        None => message.has_object_body = false,
    }
    message.fields.0[Field::Src as usize] = outer.given(Field::Src);
    Ok(())
}

/// Reads the fields of any JSON object; `None` for anything else.
pub fn read_fields(text: &str) -> Option<Fields<'_>> {
    let mut fields = Fields::EMPTY;
    let mut has_unchecked_key = false;
    let mut json = serde_json::Deserializer::from_slice(text.as_bytes());
    let reader = FieldsReader(&mut fields, &mut has_unchecked_key);
    reader.deserialize(&mut json).ok()?;
    json.end().ok()?;
    if has_unchecked_key {
        serde_json::from_str::<&RawValue>(text).ok()?;
    }
    Some(fields)
}

/// The text is not one JSON object.
#[derive(Debug)]
pub struct NotAnObject;

/// Which object of a message is being read.
#[derive(Clone, Copy)]
enum Depth {
    /// The whole message: an envelope, or a bare body.
    Top,
    /// The body of an envelope, which is never an envelope itself.
    Body,
}

/// Reads a message in one pass.
struct MessageReader<'m, 'a> {
    message: &'m mut Message<'a>,
    depth: Depth,
}

impl<'a> DeserializeSeed<'a> for MessageReader<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for MessageReader<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { message, depth } = self;
        // Whether there are fields besides `src`, which would be the envelope's own if a body follows.
        let mut has_fields = false;
        while let Some(field) = map.next_key::<Field>()? {
            match (depth, field) {
                (Depth::Top, Field::Body) => {
                    if has_fields {
                        message.keep_only_src();
                    }
                    has_fields = true;
                    message.enveloped = true;
                    map.next_value_seed(MessageReader {
                        message,
                        depth: Depth::Body,
                    })?;
                }
                (Depth::Body, Field::Src | Field::Body) | (_, Field::Unknown) => {
                    map.next_value::<IgnoredAny>()?;
                }
                (Depth::Top, Field::Src) => {
                    message.fields.0[Field::Src as usize] = Some(Value::Json(map.next_value()?));
                }
                (Depth::Top, _) if message.enveloped => {
                    map.next_value::<IgnoredAny>()?;
                }
                (_, field) => {
                    has_fields = true;
                    let value = map.next_value_seed(ValueReader(field.kind()))?;
                    message.fields.0[field as usize] = Some(value);
                }
            }
        }
        Ok(())
    }
}

/// Reads the fields of an object as JSON, and sets the flag if a key needs another check (see [`AnyKey`]).
struct FieldsReader<'f, 'a>(&'f mut Fields<'a>, &'f mut bool);

impl<'a> DeserializeSeed<'a> for FieldsReader<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for FieldsReader<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(fields, has_unchecked_key) = self;
        while let Some(field) = map.next_key_seed(AnyKey(has_unchecked_key))? {
            match field {
                Field::Unknown => _ = map.next_value::<IgnoredAny>()?,
                field => fields.0[field as usize] = Some(Value::Json(map.next_value()?)),
            }
        }
        Ok(())
    }
}

/// Reads a key as bytes, because its escapes may not form valid text (half of a surrogate pair). serde_json does not check
/// such keys for raw control characters. The flag is set for a key that may contain some.
struct AnyKey<'f>(&'f mut bool);

impl<'a> DeserializeSeed<'a> for AnyKey<'_> {
    type Value = Field;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'a> Visitor<'a> for AnyKey<'_> {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    /// A key without escapes.
    fn visit_borrowed_bytes<E: serde::de::Error>(self, key: &'a [u8]) -> Result<Field, E> {
        *self.0 |= key.iter().any(u8::is_ascii_control);
        Field::deserialize(BytesDeserializer::new(key))
    }

    /// A key with escapes, which are replaced by what they mean.
    fn visit_bytes<E: serde::de::Error>(self, key: &[u8]) -> Result<Field, E> {
        *self.0 = true;
        Field::deserialize(BytesDeserializer::new(key))
    }
}
