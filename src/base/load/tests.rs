//! Turns, queues and shares of the classes.

use tokio::time::sleep;

use super::*;
use crate::base::error::Kind;

/// One turn of each class, and so many places to wait.
fn narrow(waiting: usize, metrics: &Metrics) -> Arc<Load> {
    let class = || config::LoadClass { at_once: 1, waiting, seconds: 0 };
    let settings = config::Load {
        reports: class(),
        polls: class(),
        money: class(),
        people: class(),
        strangers: class(),
        entry: class(),
        pictures: class(),
        searches: class(),
        exports: class(),
        pulls: class(),
        node_pulls: class(),
        pushes: class(),
    };
    Arc::new(Load::on(&settings, 2, metrics))
}

/// The counters of a class.
fn told(metrics: &Metrics, class: &'static str) -> [u64; 3] {
    ["admitted", "queued", "shed"].map(|outcome| metrics.load.get_or_create(&[("class", class), ("outcome", outcome)]).get())
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_is_served_first_and_who_waits_too_long_never() {
    let (metrics, order) = (Metrics::default(), Arc::new(Mutex::new(Vec::new())));
    let load = narrow(8, &metrics);
    let first = load.admit(Class::Strangers, None).await.unwrap();
    let begin = Instant::now();
    let waiting: Vec<_> = (0..4)
        .map(|n| {
            let (load, order) = (load.clone(), order.clone());
            tokio::spawn(async move {
                sleep(Duration::from_millis(n)).await;
                let turn = load.admit(Class::Strangers, None).await;
                let answered = begin.elapsed();
                if turn.is_ok() {
                    order.lock().unwrap().push(n);
                    sleep(Duration::from_millis(700)).await;
                }
                (turn.map(drop), answered)
            })
        })
        .collect();
    sleep(Duration::from_millis(900)).await;
    drop(first);
    let mut shed = Vec::new();
    for task in waiting {
        if let (Err(e), answered) = task.await.unwrap() {
            shed.push((e.kind, e.code, answered.as_millis()));
        }
    }
    // Two had their turns at 900 and 1,600 ms; the next one would be at 2,300 ms, when the other two have waited for two seconds.
    assert_eq!(*order.lock().unwrap(), [0, 1]);
    assert_eq!(shed, [(Kind::Unavailable, "server-busy", 2_002), (Kind::Unavailable, "server-busy", 2_003)]);
    assert_eq!(told(&metrics, "strangers"), [3, 2, 2]);
    load.admit(Class::Strangers, None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_and_another_class_notices_nothing() {
    let metrics = Metrics::default();
    let load = narrow(2, &metrics);
    let _held = load.admit(Class::Strangers, None).await.unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let load = load.clone();
            tokio::spawn(async move { load.admit(Class::Strangers, None).await.map(drop) })
        })
        .collect();
    sleep(Duration::from_millis(1)).await;
    let begin = Instant::now();
    let refused = load.admit(Class::Strangers, None).await.unwrap_err();
    assert!(refused.code == "server-busy" && refused.retry_after.is_some_and(|after| (1..=3).contains(&after)));
    for class in Class::ALL.into_iter().filter(|class| *class != Class::Strangers) {
        load.admit(class, None).await.unwrap();
    }
    assert_eq!(begin.elapsed(), Duration::ZERO, "nobody waited");
    // Who gives up leaves the queue.
    for task in waiting {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let (again, load_) = (Instant::now(), load.clone());
    let waits = tokio::spawn(async move { load_.admit(Class::Strangers, None).await.map(drop) });
    assert_eq!(waits.await.unwrap().unwrap_err().code, "server-busy");
    assert_eq!(again.elapsed(), Duration::from_secs(2), "it had a place");
}

#[tokio::test(start_paused = true)]
async fn nobody_has_more_than_a_quarter_of_a_class() {
    let metrics = Metrics::default();
    let load = narrow(11, &metrics);
    let held = load.admit(Class::Reports, None).await.unwrap();
    let node = |n: u8| Some(Who::Certificate([n; 32]));
    let waits = |who| {
        let load = load.clone();
        tokio::spawn(async move { load.admit(Class::Reports, who).await.map(drop) })
    };
    let flood: Vec<_> = (0..40).map(|n| waits(node(n % 2))).collect();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(flood.iter().filter(|task| task.is_finished()).count(), 34, "three of twelve each");
    let third = waits(node(2));
    sleep(Duration::from_millis(1)).await;
    drop(held);
    assert!(third.await.unwrap().is_ok());
    for task in flood {
        let refused = task.await.unwrap().err().map(|e| (e.code, e.retry_after.is_some_and(|after| after >= 5)));
        assert!(matches!(refused, None | Some(("server-busy", true))), "{refused:?}");
    }
    load.admit(Class::Reports, node(0)).await.unwrap();
    assert_eq!(told(&metrics, "reports"), [9, 7, 34]);
}

#[tokio::test(start_paused = true)]
async fn a_crowded_class_has_a_short_queue_until_few_are_refused() {
    let metrics = Metrics::default();
    let load = narrow(9, &metrics);
    let _held = [load.admit(Class::People, None).await.unwrap(), load.admit(Class::Reports, None).await.unwrap()];
    // So many at once; how many of them are refused at once.
    let told = async |class: Class, n: usize| {
        let waits = |load: Arc<Load>| async move { load.admit(class, None).await.map(drop) };
        let waiting: Vec<_> = (0..n).map(|_| tokio::spawn(waits(load.clone()))).collect();
        sleep(Duration::from_millis(1)).await;
        let refused = waiting.iter().filter(|task| task.is_finished()).count();
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        sleep(WINDOW).await;
        refused
    };
    // Nine places, of which a crowded class gives two: three have a turn or wait.
    assert_eq!((told(Class::People, 20).await, told(Class::People, 20).await, told(Class::People, 20).await), (11, 18, 18));
    assert_eq!((told(Class::Reports, 20).await, told(Class::Reports, 20).await), (11, 11), "nodes rather wait");
    // Some come in the same moment by chance, and no tenth of them is refused: the queue is long again.
    sleep(WINDOW).await;
    assert_eq!((told(Class::People, 9).await, told(Class::People, 9).await), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nodes_do_not_all_come_back_at_once_and_pulls_are_told_in_the_words_of_registries() {
    let metrics = Metrics::default();
    let load = narrow(1, &metrics);
    let _held = (load.admit(Class::Reports, None).await.unwrap(), load.admit(Class::Pulls, None).await.unwrap());
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..40 {
        told.insert(load.admit(Class::Reports, None).await.unwrap_err().retry_after.unwrap());
    }
    assert!(told.len() > 5 && told.iter().all(|after| (5..=60).contains(after)), "{told:?}");
    let pull = load.admit(Class::Pulls, None).await.unwrap_err();
    assert_eq!((pull.kind, pull.code), (Kind::RateLimited, "server-busy"));
}

#[tokio::test(start_paused = true)]
async fn bounds_are_those_of_the_settings_or_grow_with_the_cores() {
    let metrics = Metrics::default();
    let settings = config::Load { searches: config::LoadClass { at_once: 3, waiting: 0, seconds: 7 }, ..config::Load::default() };
    let free = async |load: &Load, class: Class| {
        let lane = load.0.iter().find(|lane| lane.class == class).unwrap();
        let mut turns = Vec::new();
        while let Ok(turn) = lane.queue.place().unwrap().turn_within(Duration::ZERO).await {
            turns.push(turn);
        }
        (turns.len(), lane.patience.as_secs())
    };
    let (two, eight) = (Load::on(&settings, 2, &metrics), Load::on(&settings, 8, &metrics));
    assert_eq!([free(&two, Class::Searches).await, free(&eight, Class::Searches).await], [(3, 7), (3, 7)]);
    assert_eq!([free(&two, Class::Reports).await, free(&eight, Class::Reports).await], [(64, 5), (256, 5)]);
    assert_eq!([free(&two, Class::Strangers).await, free(&eight, Class::Strangers).await], [(4, 2), (16, 2)]);
}
