// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
//! null_backend SOCKET: a block device on vhost-user-backend that completes each request at once and moves no data, as
//! `vhctl serve blk --null` does.
use std::io::Result;
use std::sync::{Arc, Mutex};

use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost_user_backend::{VhostUserBackendMut, VhostUserDaemon, VringRwLock, VringT};
use virtio_queue::QueueOwnedT;
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

const SECTORS: u64 = (64 << 20) / 512;
const VERSION_1: u64 = 1 << 32;
const INDIRECT: u64 = 1 << 28;
const EVENT_IDX: u64 = 1 << 29;
const PROTOCOL_FEATURES: u64 = 1 << 30;
const FLUSH: u64 = 1 << 9;

struct Null {
    mem: GuestMemoryAtomic<GuestMemoryMmap>,
    event_idx: bool,
    done: Vec<(u16, u32)>,
}

impl Null {
    /// All that is there; the status of each is its last writable byte.
    fn batch(&mut self, vring: &VringRwLock) -> bool {
        let mem = self.mem.memory();
        let mut state = vring.get_mut();
        self.done.clear();
        let chains = state.get_queue_mut().iter(mem.clone()).expect("a ring");
        for chain in chains {
            let head = chain.head_index();
            let (mut len, mut status) = (0u32, GuestAddress(0));
            for desc in chain.writable() {
                len += desc.len();
                status = GuestAddress(desc.addr().0 + u64::from(desc.len()) - 1);
            }
            mem.write_obj(0u8, status).expect("a status");
            self.done.push((head, len));
        }
        for (head, len) in &self.done {
            state.add_used(*head, *len).expect("a used ring");
        }
        if !self.done.is_empty() && state.needs_notification().unwrap_or(true) {
            state.signal_used_queue().expect("a call fd");
        }
        !self.done.is_empty()
    }
}

impl VhostUserBackendMut for Null {
    type Bitmap = ();
    type Vring = VringRwLock;

    fn num_queues(&self) -> usize {
        1
    }

    fn max_queue_size(&self) -> usize {
        1024
    }

    fn features(&self) -> u64 {
        VERSION_1 | INDIRECT | EVENT_IDX | PROTOCOL_FEATURES | FLUSH
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
    }

    fn set_event_idx(&mut self, enabled: bool) {
        self.event_idx = enabled;
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let mut config = vec![0u8; 60];
        config[..8].copy_from_slice(&SECTORS.to_le_bytes());
        config[12..16].copy_from_slice(&126u32.to_le_bytes()); // seg_max
        config[20..24].copy_from_slice(&512u32.to_le_bytes());
        config[34..36].copy_from_slice(&1u16.to_le_bytes());
        config.resize((offset + size) as usize, 0);
        config[offset as usize..(offset + size) as usize].to_vec()
    }

    fn update_memory(&mut self, mem: GuestMemoryAtomic<GuestMemoryMmap>) -> Result<()> {
        self.mem = mem;
        Ok(())
    }

    fn handle_event(&mut self, _: u16, _: EventSet, vrings: &[VringRwLock], _: usize) -> Result<()> {
        if !self.event_idx {
            while self.batch(&vrings[0]) {}
            return Ok(());
        }
        loop {
            vrings[0].disable_notification().expect("a ring");
            while self.batch(&vrings[0]) {}
            if !vrings[0].enable_notification().expect("a ring") {
                return Ok(());
            }
        }
    }
}

fn main() {
    let socket = std::env::args().nth(1).expect("usage: null_backend SOCKET");
    let mut listener = vhost::vhost_user::Listener::new(&socket, true).expect("a socket");
    loop {
        // One for each front-end: it keeps what the last one said.
        let mem = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let null = Null { mem: mem.clone(), event_idx: false, done: Vec::with_capacity(1024) };
        let mut daemon =
            VhostUserDaemon::new("null".into(), Arc::new(Mutex::new(null)), mem).expect("a daemon");
        daemon.start(&mut listener).expect("a front-end");
        let _ = daemon.wait(); // it went away, which is how each one ends
        std::mem::forget(daemon); // to drop it would wait for its thread, which nobody tells to end
    }
}
