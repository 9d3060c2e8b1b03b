// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
//! What virtio-queue's device side costs for a chain: the ring, the buffers and the output of queue_cost.c, so that the two
//! can be measured in turn. device_batch() is all that is timed, and all that callgrind counts.
use std::time::Instant;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

const NUM: usize = 256;
const REGION_LEN: u64 = 0x20_0000;
const RING_GPA: u64 = 0x10_0000;
const AVAIL: u64 = RING_GPA + 0x4000;
const USED: u64 = RING_GPA + 0x8000;
const TABLES: u64 = RING_GPA + 0x1_0000;
const FIRST_GPA: u64 = 0x100_0000; // with more than one region
const ONE_LEN: u64 = 0x40_0000; // with one, buffers are behind the tables
const SAMPLES: usize = 21;

struct Shape {
    name: &'static str,
    indirect: bool,
    descs: &'static [(u32, bool)], // length, and whether the device writes
}

const BLOCK: &[(u32, bool)] = &[(16, false), (4096, true), (1, true)];
const SHAPES: [Shape; 4] = [
    Shape { name: "s0", indirect: false, descs: &[(64, false)] },
    Shape { name: "s1", indirect: false, descs: BLOCK },
    Shape {
        name: "s2",
        indirect: false,
        descs: &[(64, false), (64, false), (64, false), (64, false), (64, true), (64, true), (64, true), (64, true)],
    },
    Shape { name: "s3", indirect: true, descs: BLOCK },
];

struct Lcg(u32);

impl Lcg {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1664525).wrapping_add(1013904223);
        self.0 >> 8
    }

    fn buffer(&mut self, regions: u32, len: u32) -> u64 {
        let region = if regions > 1 { u64::from(self.next() % (regions - 1)) } else { 0 };
        let within = u64::from(self.next() % (REGION_LEN as u32 - len) & !63);
        if regions == 1 {
            return RING_GPA + ONE_LEN - REGION_LEN + within;
        }
        FIRST_GPA + region * 2 * REGION_LEN + within
    }
}

/// The driver: a few lines over the same memory, whose time does not count.
struct Driver {
    mem: GuestMemoryMmap,
    next: u16,
    heads: u16,
    step: u16,
}

impl Driver {
    fn new(shape: &Shape, regions: u32) -> Driver {
        let mut ranges = vec![(GuestAddress(RING_GPA), ONE_LEN as usize)];
        for i in 0..u64::from(regions - 1) {
            ranges.push((GuestAddress(FIRST_GPA + i * 2 * REGION_LEN), REGION_LEN as usize));
        }
        let step = if shape.indirect { 1 } else { shape.descs.len() };
        let driver = Driver {
            mem: GuestMemoryMmap::from_ranges(&ranges).expect("memory"),
            next: 0,
            heads: (NUM / step) as u16,
            step: step as u16,
        };
        driver.put(AVAIL, 1u16); // no interrupts: the decision is measured, the system call is not
        let mut chance = Lcg(12345);
        for i in 0..u64::from(driver.heads) {
            let at = RING_GPA + i * 16 * step as u64;
            if shape.indirect {
                let table = TABLES + i * 16 * shape.descs.len() as u64;
                driver.desc(at, table, 16 * shape.descs.len() as u32, 4, 0);
                driver.chain(table, shape, regions, 0, &mut chance);
            } else {
                driver.chain(at, shape, regions, i as u16 * step as u16, &mut chance);
            }
        }
        driver
    }

    fn put<T: vm_memory::ByteValued>(&self, at: u64, value: T) {
        self.mem.write_obj(value, GuestAddress(at)).expect("write");
    }

    fn desc(&self, at: u64, addr: u64, len: u32, flags: u16, next: u16) {
        self.put(at, addr);
        self.put(at + 8, len);
        self.put(at + 12, flags);
        self.put(at + 14, next);
    }

    fn chain(&self, at: u64, shape: &Shape, regions: u32, first: u16, chance: &mut Lcg) {
        for (i, &(len, write)) in shape.descs.iter().enumerate() {
            let more = i + 1 < shape.descs.len();
            let flags = u16::from(write) * 2 + u16::from(more);
            self.desc(at + 16 * i as u64, chance.buffer(regions, len), len, flags, first + i as u16 + 1);
        }
    }

    fn offer(&mut self, batch: usize) {
        for _ in 0..batch {
            self.put(AVAIL + 4 + 2 * u64::from(self.next % NUM as u16), self.next % self.heads * self.step);
            self.next = self.next.wrapping_add(1);
        }
        self.mem
            .store(self.next, GuestAddress(AVAIL + 2), std::sync::atomic::Ordering::Release)
            .expect("avail");
    }
}

/// What a device does with a batch, in the way of the crate's own documentation: every chain and every buffer of it looked
/// at, each buffer's memory found; then the chains given back, and the question whether to call, once.
#[no_mangle]
#[inline(never)]
pub extern "C" fn device_batch(mem: &GuestMemoryMmap, queue: &mut Queue, heads: &mut [u16; NUM], batch: usize) -> usize {
    let mut n = 0;
    let mut bytes = 0;
    for chain in queue.iter(mem).expect("iter").take(batch) {
        heads[n] = chain.head_index();
        n += 1;
        for desc in chain {
            let slice = mem.get_slice(GuestAddress(desc.addr().raw_value()), desc.len() as usize).expect("slice");
            bytes += std::hint::black_box(slice.ptr_guard()).len();
        }
    }
    for &head in &heads[..n] {
        queue.add_used(mem, head, 1).expect("add_used");
    }
    std::hint::black_box(queue.needs_notification(mem).expect("needs_notification"));
    std::hint::black_box(bytes);
    n
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default: usize| args.get(i).map_or(default, |t| t.parse().unwrap_or(0));
    let (regions, batch, rounds) = (number(2, 1), number(3, 32), number(4, 200_000));
    let shape = SHAPES.iter().find(|s| args.get(1).is_some_and(|name| name == s.name));
    let Some(shape) = shape else {
        eprintln!("usage: micro s0|s1|s2|s3 [regions [batch [rounds]]]");
        std::process::exit(2);
    };
    let chains = if shape.indirect { NUM } else { NUM / shape.descs.len() };
    assert!((1..=509).contains(&regions) && (1..=chains).contains(&batch) && rounds >= SAMPLES);
    let mut driver = Driver::new(shape, regions as u32);
    let mem = driver.mem.clone();
    let mut queue = Queue::new(NUM as u16).expect("queue");
    queue.try_set_desc_table_address(GuestAddress(RING_GPA)).expect("desc");
    queue.try_set_avail_ring_address(GuestAddress(AVAIL)).expect("avail");
    queue.try_set_used_ring_address(GuestAddress(USED)).expect("used");
    queue.set_ready(true);
    assert!(queue.is_valid(&mem));
    let mut heads = [0; NUM];
    let mut ns = Vec::new();
    for _ in 0..SAMPLES {
        let mut sum = 0;
        for _ in 0..rounds / SAMPLES {
            driver.offer(batch);
            let start = Instant::now();
            assert_eq!(device_batch(&mem, &mut queue, &mut heads, batch), batch);
            sum += start.elapsed().as_nanos();
        }
        ns.push(sum as f64 / (rounds / SAMPLES) as f64 / batch as f64);
    }
    ns.sort_by(f64::total_cmp);
    println!(
        "{{\"shape\": \"{}\", \"regions\": {regions}, \"batch\": {batch}, \"chains\": {}, \"ns_median\": {:.1}, \"ns_min\": {:.1}}}",
        shape.name,
        rounds / SAMPLES * SAMPLES * batch,
        ns[SAMPLES / 2],
        ns[0]
    );
}
