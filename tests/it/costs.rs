//! How much a rehearsal costs: in memory, and in time on the processor, which other processes do not change much.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::some;

/// What a run cost.
struct Cost {
    /// From start to end.
    wall: Duration,
    /// Of all threads.
    processor: Duration,
    /// The most that was resident, in bytes.
    memory: u64,
}

/// Ten objects: a workload, and what usually stands beside one.
const OBJECTS: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: main }\nspec:\n  replicas: 2\n  \
    selector: { matchLabels: { app: main } }\n  template:\n    metadata: { labels: { app: main } }\n    spec:\n      \
    serviceAccountName: main\n      containers: [{ name: main, image: 'registry.example/main:1', readinessProbe: { httpGet: { port: 80 } }, envFrom: [{ configMapRef: { name: config-0 } }] }]\n\
    ---\napiVersion: v1\nkind: ServiceAccount\nmetadata: { name: main }\n\
    ---\napiVersion: v1\nkind: Service\nmetadata: { name: main }\nspec: { selector: { app: main }, ports: [{ port: 80 }] }\n\
    {% for number in range(6) %}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: {{ 'config-' ~ number }} }\ndata: { cloud: {{ cloud.name }} }\n{% endfor %}\n";

/// What makes a rule believe that the workload is ready as soon as it says so; without it, it must stay so for a while.
const PROBE: &str = " readinessProbe: { httpGet: { port: 80 } },";

/// Rehearses a cloud of so many components with ten objects each; every tenth needs the one before.
fn rehearse(components: usize, probes: bool) -> Cost {
    let folder = tempfile::tempdir().unwrap();
    let objects = if probes { OBJECTS.to_owned() } else { OBJECTS.replace(PROBE, "") };
    let mut bundle =
        "apiVersion: cozy/v1\nkind: Bundle\nname: many\nversion: 1.0.0\nsummary: many\ncomponents:\n"
            .to_owned();
    for number in 0..components {
        let own = folder.path().join(format!("templates/c{number}"));
        fs_err::create_dir_all(&own).unwrap();
        let needs = if number % 10 == 9 { format!("needs: [c{}]\n", number - 1) } else { String::new() };
        let contract = format!(
            "apiVersion: cozy/v1\nkind: Component\nname: c{number}\nsummary: x\ncategory: x\nversion: 1.0.0\n\
             namespace: {{ name: ns-{number}, podSecurity: privileged }}\nsource: {{ templates: [all.yaml.j2] }}\n{needs}"
        );
        fs_err::write(own.join("component.yaml"), contract).unwrap();
        fs_err::write(own.join("all.yaml.j2"), &objects).unwrap();
        writeln!(bundle, "  c{number}: {{}}").unwrap();
    }
    fs_err::create_dir_all(folder.path().join("bundles")).unwrap();
    fs_err::write(folder.path().join("bundles/many.yaml"), bundle).unwrap();
    let cloud = folder.path().join("cozy.yaml");
    let text =
        "apiVersion: cozy/v1\nkind: Cloud\nname: many\nbundle: many\nkubernetes: { provider: existing }\n";
    fs_err::write(&cloud, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cozy"));
    command.args(["install", "--rehearse", "--yes", "-o", "json", "--file"]).arg(&cloud);
    command.arg("--catalogue").arg(folder.path()).env_clear().env("XDG_STATE_HOME", folder.path());
    cost(command, components * 10)
}

/// Runs a rehearsal; what it cost is read while it runs, until its last event.
fn cost(mut command: Command, objects: usize) -> Cost {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut cost = Cost { wall: Duration::ZERO, processor: Duration::ZERO, memory: 0 };
    let mut last = String::new();
    for (number, line) in BufReader::new(child.stdout.take().unwrap()).lines().enumerate() {
        last = line.unwrap();
        // Near the end every event counts, before it a few do.
        if number % 50 == 0 || last.contains("runFinished") || last.contains("componentReady") {
            let process = format!("/proc/{}", child.id());
            let status = fs_err::read_to_string(format!("{process}/status")).unwrap_or_default();
            let stat = fs_err::read_to_string(format!("{process}/stat")).unwrap_or_default();
            cost.memory = cost.memory.max(peak(&status).unwrap_or_default());
            cost.processor = cost.processor.max(processor(&stat).unwrap_or_default());
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(cost.memory > MIB && !cost.processor.is_zero(), "nothing was read of what it cost");
    cost.wall = started.elapsed();
    let end: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(end["counts"]["create"], objects);
    cost
}

/// The most that was resident, of `/proc/PID/status`.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Time on the processor, of `/proc/PID/stat`: user and system, in hundredths of a second (proc(5)).
fn processor(stat: &str) -> Option<Duration> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

const MIB: u64 = 1 << 20;

/// What is not optimized takes about ten times as long, but no more memory, and no more for each object.
#[expect(clippy::print_stdout, reason = "figures are shown to whoever asks for them")]
fn costs_little_and_grows_with_the_number(probes: bool) {
    // Of an optimized binary the times count.
    let components = if cfg!(debug_assertions) { 100 / some(2) } else { 100 };
    let small = rehearse(components, probes);
    assert!(small.memory <= 128 * MIB, "{components}0 objects: {} MiB", small.memory / MIB);
    if cfg!(debug_assertions) {
        let large = rehearse(components * 4, probes);
        let ratio = large.processor.as_secs_f64() / small.processor.as_secs_f64();
        println!("{components}0 objects: {:?}, four times as many: {ratio:.1} times", small.processor);
        assert!(ratio < 5.0, "four times the objects: {ratio} times the time, {:?}", large.processor);
        assert!(large.memory <= 3 * small.memory, "{} and {} MiB", small.memory / MIB, large.memory / MIB);
        return;
    }
    let large = rehearse(1_000, probes);
    assert!(small.wall <= Duration::from_secs(1), "1,000 objects: {:?}", small.wall);
    assert!(large.wall <= Duration::from_secs(10), "10,000 objects: {:?}", large.wall);
    assert!(large.memory <= 1024 * MIB, "10,000 objects: {} MiB", large.memory / MIB);
    let said =
        |name: &str, cost: &Cost| format!("{name} objects: {:?}, {} MiB", cost.wall, cost.memory / MIB);
    println!("{}\n{}", said("1,000", &small), said("10,000", &large));
}

#[test]
fn a_rehearsal_of_many_objects_costs_little_and_grows_with_their_number() {
    costs_little_and_grows_with_the_number(true);
}

#[test]
fn so_does_one_whose_workloads_must_prove_themselves() {
    costs_little_and_grows_with_the_number(false);
}

/// What a user waits for who tries the example.
#[test]
fn the_example_is_rehearsed_in_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cozy"));
    command
        .args(["install", "--rehearse", "--yes", "-o", "json", "--file", "examples/edge.yaml"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("XDG_STATE_HOME", folder.path());
    let cost = cost(command, 62);
    // The pages of a binary that is not optimized count, too.
    let most = if cfg!(debug_assertions) { 96 * MIB } else { 64 * MIB };
    assert!(cost.memory <= most, "{} MiB", cost.memory / MIB);
    assert!(
        cost.processor <= Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 }),
        "{:?}",
        cost.processor
    );
}
