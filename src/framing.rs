//! Bytes to messages (protocol, section 1).
//!
//! A message is normally one line. It may also span several: it starts at a line whose first byte that is
//! not blank is `{`, and ends with the line on which its braces balance. [`Framer`] cuts the input
//! accordingly. It drops what can never become a message, without losing the messages around it.
//!
//! Nearly every message is one line, and counting the braces of every line would add much of the cost of parsing it.
//! So the framer guesses first: it returns a line that starts with `{` and ends with `}` as a message right
//! away. A caller who finds that the line is not JSON rejects it ([`Framer::reject`]), and only then are the braces
//! counted, to learn whether the line is malformed or the first of several.

use std::fmt;
use std::mem;
use std::ops::Range;

/// The longest message, in bytes, without its last line's terminator.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A buffer that grew beyond this many bytes is freed once it holds less.
const SPARE_BYTES: usize = 1 << 20;

/// What the framer cut from its input.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// What should be a JSON object, and the line of the input (from 1) on which it starts.
    Message {
        text: &'a [u8],
        line: u64,
    },
    Dropped(Dropped),
}

/// A piece of the input that is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub reason: Reason,
    /// The line of the input on which it starts, from 1.
    pub line: u64,
    /// The byte of that line on which it starts, from 1.
    pub column: usize,
    /// Where its text is, or the beginning of it: see [`Framer::text`].
    text: Range<usize>,
}

/// Why a piece of the input is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A line outside a message that does not start one.
    NotAnObject,
    /// The braces balance, but the text is not one JSON object and nothing else.
    Malformed,
    /// A string left open at the end of a line.
    OpenString,
    /// Another message, or the end of the input, came before the braces balanced.
    Unfinished,
    /// More than [`MAX_MESSAGE_BYTES`].
    TooLong,
    /// A line without a message, where each must have one.
    Blank,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnObject => "not a JSON object",
            Self::Malformed => "malformed JSON object",
            Self::OpenString => "malformed JSON object: a string is left open at the end of a line",
            Self::Unfinished => "unfinished JSON object",
            Self::TooLong => "message longer than 64 MiB",
            Self::Blank => "blank line",
        })
    }
}

/// What the framer expects next.
#[derive(Debug)]
enum State {
    /// Before the first byte, or in a byte order mark.
    AtStart,
    /// Between messages.
    Outside,
    /// In a message whose braces did not balance on the lines before this one.
    Inside { origin: Origin, braces: Braces },
    /// Behind a dropped message: input is skipped up to the next line with `{` in column 1.
    Skipping,
    /// In the rest of a dropped line.
    InDroppedLine { then_skip: bool },
}

/// Where a message starts: a line of the input, from 1, and a byte of that line, from 1.
#[derive(Clone, Copy, Debug)]
struct Origin {
    line: u64,
    column: usize,
}

/// The message just given out, for [`Framer::reject`].
#[derive(Debug)]
struct Candidate {
    origin: Origin,
    text: Range<usize>,
    /// Whether the message must end here: its braces balance, or, with `--strict`, a line is always a whole message.
    is_whole: bool,
}

/// Cuts bytes into messages. [`feed`](Framer::feed) it, call [`next`](Framer::next) until it returns `None`, and repeat.
/// It buffers at most one message and one feed.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Start in `buffer` of the message that is being read; the bytes before it are no longer needed.
    start: usize,
    /// Start of the line that is being read.
    line_start: usize,
    /// The bytes from `line_start` up to here hold no `\n`.
    searched: usize,
    /// The line that is being read, from 1.
    line: u64,
    /// The number of blanks skipped at the start of that line.
    indent: usize,
    state: State,
    candidate: Option<Candidate>,
    ended: bool,
    /// Whether every line is a message of its own (protocol, section 1, `--strict`).
    strict: bool,
}

impl Default for Framer {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            line_start: 0,
            searched: 0,
            line: 1,
            indent: 0,
            state: State::AtStart,
            candidate: None,
            ended: false,
            strict: false,
        }
    }
}

impl Framer {
    /// A framer that takes every line as one message: for each, blank ones included, it gives one frame.
    pub fn strict() -> Self {
        Self {
            strict: true,
            ..Self::default()
        }
    }

    /// Appends a piece of the input. Call it when [`next`](Self::next) has nothing more to give.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.line_start -= self.start;
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.len() <= SPARE_BYTES {
            self.buffer.shrink_to(SPARE_BYTES);
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Marks the end of the input. What remains in the buffer is the last line.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next frame, or `None` when more input is needed.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend from itself"
    )]
    pub fn next(&mut self) -> Option<Frame<'_>> {
        self.candidate = None;
        loop {
            if let Some(dropped) = self.check_first_byte() {
                return Some(Frame::Dropped(dropped));
            }
            let line_start = self.line_start;
            let Some((line_end, origin)) = self.take_line() else {
                return self.leave_partial_line().map(Frame::Dropped);
            };
            match self.read_line(line_start..line_end, origin) {
                LineOutcome::Nothing => {}
                LineOutcome::Dropped(dropped) => return Some(Frame::Dropped(dropped)),
                LineOutcome::Message(candidate) => {
                    let text = &self.buffer[candidate.text.clone()];
                    let line = candidate.origin.line;
                    self.candidate = Some(candidate);
                    return Some(Frame::Message { text, line });
                }
            }
        }
    }

    /// Rejects the message that [`next`](Self::next) just returned, because it is not a JSON object. Returns what was
    /// dropped, or `None` if it may be the first line of a longer message.
    pub fn reject(&mut self) -> Option<Dropped> {
        let Candidate {
            origin,
            text,
            is_whole,
        } = self.candidate.take()?;
        if is_whole {
            return Some(origin.dropped(Reason::Malformed, text));
        }
        self.start = text.start;
        match self.count_braces(origin, Braces::default(), text) {
            LineOutcome::Nothing => None,
            LineOutcome::Dropped(dropped) => Some(dropped),
            LineOutcome::Message(candidate) => {
                Some(origin.dropped(Reason::Malformed, candidate.text))
            }
        }
    }

    /// The dropped text, or as much of it as was kept. Valid until the next [`feed`](Self::feed).
    pub fn text(&self, dropped: &Dropped) -> &[u8] {
        self.buffer.get(dropped.text.clone()).unwrap_or_default()
    }

    /// Decides what the first byte of a line can decide, even before the line is complete.
    fn check_first_byte(&mut self) -> Option<Dropped> {
        match self.state {
            State::AtStart => self.skip_byte_order_mark(),
            State::Outside => self.skip_blanks(),
            _ => {}
        }
        let &first = self.buffer.get(self.line_start)?;
        match self.state {
            State::Inside { origin, .. } if first == b'{' => {
                let text = self.start..self.line_start;
                self.state = State::Outside;
                self.start = self.line_start;
                Some(origin.dropped(Reason::Unfinished, text))
            }
            State::Skipping if first == b'{' => {
                self.state = State::Outside;
                None
            }
            State::Skipping => {
                self.state = State::InDroppedLine { then_skip: true };
                None
            }
            State::Outside if first != b'{' && first != b'\n' => {
                self.state = State::InDroppedLine { then_skip: false };
                Some(self.current_origin().dropped(Reason::NotAnObject, 0..0))
            }
            _ => None,
        }
    }

    fn skip_byte_order_mark(&mut self) {
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.discard_to(BYTE_ORDER_MARK.len());
        } else if BYTE_ORDER_MARK.starts_with(&self.buffer) && !self.ended {
            return;
        }
        self.state = State::Outside;
        self.skip_blanks();
    }

    /// Skips the blanks at the start of a line outside a message.
    fn skip_blanks(&mut self) {
        let rest = &self.buffer[self.line_start..];
        let blanks = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
            .count();
        self.indent += blanks;
        self.discard_to(self.line_start + blanks);
    }

    /// Discards everything before `position`, in the line that is being read.
    fn discard_to(&mut self, position: usize) {
        self.start = position;
        self.line_start = position;
        self.searched = self.searched.max(position);
    }

    /// The origin of a message that starts at `line_start`.
    fn current_origin(&self) -> Origin {
        Origin {
            line: self.line,
            column: self.indent + 1,
        }
    }

    /// Advances to the next line, if this one is complete. Returns the end of this one in `buffer`, without its
    /// terminator, and where it starts in the input.
    fn take_line(&mut self) -> Option<(usize, Origin)> {
        let rest = &self.buffer[self.searched..];
        self.searched += find_newline(rest).map_or(rest.len(), |newline| newline + 1);
        let line = &self.buffer[self.line_start..self.searched];
        let line = match line.strip_suffix(b"\n") {
            Some(line) => line,
            None if self.ended && (!line.is_empty() || self.indent > 0) => line,
            None => return None,
        };
        let end = self.line_start + line.strip_suffix(b"\r").unwrap_or(line).len();
        let origin = self.current_origin();
        self.line_start = self.searched;
        self.line += 1;
        self.indent = 0;
        Some((end, origin))
    }

    /// Reads the line that was just taken.
    fn read_line(&mut self, line: Range<usize>, origin: Origin) -> LineOutcome {
        let origin = match self.state {
            State::Inside { origin, .. } => origin,
            _ => origin,
        };
        let text = self.start..line.end;
        if !matches!(self.state, State::Inside { .. }) {
            self.start = self.line_start;
        }
        match mem::replace(&mut self.state, State::Outside) {
            State::InDroppedLine { then_skip: true } => {
                self.state = State::Skipping;
                LineOutcome::Nothing
            }
            State::Outside | State::Inside { .. } if text.len() > MAX_MESSAGE_BYTES => {
                self.drop_message(origin, Reason::TooLong, text)
            }
            State::Inside { braces, .. } => self.count_braces(origin, braces, line),
            State::Outside if !text.is_empty() => {
                if self.strict || self.buffer[text.clone()].trim_ascii_end().ends_with(b"}") {
                    LineOutcome::Message(Candidate {
                        origin,
                        text,
                        is_whole: self.strict,
                    })
                } else {
                    self.start = text.start;
                    self.count_braces(origin, Braces::default(), text)
                }
            }
            State::Outside if self.strict => {
                LineOutcome::Dropped(origin.dropped(Reason::Blank, text))
            }
            _ => LineOutcome::Nothing,
        }
    }

    /// Counts the braces of a line of the message that begins at `self.start`.
    fn count_braces(
        &mut self,
        origin: Origin,
        mut braces: Braces,
        line: Range<usize>,
    ) -> LineOutcome {
        let text = self.start..line.end;
        match braces.count(&self.buffer[line]) {
            Counted::Open => {
                self.state = State::Inside { origin, braces };
                LineOutcome::Nothing
            }
            Counted::Balanced => {
                self.start = self.line_start;
                self.state = State::Outside;
                LineOutcome::Message(Candidate {
                    origin,
                    text,
                    is_whole: true,
                })
            }
            Counted::OpenString => self.drop_message(origin, Reason::OpenString, text),
        }
    }

    /// Drops a message whose end cannot be known, at the end of a line.
    fn drop_message(&mut self, origin: Origin, reason: Reason, text: Range<usize>) -> LineOutcome {
        self.start = self.line_start;
        self.state = if self.strict {
            State::Outside
        } else {
            State::Skipping
        };
        LineOutcome::Dropped(origin.dropped(reason, text))
    }

    /// Handles an incomplete line: bounds the memory that it takes, and at the end of the input drops an unfinished
    /// message.
    fn leave_partial_line(&mut self) -> Option<Dropped> {
        let text = self.start..self.buffer.len();
        let dropped = match self.state {
            State::InDroppedLine { .. } => None,
            State::Inside { origin, .. } if self.ended => {
                self.state = State::Outside;
                Some(origin.dropped(Reason::Unfinished, text))
            }
            // Allow one more byte, which may be the `\r` of the terminator.
            _ if text.len() > MAX_MESSAGE_BYTES + 1 => {
                let origin = match self.state {
                    State::Inside { origin, .. } => origin,
                    _ => self.current_origin(),
                };
                self.state = State::InDroppedLine {
                    then_skip: !self.strict,
                };
                Some(origin.dropped(Reason::TooLong, text))
            }
            _ => return None,
        };
        self.discard_to(self.buffer.len());
        dropped
    }
}

impl Origin {
    fn dropped(self, reason: Reason, text: Range<usize>) -> Dropped {
        Dropped {
            reason,
            line: self.line,
            column: self.column,
            text,
        }
    }
}

/// The position of the first `\n`. Searches block by block, because a loop without an early exit can be vectorized. This
/// halves the time to search a line as long as a heartbeat.
fn find_newline(bytes: &[u8]) -> Option<usize> {
    let is_newline = |byte: &u8| *byte == b'\n';
    let (blocks, _) = bytes.as_chunks::<32>();
    let has_none = |block: &&[u8; 32]| {
        block
            .iter()
            .fold(0, |found, byte| found | u8::from(is_newline(byte)))
            == 0
    };
    let start = 32 * blocks.iter().take_while(has_none).count();
    bytes[start..]
        .iter()
        .position(is_newline)
        .map(|place| start + place)
}

/// What came of a line.
enum LineOutcome {
    Nothing,
    Message(Candidate),
    Dropped(Dropped),
}

/// The number of braces still open in a message. No string state is needed between lines, since a message with a string
/// left open at a line end is dropped.
#[derive(Debug, Default)]
struct Braces {
    open: usize,
}

enum Counted {
    Balanced,
    Open,
    OpenString,
}

impl Braces {
    /// Counts the braces of the next line, up to the one that closes the message.
    fn count(&mut self, line: &[u8]) -> Counted {
        let mut bytes = line.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'{' => self.open += 1,
                b'}' => {
                    self.open -= 1;
                    if self.open == 0 {
                        return Counted::Balanced;
                    }
                }
                b'"' => loop {
                    match bytes.next() {
                        None => return Counted::OpenString,
                        Some(b'"') => break,
                        Some(b'\\') => _ = bytes.next(),
                        Some(_) => {}
                    }
                },
                _ => {}
            }
        }
        Counted::Open
    }
}
