//! Tests of the log writer against outputs that work, stall, tear lines and fail.

use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Maximum wait: all steps of these tests are short, so a longer wait means a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// An output that asks the test for the result of each write.
struct Asks {
    /// Sends the bytes that the log writer wants to write.
    wanted: Sender<Vec<u8>>,
    /// Receives the number of bytes that are written, or the error.
    answers: Receiver<io::Result<usize>>,
}

impl Write for Asks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wanted.send(bytes.to_vec()).map_err(io::Error::other)?;
        self.answers.recv().unwrap_or(Ok(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log writer, the receiver of the bytes that it writes, and the sender of the results of these writes.
fn writer() -> (LogWriter, Receiver<Vec<u8>>, Sender<io::Result<usize>>) {
    let ((wanted, seen), (answer, answers)) = (channel(), channel());
    (LogWriter::start(Asks { wanted, answers }).unwrap(), seen, answer)
}

fn next(seen: &Receiver<Vec<u8>>) -> String {
    String::from_utf8(seen.recv_timeout(PATIENCE).expect("a write")).unwrap()
}

#[test]
fn lines_are_written_in_order_and_a_flush_waits_for_them() {
    let (writer, seen, answer) = writer();
    drop(answer);

    writer.push(b"one\n".to_vec());
    writer.push(b"two\n".to_vec());

    assert!(writer.flush(PATIENCE));
    assert_eq!((next(&seen), next(&seen)), ("one\n".to_owned(), "two\n".to_owned()));
    assert_eq!(writer.lost(), 0);
}

#[test]
fn a_reader_that_stalls_holds_up_nobody_and_what_finds_no_room_is_counted() {
    let (writer, seen, answer) = writer();
    writer.push(b"stalls\n".to_vec());
    assert_eq!(next(&seen), "stalls\n");

    for _ in 0..MAX_LINES + 7 {
        writer.push(b"x\n".to_vec());
    }
    writer.push(b"a text\nof three\nlines\n".to_vec());

    assert_eq!(writer.lost(), 10);
    assert!(!writer.flush(Duration::ZERO), "a flush is bounded");
    drop(answer);
    assert!(writer.flush(PATIENCE), "the reader reads again");
    assert_eq!(seen.iter().take(MAX_LINES).count(), MAX_LINES);
    assert_eq!(writer.lost(), 10);
}

#[test]
fn the_bytes_that_wait_are_bounded_too() {
    let (writer, seen, _answer) = writer();
    writer.push(b"stalls\n".to_vec());
    next(&seen);

    writer.push(vec![b'x'; MAX_BYTES]);
    assert_eq!(writer.lost(), 0);
    writer.push(b"y".to_vec());
    assert_eq!(writer.lost(), 1);
}

#[test]
fn a_line_that_cannot_be_written_is_lost_and_counted_and_the_next_one_is_written() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe, io::ErrorKind::WouldBlock] {
        let (writer, seen, answer) = writer();
        answer.send(Err(kind.into())).unwrap();
        drop(answer);

        writer.push(b"lost\n".to_vec());
        writer.push(b"kept\n".to_vec());

        assert!(writer.flush(PATIENCE), "{kind}");
        assert_eq!((next(&seen), next(&seen), writer.lost()), ("lost\n".to_owned(), "kept\n".to_owned(), 1), "{kind}");
    }
}

#[test]
fn a_line_is_written_on_where_a_short_write_left_off_and_a_torn_one_is_ended() {
    let (writer, seen, answer) = writer();
    for outcome in [Ok(3), Err(io::ErrorKind::Interrupted.into()), Err(io::ErrorKind::StorageFull.into())] {
        answer.send(outcome).unwrap();
    }
    drop(answer);

    writer.push(b"torn line\n".to_vec());
    writer.push(b"whole\n".to_vec());

    assert!(writer.flush(PATIENCE));
    let writes: Vec<String> = (0..5).map(|_| next(&seen)).collect();
    assert_eq!(writes, ["torn line\n", "n line\n", "n line\n", "\n", "whole\n"]);
    assert_eq!(writer.lost(), 1);
}
