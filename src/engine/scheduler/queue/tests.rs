//! The order of admission, rule by rule and after any order of events.

use super::*;
use proptest::prelude::*;

fn ids(queue: &WaitingQueue) -> Vec<u64> {
    queue.iter().map(|waiting| waiting.id.0).collect()
}

/// Admits the sequence that is next, and returns its key and id.
fn admit(queue: &mut WaitingQueue) -> Option<(u64, u64)> {
    let mut walk = queue.walk();
    let (key, next) = queue.at(&walk)?;
    queue.admit(&mut walk);
    Some((key, next.id.0))
}

fn queue_of(sequences: &[(u64, u64)]) -> WaitingQueue {
    let mut queue = WaitingQueue::default();
    sequences.iter().for_each(|(key, id)| queue.push(*key, SequenceId(*id)));
    queue
}

#[test]
fn new_sequences_come_last_and_those_that_gave_way_first() {
    let mut queue = queue_of(&[(0, 1), (0, 2), (0, 3)]);
    assert_eq!(admit(&mut queue), Some((0, 1)));
    queue.put_back(0, SequenceId(1));
    assert_eq!(ids(&queue), [1, 2, 3]);

    queue.remove(0, SequenceId(3));

    assert_eq!(ids(&queue), [1, 2]);
    assert_eq!((admit(&mut queue), admit(&mut queue), admit(&mut queue)), (Some((0, 1)), Some((0, 2)), None));
    assert!(queue.is_empty(), "{queue:?}");
}

#[test]
fn keys_take_turns_and_a_key_that_runs_nothing_goes_before_one_that_does() {
    let mut queue = queue_of(&[(1, 10), (1, 11), (1, 12), (1, 13)]);
    assert_eq!((admit(&mut queue), admit(&mut queue)), (Some((1, 10)), Some((1, 11))));
    queue.push(2, SequenceId(20));
    queue.push(2, SequenceId(21));
    queue.push(3, SequenceId(30));

    let mut order = Vec::new();
    for _ in 0..5 {
        queue.on_end(1);
        order.extend(admit(&mut queue).map(|(_, id)| id));
    }

    assert_eq!(order, [20, 30, 12, 13, 21]);
}

#[test]
fn one_slot_goes_to_the_key_whose_last_start_is_longest_ago() {
    let mut queue = queue_of(&[(1, 10), (1, 11), (1, 12)]);
    assert_eq!(admit(&mut queue), Some((1, 10)));
    queue.push(2, SequenceId(20));
    queue.push(2, SequenceId(21));

    let mut order = Vec::new();
    let mut running = 1;
    loop {
        queue.on_end(running);
        let Some((key, id)) = admit(&mut queue) else { break };
        running = key;
        order.push(id);
    }

    assert_eq!(order, [20, 11, 21, 12]);
}

#[test]
fn a_pass_leaves_sequences_that_wait_for_a_prefix_and_goes_on_in_turns() {
    let mut queue = queue_of(&[(1, 10), (1, 11), (2, 20), (2, 21)]);
    let mut walk = queue.walk();
    let deferral = Deferral { leader: SequenceId(9), common: 64 };
    queue.defer(&walk, Some(deferral));
    queue.pass(&mut walk);

    let mut admitted = Vec::new();
    while let Some(next) = queue.next(&walk) {
        admitted.push(next.id.0);
        queue.admit(&mut walk);
    }

    assert_eq!(admitted, [11, 20, 21]);
    assert_eq!(queue.iter().collect::<Vec<_>>(), [QueuedSequence { id: SequenceId(10), deferral: Some(deferral) }]);
    assert_eq!(queue.running(), HashMap::from([(1, 1), (2, 2)]));
}

#[test]
fn a_new_sequence_waits_for_those_of_its_key_and_for_a_turn_of_every_other_key() {
    let queue = queue_of(&[(1, 10), (1, 11), (1, 12), (2, 20)]);
    let ahead = |key| queue.ahead_of(key).map(|id| id.0).collect::<Vec<_>>();

    assert_eq!(ahead(1), [10, 11, 12, 20]);
    assert_eq!(ahead(2), [10, 11, 20]);
    assert_eq!(ahead(3), [10, 20]);
}

#[test]
fn a_pause_ends_after_its_steps_or_when_a_sequence_ends() {
    let mut queue = WaitingQueue::default();
    assert!(!queue.pause() && queue.is_paused());
    assert!(queue.pause(), "no step was completed in between");

    (0..PAUSE_STEPS).for_each(|_| queue.on_step());
    assert!(!queue.is_paused());

    assert!(!queue.pause());
    queue.on_end(0);
    assert!(!queue.is_paused());
}

/// An event of the life of sequences.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A sequence of this key comes.
    Push(u64),
    /// A slot is free for the next one.
    Admit,
    /// The n-th running sequence ends.
    End(usize),
    /// The n-th waiting sequence is cancelled.
    Cancel(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..5_u64).prop_map(Event::Push),
        3 => Just(Event::Admit),
        3 => (0..16_usize).prop_map(Event::End),
        1 => (0..16_usize).prop_map(Event::Cancel),
    ];
    prop::collection::vec(event, 0..300)
}

proptest! {
    /// However many sequences the others have: while a key waits and runs nothing, each other key starts at most once.
    #[test]
    fn no_key_starts_twice_while_another_one_waits_and_runs_nothing(events in events()) {
        let mut queue = WaitingQueue::default();
        let (mut waiting, mut running): (Vec<(u64, u64)>, Vec<u64>) = (Vec::new(), Vec::new());
        // By key: the keys that have started since it waits and runs nothing.
        let mut passed: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for (id, event) in (0..).zip(events) {
            match event {
                Event::Push(key) => {
                    queue.push(key, SequenceId(id));
                    waiting.push((key, id));
                }
                Event::Admit => {
                    let Some((key, id)) = admit(&mut queue) else {
                        prop_assert!(waiting.is_empty());
                        continue;
                    };
                    let oldest = waiting.iter().position(|(other, _)| *other == key).unwrap();
                    prop_assert_eq!(waiting.remove(oldest), (key, id));
                    running.push(key);
                    passed.remove(&key);
                    for (other, passed_by) in &mut passed {
                        prop_assert!(passed_by.insert(key), "key {} waits, and {} starts again", other, key);
                    }
                }
                Event::End(number) if !running.is_empty() => queue.on_end(running.remove(number % running.len())),
                Event::Cancel(number) if !waiting.is_empty() => {
                    let (key, id) = waiting.remove(number % waiting.len());
                    queue.remove(key, SequenceId(id));
                }
                Event::End(_) | Event::Cancel(_) => {}
            }
            let starved = |key: &u64| waiting.iter().any(|(other, _)| other == key) && !running.contains(key);
            passed.retain(|key, _| starved(key));
            (0..5).filter(starved).for_each(|key| { passed.entry(key).or_default(); });
            prop_assert_eq!(queue.len(), waiting.len());
            prop_assert_eq!(queue.running().values().sum::<u32>() as usize, running.len());
        }
    }
}
