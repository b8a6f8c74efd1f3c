//! How long rendering and planning take (1,000 components, 10,000 objects),
//! and a rehearsal of 1,000 objects.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn render_and_plan(criterion: &mut Criterion) {
    let input = cozy::bench::input(1_000);
    assert_eq!(cozy::bench::render_and_plan(&input).objects(), 10_000);
    criterion.bench_function("render and plan 10,000 objects", |bencher| {
        // What was made is freed between the runs.
        bencher.iter_batched(|| (), |()| cozy::bench::render_and_plan(&input), BatchSize::PerIteration);
    });
}

fn rehearse(criterion: &mut Criterion) {
    let planned = cozy::bench::render_and_plan(&cozy::bench::input(100));
    assert_eq!(planned.objects(), 1_000);
    assert!(planned.rehearse());
    let mut group = criterion.benchmark_group("rehearse");
    group.sample_size(10);
    group.bench_function("1,000 objects", |bencher| bencher.iter(|| planned.rehearse()));
}

criterion_group!(benches, render_and_plan, rehearse);
criterion_main!(benches);
