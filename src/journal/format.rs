//! Records to lines and back: lengths, chained checksums, and what an incomplete line means.

use std::io::{self, BufRead, Read as _};
use std::{fmt, str};

/// The first line of a journal, with the version of the format.
pub const HEADER: &str = "mapreduce-master journal 2\n";

/// The first line of a compacted journal that has not replaced the old one yet. It is as long as [`HEADER`], which
/// overwrites it later.
pub const PARTIAL_HEADER: &str = "mapreduce-master partial 2\n";

/// How the first line starts in every version.
pub const ANY_HEADER: &str = "mapreduce-master journal ";

/// The longest record, in bytes; a greater length is damage. A request has 64 MiB at most. The record of a task has its
/// chunk and its output, escaped as strings.
const MAX_RECORD_BYTES: usize = 1 << 30;

/// The checksum, the length and the two spaces before the longest record, in bytes.
const MAX_PREFIX_BYTES: usize = CHECKSUM_BYTES + 12;

/// The number of digits of a checksum.
const CHECKSUM_BYTES: usize = 16;

/// The record that follows a sync.
pub const SYNCED: &[u8] = b"!synced";

/// The smallest block of a disk, in bytes.
const BLOCK_BYTES: u64 = 512;

/// How many bytes are read at once where the number is unknown.
const PIECE_BYTES: usize = 1 << 20;

/// The checksum of all records so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum(u64);

impl Checksum {
    pub const START: Self = Self(0);

    /// The checksum after one more record.
    fn with(self, record: &[u8]) -> Self {
        let (words, rest) = record.as_chunks::<8>();
        let sum = words.iter().fold(self, |sum, word| sum.step(*word));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        sum.step(last).step((record.len() as u64).to_le_bytes())
    }

    /// Adds eight bytes. The result is a bijection of the sum and of the bytes, so damage within one such word is always
    /// detected. Each bit affects lower and higher bits, so damage in the next word does not cancel it out.
    fn step(self, word: [u8; 8]) -> Self {
        let product = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(product ^ product >> 32)
    }

    pub fn to_hex(self) -> [u8; CHECKSUM_BYTES] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; CHECKSUM_BYTES];
        for (pair, byte) in digits
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(self.0.to_be_bytes())
        {
            *pair = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        }
        digits
    }

    /// The checksum with these digits; `None` if they are not hexadecimal digits.
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != CHECKSUM_BYTES || !digits.iter().all(is_digit) {
            return None;
        }
        u64::from_str_radix(str::from_utf8(digits).ok()?, 16)
            .ok()
            .map(Self)
    }
}

/// Appends a record to `lines`, as a line, and adds it to the checksum.
pub fn append(lines: &mut Vec<u8>, checksum: &mut Checksum, record: &[u8]) {
    *checksum = checksum.with(record);
    lines.extend_from_slice(&checksum.to_hex());
    lines.push(b' ');
    push_decimal(lines, record.len());
    lines.push(b' ');
    lines.extend_from_slice(record);
    lines.push(b'\n');
}

/// Appends a number in decimal digits, four times as fast as `write!`. It is called for each heartbeat.
fn push_decimal(bytes: &mut Vec<u8>, mut number: usize) {
    let start = bytes.len();
    loop {
        bytes.push(b"0123456789"[number % 10]);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    bytes[start..].reverse();
}

/// Why a journal cannot be read.
#[derive(Debug)]
pub enum Damage {
    NotAJournal,
    UnknownVersion,
    /// A line differs from what was written. The header is line 1.
    Line {
        number: u64,
        /// The offset of the line in the file, in bytes.
        offset: u64,
        problem: String,
    },
    Io(io::Error),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAJournal => f.write_str("this file is not a journal"),
            Self::UnknownVersion => f.write_str("the version of this journal is unknown"),
            Self::Line {
                number,
                offset,
                problem,
            } => write!(f, "line {number}, at byte {offset}, is damaged: {problem}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Damage {}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// How a journal starts.
pub enum Start {
    Journal,
    Partial,
    /// The file ends within its header, after this many bytes: it is a new journal.
    New(u64),
}

/// What comes next in a journal.
pub enum Next<'a> {
    Record(&'a [u8]),
    /// The end of the file.
    End,
    /// An incomplete record of this many bytes, at the end of the file.
    Torn(u64),
    /// A hole of zero bytes, followed by nothing that was synced. This many bytes remain to the end of the file.
    Hole(u64),
}

/// Reads a journal line by line, in memory that is bounded by its longest record.
pub struct Lines<R> {
    journal: R,
    pub checksum: Checksum,
    /// The number of the next line.
    pub number: u64,
    /// Its offset in the file, in bytes.
    pub offset: u64,
    /// The part of the line that was read.
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub fn new(journal: R) -> Self {
        Self {
            journal,
            checksum: Checksum::START,
            number: 1,
            offset: 0,
            line: Vec::new(),
        }
    }

    /// Reads the header.
    pub fn read_header(&mut self) -> Result<Start, Damage> {
        self.read_more(HEADER.len())?;
        let start = if self.line == HEADER.as_bytes() {
            Start::Journal
        } else if self.line == PARTIAL_HEADER.as_bytes() {
            Start::Partial
        } else if HEADER.as_bytes().starts_with(&self.line) {
            return Ok(Start::New(self.line.len() as u64));
        } else if self.line.starts_with(ANY_HEADER.as_bytes()) {
            return Err(Damage::UnknownVersion);
        } else {
            return Err(Damage::NotAJournal);
        };
        self.number = 2;
        self.offset = HEADER.len() as u64;
        Ok(start)
    }

    /// Reads the next line.
    pub fn next(&mut self) -> Result<Next<'_>, Damage> {
        self.line.clear();
        let Some((start, length)) = self.read_prefix()? else {
            return self.explain();
        };
        if self.read_more(length + 1)? < length + 1 {
            return self.explain();
        }
        let (prefix, record) = self.line.split_at(start);
        let record = &record[..length];
        let checksum = self.checksum.with(record);
        if prefix[..CHECKSUM_BYTES] != checksum.to_hex() || self.line.last() != Some(&b'\n') {
            return self.explain();
        }
        self.checksum = checksum;
        self.number += 1;
        self.offset += self.line.len() as u64;
        Ok(Next::Record(&self.line[start..start + length]))
    }

    /// The error for the line that was read last.
    pub fn damage(&self, problem: impl Into<String>) -> Damage {
        Damage::Line {
            number: self.number,
            offset: self.offset,
            problem: problem.into(),
        }
    }

    /// Reads the checksum and the length. Returns where the record starts and how long it is, or `None` if they are
    /// invalid.
    fn read_prefix(&mut self) -> io::Result<Option<(usize, usize)>> {
        let mut prefix = self.journal.by_ref().take(MAX_PREFIX_BYTES as u64);
        prefix.read_until(b' ', &mut self.line)?;
        if self.line.len() != CHECKSUM_BYTES + 1 || self.line.last() != Some(&b' ') {
            return Ok(None);
        }
        prefix.read_until(b' ', &mut self.line)?;
        Ok(read_length(&self.line[CHECKSUM_BYTES + 1..]).map(|length| (self.line.len(), length)))
    }

    /// Reads `count` more bytes, or as many as there are, and returns how many. Memory grows with what the file has, not
    /// with what a length says.
    fn read_more(&mut self, count: usize) -> io::Result<usize> {
        let start = self.line.len();
        let mut end = start;
        while end < start + count {
            self.line
                .resize(end + PIECE_BYTES.min(start + count - end), 0);
            match self.journal.read(&mut self.line[end..]) {
                Ok(0) => break,
                Ok(bytes) => end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.line.truncate(end);
        Ok(end - start)
    }

    /// What an invalid line means. A kill leaves the beginning of a line. A power loss may leave zeros in place of data that
    /// was not synced. Anything else is damage.
    fn explain(&mut self) -> Result<Next<'_>, Damage> {
        if self.line.is_empty() {
            return Ok(Next::End);
        }
        let zero = self.line.iter().position(|byte| *byte == 0);
        let Some(zeros) = zero.and_then(|at| self.hole_bytes(at)) else {
            let is_at_end = self.journal.fill_buf()?.is_empty();
            return if is_at_end && is_beginning_of_line(&self.line) {
                Ok(Next::Torn(self.line.len() as u64))
            } else {
                Err(self.damage("its checksum or its length is wrong"))
            };
        };
        let before = zero.unwrap_or_default();
        let mut rest = (&self.line[before..]).chain(&mut self.journal);
        let mut hole = Vec::new();
        rest.by_ref().take(zeros).read_to_end(&mut hole)?;
        if hole.iter().any(|byte| *byte != 0) {
            return Err(self.damage("its checksum or its length is wrong"));
        }
        let (bytes, was_synced) = search_synced(rest)?;
        if was_synced {
            Err(self.damage("it has a hole, and what follows was synced"))
        } else {
            Ok(Next::Hole((before + hole.len()) as u64 + bytes))
        }
    }

    /// The length of a hole that starts at this byte of the line, unless the file ends first; `None` if no hole can start
    /// there. Disks and file systems lose whole blocks, or what was appended to a block.
    fn hole_bytes(&self, at: usize) -> Option<u64> {
        let start = self.offset + at as u64;
        (at == 0 || start.is_multiple_of(BLOCK_BYTES)).then(|| BLOCK_BYTES - start % BLOCK_BYTES)
    }
}

/// The length of a record, from its digits and the space after them.
fn read_length(digits: &[u8]) -> Option<usize> {
    let digits = digits.strip_suffix(b" ")?;
    if !digits.iter().all(u8::is_ascii_digit) || digits.starts_with(b"0") {
        return None;
    }
    let length = str::from_utf8(digits).ok()?.parse().ok()?;
    (length <= MAX_RECORD_BYTES).then_some(length)
}

/// Whether these bytes can be the beginning of a line.
fn is_beginning_of_line(bytes: &[u8]) -> bool {
    let (checksum, rest) = bytes.split_at(bytes.len().min(CHECKSUM_BYTES));
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !checksum.iter().all(is_digit) {
        return false;
    }
    let Some(rest) = rest.strip_prefix(b" ") else {
        return rest.is_empty();
    };
    match rest.iter().position(|byte| *byte == b' ') {
        None => rest.len() <= 10 && rest.iter().all(u8::is_ascii_digit),
        Some(at) => read_length(&rest[..=at])
            .is_some_and(|length| rest.len() - at - 1 <= length && !rest.contains(&b'\n')),
    }
}

/// Reads to the end. Returns the number of bytes, and whether there is a line `!synced` among them. No other line ends
/// like that one.
fn search_synced(mut rest: impl io::Read) -> io::Result<(u64, bool)> {
    const END: &[u8] = b" 7 !synced\n";
    const LINE_BYTES: usize = CHECKSUM_BYTES + END.len();
    let zeros = vec![0; PIECE_BYTES];
    let mut piece = vec![0; PIECE_BYTES];
    let mut bytes = 0;
    // How much of the previous piece is kept at the start of this one.
    let mut kept = 0;
    loop {
        let count = match rest.read(&mut piece[kept..]) {
            Ok(0) => return Ok((bytes, false)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes += count as u64;
        let read = &piece[..kept + count];
        // A comparison is much faster than a search, and a hole may be long.
        if *read == zeros[..read.len()] {
            kept = 0;
            continue;
        }
        let is_synced = |line: &[u8]| {
            let checksum = line.strip_suffix(END);
            checksum.is_some_and(|checksum| Checksum::from_hex(checksum).is_some())
        };
        let mut line_ends = (LINE_BYTES..=read.len()).filter(|end| read[*end - 1] == b'\n');
        if line_ends.any(|end| is_synced(&read[end - LINE_BYTES..end])) {
            return Ok((bytes, true));
        }
        let end = read.len();
        kept = end.min(LINE_BYTES - 1);
        piece.copy_within(end - kept..end, 0);
    }
}
