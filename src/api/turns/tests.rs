//! Waiting for a permit.

use super::*;
use futures_util::FutureExt as _;

#[tokio::test]
async fn a_caller_that_comes_later_is_served_before_all_that_another_one_has_brought() {
    let turns = Turns::new(2);
    let taken = [Arc::clone(&turns).wait(1).await, Arc::clone(&turns).wait(1).await];
    let mut many: Vec<_> = (0..1000).map(|_| Box::pin(Arc::clone(&turns).wait(1))).collect();
    assert!(many.iter_mut().all(|wait| wait.now_or_never().is_none()));
    let mut other = Box::pin(Arc::clone(&turns).wait(2));
    assert!((&mut other).now_or_never().is_none());

    let [first, second] = taken;
    drop(first);
    let place = (&mut other).now_or_never();

    assert!(place.is_some());
    assert!(many.iter_mut().all(|wait| wait.now_or_never().is_none()), "one of them has a place, and another caller the other one");
    drop(second);
    assert!(many[0].as_mut().now_or_never().is_some());
}

#[tokio::test]
async fn whoever_goes_away_leaves_the_queue_or_gives_its_place_to_the_next() {
    let turns = Turns::new(1);
    let place = Arc::clone(&turns).wait(1).await;
    let mut waits: Vec<_> = (0..3).map(|caller| Box::pin(Arc::clone(&turns).wait(caller))).collect();
    assert!(waits.iter_mut().all(|wait| wait.now_or_never().is_none()));
    let mut last = waits.pop().unwrap();

    // Of the two requests before `last`, one leaves while it waits, the other after it got a permit.
    drop(waits.pop());
    drop(place);
    drop(waits);

    assert!((&mut last).now_or_never().is_some());
    drop(last);
    let queue = turns.queue();
    assert_eq!((queue.free(), queue.is_empty()), (1, true));
}
