//! What the CUDA part does where there is no GPU: the kernels' logic in emulation against plain
//! tensor operations, their compilation for real devices, and clear answers to what cannot work.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};
use tributary_engine::cuda::{
    self, pad_rank, stock, Cuda, Job, MultiLoraKernel, Pair, Plan, Segment, Switches, Table,
};
use tributary_engine::{EngineError, Result};

const CPU: Device = Device::Cpu;

fn random(shape: &[i64], scale: f64) -> Tensor {
    (Tensor::randn(shape, (Kind::Float, CPU)) * scale).to_kind(Kind::BFloat16)
}

/// One adapter: a pair per shape (or none), and its scale.
struct Adapter {
    pairs: Vec<Option<(Tensor, Tensor)>>,
    scale: f64,
}

impl Adapter {
    fn new(shapes: &[(usize, usize)], rank: i64, scale: f64) -> Self {
        let pair = |(input, output): &(usize, usize)| {
            let (input, output) = (*input as i64, *output as i64);
            let a = random(&[rank, input], 1.0 / (input as f64).sqrt());
            Some((a, random(&[output, rank], 1.0)))
        };
        Self { pairs: shapes.iter().map(pair).collect(), scale }
    }

    fn views(&self) -> Vec<Option<Pair<'_>>> {
        self.pairs
            .iter()
            .map(|p| p.as_ref().map(|(a, b)| Pair { a, b, scale: self.scale }))
            .collect()
    }
}

fn load(adapters: &[Adapter], shapes: &[(usize, usize)], max_rank: usize) -> Result<Table> {
    let mut table = Table::new(shapes.to_vec(), adapters.len(), max_rank, CPU)?;
    for (slot, adapter) in adapters.iter().enumerate() {
        table.load(slot, &adapter.views())?;
    }
    Ok(table)
}

/// The plain result of one pair for these segments.
fn expected(
    x: &Tensor,
    y: &Tensor,
    segments: &[Segment],
    adapters: &[Adapter],
    pair: usize,
) -> Result<Tensor> {
    let mut list = vec![];
    for s in segments {
        let Some(slot) = s.slot else { continue };
        if let Some((a, b)) = &adapters[slot].pairs[pair] {
            list.push((s.row as i64, s.rows as i64, a, b, adapters[slot].scale));
        }
    }
    stock::plain(x, y, &list)
}

/// Equal up to the last place of bf16: both sides add up in f32 and round once, in another order.
fn assert_close(found: &Tensor, wanted: &Tensor, what: &str) {
    let (found, wanted) = (found.to_kind(Kind::Float), wanted.to_kind(Kind::Float));
    assert!(found.isfinite().all().int64_value(&[]) == 1, "{what}: not finite");
    let allowed: Tensor = wanted.abs() * (1.0 / 128.0) + 1e-3;
    let excess = ((&found - &wanted).abs() - allowed).max().double_value(&[]);
    assert!(excess <= 0.0, "{what}: off by {excess} more than allowed");
}

/// Equal up to the rounding of the low-rank sums to bf16 on the way.
fn assert_near(found: &Tensor, wanted: &Tensor, what: &str) {
    let (found, wanted) = (found.to_kind(Kind::Float), wanted.to_kind(Kind::Float));
    let allowed: Tensor = wanted.abs() * (1.0 / 64.0) + 0.05;
    let excess = ((&found - &wanted).abs() - allowed).max().double_value(&[]);
    assert!(excess <= 0.0, "{what}: off by {excess} more than allowed");
}

fn bits(t: &Tensor) -> Vec<i16> {
    let t = t.contiguous().view_dtype(Kind::Int16).view([-1]);
    let mut out = vec![0i16; t.numel()];
    t.copy_data(&mut out, t.numel());
    out
}

#[test]
fn ragged_batches_of_mixed_ranks_are_as_plain_operations_make_them() -> Result<()> {
    tch::manual_seed(1);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let kernel = MultiLoraKernel::new(CPU)?;
    // Below, at and beyond one piece of the input, and widths that fill no tile.
    let shapes = [(40, 72), (1024, 8), (1160, 264), (8, 1032), (2056, 40)];
    let mut adapters: Vec<_> = [8, 16, 24, 64, 40]
        .iter()
        .enumerate()
        .map(|(i, rank)| Adapter::new(&shapes, *rank, 0.25 + i as f64 * 0.5))
        .collect();
    adapters[1].pairs[2] = None; // this one leaves a projection alone
    let table = load(&adapters, &shapes, 64)?;
    for round in 0..6 {
        // Short, long, empty and adapterless segments, with gaps between some.
        let mut segments = vec![];
        let mut row = rng.gen_range(0..3);
        for _ in 0..rng.gen_range(1..5) {
            let rows = [0, 1, 1, 2, 4, 5, 8, 9, 33, 70][rng.gen_range(0..10)];
            let slot = rng.gen_bool(0.85).then(|| rng.gen_range(0..adapters.len()));
            segments.push(Segment { row, rows, slot });
            row += rows + rng.gen_range(0..2);
        }
        let rows = row + 2;
        let plan = Plan::new(&segments, rows, CPU)?;
        let inputs: Vec<_> =
            shapes.iter().map(|(input, _)| random(&[rows as i64, *input as i64], 1.0)).collect();
        let before: Vec<_> =
            shapes.iter().map(|(_, out)| random(&[rows as i64, *out as i64], 1.0)).collect();
        let after: Vec<_> = before.iter().map(|y| y.copy()).collect();
        let jobs: Vec<_> =
            (0..shapes.len()).map(|pair| Job { pair, x: &inputs[pair], y: &after[pair] }).collect();
        kernel.apply(&table, &plan, &jobs)?;
        for pair in 0..shapes.len() {
            let wanted = expected(&inputs[pair], &before[pair], &segments, &adapters, pair)?;
            assert_close(
                &after[pair],
                &wanted,
                &format!("round {round}, pair {pair}: {segments:?}"),
            );
            // Rows of no segment keep their bits.
            for row in 0..rows {
                let touched = segments
                    .iter()
                    .any(|s| s.slot.is_some() && (s.row..s.row + s.rows).contains(&row));
                if !touched {
                    let at = |t: &Tensor| bits(&t.get(row as i64));
                    assert_eq!(at(&after[pair]), at(&before[pair]), "row {row} was not to change");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_rows_result_does_not_depend_on_the_rest_of_the_batch() -> Result<()> {
    tch::manual_seed(2);
    let kernel = MultiLoraKernel::new(CPU)?;
    let shapes = [(1288, 136)];
    let adapters = [Adapter::new(&shapes, 16, 2.0), Adapter::new(&shapes, 32, 1.0)];
    let table = load(&adapters, &shapes, 32)?;
    let x = random(&[64, 1288], 1.0);
    let y = random(&[64, 136], 1.0);
    let run = |segments: &[Segment]| -> Result<Tensor> {
        let out = y.copy();
        let plan = Plan::new(segments, 64, CPU)?;
        kernel.apply(&table, &plan, &[Job { pair: 0, x: &x, y: &out }])?;
        Ok(out)
    };
    let one = |row, rows, slot| Segment { row, rows, slot: Some(slot) };
    // Short segments: alone, beside others, in a longer short one.
    let alone = bits(&run(&[one(5, 1, 0)])?.get(5));
    assert_eq!(alone, bits(&run(&[one(0, 3, 1), one(5, 1, 0), one(7, 50, 1)])?.get(5)));
    assert_eq!(alone, bits(&run(&[one(2, 7, 0)])?.get(5)));
    // Long ones: whatever the length and where the row stands in its tile.
    let long = bits(&run(&[one(0, 9, 0)])?.get(5));
    assert_eq!(long, bits(&run(&[one(3, 60, 0)])?.get(5)));
    // Twice the same: the same bits.
    assert_eq!(bits(&run(&[one(0, 64, 1)])?), bits(&run(&[one(0, 64, 1)])?));
    Ok(())
}

#[test]
fn strided_rows_and_plans_of_fixed_room() -> Result<()> {
    tch::manual_seed(3);
    let kernel = MultiLoraKernel::new(CPU)?;
    let shapes = [(64, 32), (64, 16)];
    let adapters = [Adapter::new(&shapes, 8, 1.0), Adapter::new(&shapes, 16, 3.0)];
    let table = load(&adapters, &shapes, 16)?;
    // Two outputs side by side in one tensor, with a strip that must stay.
    let all = random(&[12, 64], 1.0);
    let before = all.copy();
    let x = random(&[12, 128], 1.0);
    let (left, right) = (all.narrow(1, 0, 32), all.narrow(1, 32, 16));
    let input = x.narrow(1, 64, 64);
    let jobs = [Job { pair: 0, x: &input, y: &left }, Job { pair: 1, x: &input, y: &right }];
    let mut plan = Plan::with_room(6, 2, 12, CPU)?;
    kernel.apply(&table, &plan, &jobs)?;
    assert_eq!(bits(&all), bits(&before), "an empty plan does nothing");
    for segments in [
        vec![
            Segment { row: 0, rows: 1, slot: Some(1) },
            Segment { row: 1, rows: 11, slot: Some(0) },
        ],
        vec![Segment { row: 3, rows: 5, slot: Some(0) }],
    ] {
        let start = all.copy();
        plan.set(&segments)?;
        kernel.apply(&table, &plan, &jobs)?;
        for (pair, (at, width)) in [(0, 32), (32, 16)].into_iter().enumerate() {
            let wanted = expected(&input, &start.narrow(1, at, width), &segments, &adapters, pair)?;
            assert_close(&all.narrow(1, at, width), &wanted, "side by side");
        }
    }
    assert_eq!(bits(&all.narrow(1, 48, 16)), bits(&before.narrow(1, 48, 16)));
    let many: Vec<_> = (0..7).map(|row| Segment { row, rows: 1, slot: Some(0) }).collect();
    assert!(plan.set(&many).is_err(), "seven tiles in room for six");
    Ok(())
}

#[test]
fn odd_ranks_are_padded_and_slots_emptied() -> Result<()> {
    tch::manual_seed(4);
    let kernel = MultiLoraKernel::new(CPU)?;
    let adapters = [Adapter::new(&[(48, 56)], 5, 1.5)];
    let Some((a, b)) = &adapters[0].pairs[0] else { panic!("the adapter has its pair") };
    let (wide_a, wide_b) = pad_rank(a, b)?;
    assert_eq!((wide_a.size(), wide_b.size()), (vec![8, 48], vec![56, 8]));
    let mut table = Table::new(vec![(48, 56)], 1, 8, CPU)?;
    assert!(matches!(table.load(0, &adapters[0].views()), Err(EngineError::Cuda { .. })));
    table.load(0, &[Some(Pair { a: &wide_a, b: &wide_b, scale: 1.5 })])?;
    let (x, y) = (random(&[3, 48], 1.0), random(&[3, 56], 1.0));
    let segments = [Segment { row: 0, rows: 3, slot: Some(0) }];
    let plan = Plan::new(&segments, 3, CPU)?;
    let out = y.copy();
    kernel.apply(&table, &plan, &[Job { pair: 0, x: &x, y: &out }])?;
    assert_close(&out, &expected(&x, &y, &segments, &adapters, 0)?, "padded rank");
    table.clear(0)?;
    let out = y.copy();
    kernel.apply(&table, &plan, &[Job { pair: 0, x: &x, y: &out }])?;
    assert_eq!(bits(&out), bits(&y), "an empty slot changes nothing");
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let kernel = MultiLoraKernel::new(CPU)?;
    let shapes = [(16, 24)];
    let adapters = [Adapter::new(&shapes, 8, 1.0)];
    let table = load(&adapters, &shapes, 8)?;
    let plan = Plan::new(&[Segment { row: 0, rows: 2, slot: Some(0) }], 2, CPU)?;
    let (x, y) = (random(&[2, 16], 1.0), random(&[2, 24], 1.0));
    let try_with = |x: &Tensor, y: &Tensor, pair, plan: &Plan| {
        kernel.apply(&table, plan, &[Job { pair, x, y }])
    };
    try_with(&x, &y, 0, &plan)?;
    let failures = [
        try_with(&x.to_kind(Kind::Float), &y, 0, &plan),
        try_with(&x, &random(&[2, 16], 1.0), 0, &plan),
        try_with(&random(&[16, 2], 1.0).transpose(0, 1), &y, 0, &plan),
        try_with(&random(&[2, 17], 1.0).narrow(1, 1, 16), &y, 0, &plan),
        try_with(&x, &y, 1, &plan),
        try_with(&x, &y, 0, &Plan::new(&[Segment { row: 0, rows: 1, slot: Some(1) }], 2, CPU)?),
        Table::new(vec![(16, 20)], 1, 8, CPU).map(drop),
        Table::new(vec![(16, 24)], 1, 65, CPU).map(drop),
        Plan::new(&[Segment { row: 1, rows: 2, slot: None }], 2, CPU).map(drop),
    ];
    for (index, failure) in failures.iter().enumerate() {
        assert!(matches!(failure, Err(EngineError::Cuda { .. })), "case {index}: {failure:?}");
    }
    Ok(())
}

#[test]
fn stock_operations_agree_with_the_plain_ones() -> Result<()> {
    tch::manual_seed(5);
    let (groups, rank, input, output) = (3, 16, 48, 40);
    let a = random(&[groups, rank, input], 0.2);
    let b = random(&[groups, output, rank], 0.5);
    let sizes = [5, 0, 12];
    let rows: i64 = sizes.iter().sum();
    let (x, y) = (random(&[rows, input], 1.0), random(&[rows, output], 1.0));
    let mut at = 0;
    let parts: Vec<_> = (0..groups)
        .map(|g| {
            let start = at;
            at += sizes[g as usize];
            (start, sizes[g as usize], a.get(g), b.get(g))
        })
        .collect();
    let list: Vec<_> = parts.iter().map(|(r, n, a, b)| (*r, *n, a, b, 1.0)).collect();
    let wanted = stock::plain(&x, &y, &list)?.to_kind(Kind::Float);
    let ends = stock::ends(&sizes, CPU)?;
    let found = stock::grouped(&x, &y, &ends, &a, &b)?.to_kind(Kind::Float);
    // The low-rank sums are rounded to bf16 on the way here.
    assert_near(&found, &wanted, "grouped");

    // Gradients pass through both products.
    let weights = Tensor::randn([rows, output], (Kind::Float, CPU));
    let leaf = |t: &Tensor| t.copy().set_requires_grad(true);
    let back = |y: Tensor| (y.to_kind(Kind::Float) * &weights).sum(Kind::Float).backward();
    let (a1, b1, a2, b2) = (leaf(&a), leaf(&b), leaf(&a), leaf(&b));
    back(stock::grouped(&x, &y, &ends, &a1, &b1)?);
    let views: Vec<_> = (0..groups).map(|g| (a2.get(g), b2.get(g))).collect();
    let leaves: Vec<_> =
        parts.iter().zip(&views).map(|((r, n, ..), (a, b))| (*r, *n, a, b, 1.0)).collect();
    back(stock::plain(&x, &y, &leaves)?);
    for (name, found, wanted) in [("A", a1.grad(), a2.grad()), ("B", b1.grad(), b2.grad())] {
        let (found, wanted) = (found.to_kind(Kind::Float), wanted.to_kind(Kind::Float));
        let off = ((&found - &wanted).norm() / wanted.norm()).double_value(&[]);
        assert!(off < 0.02, "gradient of {name}: off by {off} of its length");
    }

    let index = Tensor::from_slice(&[0i64, 1, 2, 2, 0]);
    let (x, y) = (x.narrow(0, 0, 5), y.narrow(0, 0, 5));
    let found = stock::by_row(&x, &y, &a.index_select(0, &index), &b.index_select(0, &index))?;
    let order = [0usize, 1, 2, 2, 0];
    let list: Vec<_> = order
        .iter()
        .enumerate()
        .map(|(row, g)| (row as i64, 1, &parts[*g].2, &parts[*g].3, 1.0))
        .collect();
    assert_near(&found, &stock::plain(&x, &y, &list)?, "by row");

    assert!(stock::grouped(&x, &y, &ends, &a.narrow(1, 0, 7), &b).is_err(), "rank 7");
    Ok(())
}

/// Registers and shared memory of each kernel, from the compiler's own account.
fn usage(log: &str) -> Vec<(String, u32, u32)> {
    let mut found = vec![];
    let mut name = String::new();
    let number_before = |line: &str, word: &str| -> u32 {
        let words: Vec<_> = line.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        let at = words.iter().position(|w| *w == word).unwrap_or(0);
        let mut back = words[..at].iter().rev();
        back.find_map(|w| w.parse().ok()).unwrap_or(0)
    };
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            name = rest.split('\'').next().unwrap_or_default().to_string();
        } else if line.contains("Used ") && line.contains(" registers") {
            found.push((
                name.clone(),
                number_before(line, "registers"),
                number_before(line, "smem"),
            ));
        }
    }
    found
}

#[test]
fn kernels_compile_for_real_devices_within_their_limits() -> Result<()> {
    for arch in ["sm_80", "sm_90"] {
        let compiled = match cuda::compile(arch, true) {
            Err(EngineError::Cuda { doing: "opening the kernel compiler", reason }) => {
                println!("not tested: {reason}");
                return Ok(());
            }
            other => other?,
        };
        assert_eq!(&compiled.image[..4], b"\x7fELF", "a cubin");
        let log = compiled.log.to_lowercase();
        assert!(!log.contains("warning") && !log.contains("error"), "{}", compiled.log);
        let kernels = usage(&compiled.log);
        let mut names: Vec<_> = kernels.iter().map(|(name, ..)| name.as_str()).collect();
        names.sort();
        let all = ["lora_expand_few", "lora_expand_many", "lora_shrink_few", "lora_shrink_many"];
        assert_eq!(names, all);
        for (name, registers, shared) in &kernels {
            // Blocks that must fit on one multiprocessor at a time, and threads of a block, so
            // that enough loads are under way; 65,536 registers and 164 KiB (sm_80) are there.
            let (blocks, threads) = match name.as_str() {
                "lora_shrink_few" => (4, 256),
                "lora_expand_few" => (3, 256),
                _ => (4, 128),
            };
            assert!(
                *registers > 0 && registers * threads * blocks <= 65_536,
                "{name}: {registers}"
            );
            assert!(*shared > 0 && *shared <= 48 * 1024, "{name}: {shared} bytes");
            assert!(shared * blocks <= 164 * 1024, "{name}: {shared} bytes in {blocks} blocks");
        }
        let spilled = compiled.log.lines().any(|l| {
            l.contains("spill") && !l.contains(" 0 bytes spill stores, 0 bytes spill loads")
        });
        assert!(!spilled, "registers spill: {}", compiled.log);
    }
    match cuda::compile("sm_00", false) {
        Err(EngineError::Cuda { reason, .. }) => assert!(!reason.is_empty()),
        other => panic!("no such architecture, but {other:?}"),
    }
    Ok(())
}

#[test]
fn without_a_device_answers_are_errors_in_words() -> Result<()> {
    let missing = match cuda::start() {
        Cuda::Ready { devices } => {
            println!("not tested: {devices} devices are here");
            return Ok(());
        }
        Cuda::Missing(reason) => reason,
    };
    assert!(missing.len() > 10, "{missing}");
    assert_eq!(cuda::start(), Cuda::Missing(missing), "the first answer stands");
    let refused = |result: Result<()>| match result {
        Err(error @ EngineError::Cuda { .. }) => {
            assert_eq!(error.label(), "cuda");
            assert!(error.to_string().len() > 20, "{error}");
        }
        other => panic!("there is no device, but {other:?}"),
    };
    let all = || {
        refused(MultiLoraKernel::new(Device::Cuda(0)).map(drop));
        refused(cuda::Stream::current(0).map(drop));
        refused(cuda::Memory::of(0).map(drop));
        refused(cuda::Graph::record(0, || Ok(())).map(drop));
        refused(cuda::DeviceFacts::of(0).map(drop));
        refused(cuda::use_device(0));
    };
    all();
    // With PyTorch's CUDA part in the process, the errors are its own, and are caught too.
    match cuda::load_torch_cuda() {
        Ok(()) => {
            assert_eq!(cuda::device_count()?, 0);
            all();
        }
        Err(error) => println!("not tested: {error}"),
    }
    Ok(())
}

#[test]
fn switches_are_set_and_put_back() -> Result<()> {
    let before = Switches::reproducible().set()?;
    assert_eq!(Switches::get()?, Switches::reproducible());
    // An operation without a reproducible routine is refused while the switch is on.
    let values = Tensor::ones([4], (Kind::Float, CPU)).set_requires_grad(true);
    let spread = values.f_put(
        &Tensor::from_slice(&[0i64, 0]),
        &Tensor::ones([2], (Kind::Float, CPU)),
        false,
    );
    assert!(spread.is_err(), "`put` has no reproducible routine");
    let strict = before.set()?;
    assert_eq!(strict, Switches::reproducible());
    assert_eq!(Switches::get()?, before);
    assert!(!before.deterministic && before.sdp_math && before.sdp_flash);
    Ok(())
}
