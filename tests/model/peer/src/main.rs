// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
//! One queue of virtio-queue, told what to do by lines: `ring-peer FD GPA:OFFSET:LEN...`, where the file has the memory.
//!
//!   open NUM DESC AVAIL USED NEXT_AVAIL NEXT_USED EVENT_IDX    -> ok
//!   pop N     -> for each chain: chain HEAD ADDR:LEN:WRITE ..., then: end, or wrong and why
//!   used HEAD LEN -> ok
//!   notify    -> 1 or 0, whether the driver is to be told
//!   arm       -> 1 or 0, whether there is more already
use std::fs::File;
use std::io::{stdin, stdout, BufRead, BufWriter, Write};
use std::os::fd::FromRawFd;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

fn memory(args: &[String]) -> GuestMemoryMmap {
    // The file descriptor was made for this program.
    let file = unsafe { File::from_raw_fd(number(&args[0]) as i32) };
    let ranges: Vec<_> = args[1..]
        .iter()
        .map(|range| {
            let part: Vec<u64> = range.split(':').map(number).collect();
            let file = file.try_clone().expect("a file");
            (GuestAddress(part[0]), part[2] as usize, Some(FileOffset::new(file, part[1])))
        })
        .collect();
    GuestMemoryMmap::from_ranges_with_files(ranges).expect("memory")
}

fn open(part: &[u64]) -> Queue {
    let mut queue = Queue::new(part[0] as u16).expect("a size");
    queue.set_size(part[0] as u16);
    queue.try_set_desc_table_address(GuestAddress(part[1])).expect("a table");
    queue.try_set_avail_ring_address(GuestAddress(part[2])).expect("an available ring");
    queue.try_set_used_ring_address(GuestAddress(part[3])).expect("a used ring");
    queue.set_next_avail(part[4] as u16);
    queue.set_next_used(part[5] as u16);
    queue.set_event_idx(part[6] != 0);
    queue.set_ready(true);
    queue
}

fn pop(queue: &mut Queue, mem: &GuestMemoryMmap, most: u64, out: &mut impl Write) -> std::io::Result<()> {
    let chains = match queue.iter(mem) {
        Err(e) => return writeln!(out, "wrong {e}"),
        Ok(chains) => chains,
    };
    for chain in chains.take(most as usize) {
        write!(out, "chain {}", chain.head_index())?;
        for desc in chain {
            write!(out, " {}:{}:{}", desc.addr().0, desc.len(), desc.is_write_only() as u8)?;
        }
        writeln!(out)?;
    }
    writeln!(out, "end")
}

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mem = memory(&args);
    let mut queue = Queue::new(1).expect("a queue");
    let mut out = BufWriter::new(stdout());
    for line in stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let what = words.next().unwrap_or("");
        let part: Vec<u64> = words.map(number).collect();
        match what {
            "open" => {
                queue = open(&part);
                writeln!(out, "ok")?;
            }
            "pop" => pop(&mut queue, &mem, part[0], &mut out)?,
            "used" => {
                queue.add_used(&mem, part[0] as u16, part[1] as u32).expect("a used element");
                writeln!(out, "ok")?;
            }
            "notify" => writeln!(out, "{}", queue.needs_notification(&mem).expect("a wish") as u8)?,
            "arm" => writeln!(out, "{}", queue.enable_notification(&mem).expect("an index") as u8)?,
            other => panic!("{other}"),
        }
        out.flush()?;
    }
    Ok(())
}
