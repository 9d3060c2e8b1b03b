# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Batches: lazy, without copies, and safe whatever is kept of them."""
import errno
import gc
import os
import threading
import time

import numpy
import pytest
from binding import FAR, MIB, RING, Pair, vh


@pytest.fixture(name="pair")
def _pair():
    with Pair() as pair:
        yield pair


def test_what_the_driver_sends_is_read_and_what_the_device_writes_arrives(pair):
    assert pair.offer(3) == 3
    batch = pair.device.pop(64)
    assert len(batch) == 3
    for i, request in enumerate(batch):
        assert (request.rd_len, request.wr_len, request.seq) == (8, 64, i)
        assert request.read() == b"question"
        assert request.read(3, 4) == b"tio"
        assert request.write(b"answer %d" % i) == 8
    pair.device.push(batch)
    assert [(c.user, c.written) for c in pair.driver.reap()] == [(0, 8), (1, 8), (2, 8)]
    assert pair.answer(2).startswith(b"answer 2")


def test_complete_says_the_same_length_for_all_and_all_is_what_there_is_room_for(pair):
    pair.offer(2)
    pair.device.complete(pair.device.pop(), written=5)
    assert [c.written for c in pair.driver.reap()] == [5, 5]
    pair.offer(2)
    pair.device.complete(pair.device.pop(), written=vh.ALL)
    assert [c.written for c in pair.driver.reap()] == [64, 64]
    pair.offer(2)
    pair.device.push(pair.device.pop())
    assert [c.written for c in pair.driver.reap()] == [0, 0]


def test_a_length_is_not_left_over_from_the_batch_before(pair):
    pair.offer(2)
    first = pair.device.pop()
    first[1].written = 9
    pair.device.push(first)
    assert [c.written for c in pair.driver.reap()] == [0, 9]
    pair.offer(2)
    second = pair.device.pop()
    second[0].written = 3
    pair.device.push(second)
    assert [c.written for c in pair.driver.reap()] == [3, 0]


def test_an_empty_batch_is_falsy_and_can_be_pushed(pair):
    batch = pair.device.pop()
    assert not batch and list(batch) == []
    pair.device.push(batch)
    pair.device.complete(batch)


def test_a_batch_is_a_sequence(pair):
    pair.offer(4)
    batch = pair.device.pop()
    assert [r.seq for r in batch[1:3]] == [1, 2]
    assert batch[-1].seq == 3
    with pytest.raises(IndexError):
        batch[4]
    pair.device.push(batch)


def test_requests_are_pushed_one_by_one_in_any_order(pair):
    pair.offer(4)
    batch = pair.device.pop()
    batch[2].written = 7
    pair.device.push(batch[2])
    pair.device.push([batch[0], batch[3]])
    with pytest.raises(ValueError, match="completed"):
        batch[2].read()
    pair.device.push(batch)
    assert [(c.user, c.written) for c in pair.driver.reap()] == [(2, 7), (0, 0), (3, 0), (1, 0)]
    with pytest.raises(ValueError):
        pair.device.push(batch)


@pytest.mark.parametrize("packed", (0, vh.Features.RING_PACKED))
def test_scenario_in_order(packed):
    """Pushed in any order, told in the order of pop."""
    with Pair(features=vh.Features.IN_ORDER | packed) as pair:
        pair.offer(4)
        batch = pair.device.pop()
        batch[2].written = 7
        pair.device.push([batch[2], batch[1]])
        assert not pair.driver.reap() and pair.device.stats.in_flight == 4
        pair.device.push([batch[3], batch[0]])
        assert [(c.user, c.written) for c in pair.driver.reap()] == [(0, 0), (1, 0), (2, 7), (3, 0)]


def test_scenario_coalescing():
    """Four completions are a call, and so is the last one."""
    call = os.eventfd(0, os.EFD_NONBLOCK)
    with Pair(call=call) as pair:
        pair.device.set_coalescing(4)
        pair.offer(6)
        batch = pair.device.pop()
        for n, calls in enumerate((0, 0, 0, 1, 1, 2)):
            pair.device.push(batch[n])
            assert pair.device.stats.calls == calls
        with pytest.raises(OSError):
            pair.driver.set_coalescing(4)
    os.close(call)


def test_a_doorbell_has_what_the_device_is_told():
    with Pair(num=4, features=vh.Features.NOTIFICATION_DATA) as pair:
        pair.offer(2)
        assert pair.driver.doorbell() == 2 << 16
        assert pair.driver.doorbell() is None


def test_a_request_of_another_queue_is_refused(pair):
    with Pair() as other:
        other.offer(1)
        batch = other.device.pop()
        with pytest.raises(ValueError, match="another queue"):
            pair.device.push(batch[0])
        other.device.push(batch)


def test_batches_that_are_in_flight_together_do_not_share_arrays(pair):
    pair.offer(3)
    batches = [pair.device.pop(1) for _ in range(3)]
    assert [b[0].seq for b in batches] == [0, 1, 2]
    for batch in reversed(batches):
        pair.device.complete(batch, 1)
    assert [c.user for c in pair.driver.reap()] == [2, 1, 0]


def test_a_completed_batch_and_its_requests_are_over(pair):
    pair.offer(2)
    batch = pair.device.pop()
    request = batch[0]
    pair.device.push(batch)
    for use in (lambda: request.token, request.read, lambda: request.writable, lambda: batch[0],
                lambda: pair.device.push(batch), lambda: pair.device.push(request)):
        with pytest.raises(ValueError, match="completed"):
            use()
    pair.driver.reap()


def test_unpop_gives_the_last_batch_back(pair):
    pair.offer(3)
    first, second = pair.device.pop(1), pair.device.pop(2)
    with pytest.raises(ValueError, match="last batch"):
        pair.device.unpop(first)
    pair.device.unpop(second)
    with pytest.raises(ValueError):
        pair.device.push(second)
    again = pair.device.pop()
    assert len(again) == 2
    pair.device.push(first)
    pair.device.push(again)
    assert len(pair.driver.reap()) == 3


# Views


def test_readable_views_are_read_only_and_show_the_guest_s_memory(pair):
    pair.offer(1)
    batch = pair.device.pop()
    view, = batch[0].readable
    assert view.readonly and bytes(view) == b"question"
    pair.buffer(0)[0:1] = b"Q"
    assert view[0] == ord("Q")
    with pytest.raises(TypeError):
        view[0] = 1
    with pytest.raises((TypeError, ValueError, BufferError)):
        numpy.frombuffer(view, "u1")[0] = 1
    pair.device.push(batch)  # a readable view does not mind


def test_a_writable_view_writes_into_the_guest_s_memory(pair):
    pair.offer(1)
    batch = pair.device.pop()
    with batch[0].writable[0] as view:
        view[:6] = b"answer"
    numpy.frombuffer(batch[0].writable[0], "<u4")[4] = 0xAABBCCDD
    pair.device.complete(batch, 20)
    assert pair.answer(0, 20) == b"answer" + bytes(10) + b"\xdd\xcc\xbb\xaa"


@pytest.mark.parametrize("derive", (lambda v: v, lambda v: v[1:], lambda v: memoryview(v), lambda v: numpy.frombuffer(v, "u1")))
def test_a_push_is_refused_while_a_writable_view_is_around(pair, derive):
    pair.offer(2)
    batch = pair.device.pop()
    view = derive(batch[1].writable[0])
    for push in (lambda: pair.device.push(batch), lambda: pair.device.complete(batch), lambda: pair.device.push(batch[1])):
        with pytest.raises(BufferError, match="stale_views"):
            push()
    assert pair.driver.reap() == []
    pair.device.push(batch[0])  # nothing of this one is around
    del view
    pair.device.push(batch)
    assert len(pair.driver.reap()) == 2


def test_a_released_view_does_not_hold_a_push_back(pair):
    pair.offer(1)
    batch = pair.device.pop()
    view = batch[0].writable[0]
    view.release()
    pair.device.push(batch)
    with pytest.raises(ValueError):
        view[0] = 1


def test_unpop_is_refused_while_a_writable_view_is_around(pair):
    pair.offer(1)
    batch = pair.device.pop()
    view = batch[0].writable
    with pytest.raises(BufferError):
        pair.device.unpop(batch)
    del view
    pair.device.push(batch)


def test_stale_views_may_be_allowed():
    with Pair(stale_views="allow") as pair:
        pair.offer(1)
        batch = pair.device.pop()
        view = batch[0].writable[0]
        view[:5] = b"first"
        pair.device.push(batch)
        assert bytes(view[:5]) == b"first"
        pair.device.stale_views = "refuse"
        with pytest.raises(ValueError):
            pair.device.stale_views = "perhaps"


def test_a_view_outlives_queue_and_memory():
    with Pair(stale_views="allow") as pair:
        pair.offer(1)
        batch = pair.device.pop()
        tail, readable = batch[0].writable[0][10:], batch[0].readable[0]
        pair.device.push(batch)
        del batch
    gc.collect()
    tail[:3] = b"end"
    assert bytes(tail[:3]) == b"end" and bytes(readable) == b"question"


def test_a_view_pins_the_mapping_of_its_region_when_the_region_goes():
    with Pair() as pair:
        window = pair.memory.view(FAR, MIB)
        window[:4] = b"here"
        with window[:4] as sent:
            pair.driver.submit([([sent], [], 0)])
        batch = pair.device.pop()
        view = batch[0].readable[0]
        region = next(r for r in pair.memory.regions() if r.gpa == FAR)
        window.release()
        pair.memory.remove(region)
        assert mapped(region.host)
        pair.device.push(batch)
        pair.driver.reap()
        seen = bytes(view)
        assert seen == b"here" and mapped(region.host)
        pair.ram.release()  # which pins all regions that there were
        del view, batch
        pair.device.close()
        pair.driver.close()
        gc.collect()
        assert not mapped(region.host)


def mapped(address):
    with open("/proc/self/maps", encoding="ascii") as f:
        for line in f:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            if low <= address < high:
                return True
    return False


# Arguments, states


@pytest.mark.parametrize("n", (-1, 1 << 40, "2", None, 2.5))
def test_a_pop_of_nonsense_raises_and_changes_nothing(pair, n):
    pair.offer(1)
    try:
        batch = pair.device.pop(n)
    except (OverflowError, TypeError, vh.VhError):
        batch = pair.device.pop()
    assert len(batch) == 1
    pair.device.push(batch)


def test_nonsense_is_refused(pair):
    pair.offer(1)
    batch = pair.device.pop()
    request = batch[0]
    for wrong in (lambda: request.write(bytes(65)), lambda: request.write(b"x", 64), lambda: request.write(b"x", -1),
                  lambda: request.read(1, -1), lambda: setattr(request, "written", -1),
                  lambda: setattr(request, "written", 1 << 32)):
        with pytest.raises(ValueError):
            wrong()
    for wrong in (lambda: pair.device.complete([request]), lambda: request.write("text"), lambda: pair.device.push(7),
                  lambda: pair.device.unpop(None)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises((OverflowError, TypeError)):
        pair.device.complete(batch, -1)
    with pytest.raises((OverflowError, TypeError)):
        pair.device.complete(batch, "all")
    pair.device.complete(batch, 3)
    assert pair.driver.reap(1 << 40) == [vh.Completion(0, 3)]  # which is no reason to make room for so many


def test_the_wrong_side_is_refused_with_a_reason(pair):
    with pytest.raises(vh.VhError) as e:
        pair.driver.pop()
    assert e.value.errno == errno.EINVAL and e.value.domain == vh.ErrorDomain.ARGUMENT and "device side" in str(e.value)
    with pytest.raises(vh.VhError):
        pair.device.reap()


def test_a_buffer_outside_of_guest_memory_is_refused(pair):
    with pytest.raises(vh.VhError) as e:
        pair.driver.submit([([b"not there"], [], 0)])
    assert e.value.errno == errno.EFAULT
    with pytest.raises((BufferError, TypeError, ValueError)):
        pair.driver.submit([([], [b"not writable"], 0)])


def test_a_closed_queue_says_so(pair):
    pair.offer(1)
    batch = pair.device.pop()
    pair.device.close()
    pair.device.close()
    for use in (pair.device.pop, lambda: pair.device.push(batch), lambda: pair.device.complete(batch), pair.device.arm,
                pair.device.fileno, lambda: pair.device.stats, pair.device.__enter__):
        with pytest.raises(vh.VhError) as e:
            use()
        assert e.value.errno == errno.EBADF and "closed" in str(e.value)


def test_requests_of_a_closed_queue_say_so(pair):
    """The list of their segments was the queue's, and is gone."""
    pair.offer(1)
    request = pair.device.pop()[0]
    pair.device.close()
    for use in (request.read, lambda: request.write(b"x"), lambda: request.readable, lambda: request.writable):
        with pytest.raises(vh.VhError) as e:
            use()
        assert e.value.errno == errno.EBADF


@pytest.mark.parametrize("how", ("push", "complete", "one"))
def test_a_push_to_a_broken_queue_ends_the_requests(pair, how):
    pair.offer(1)
    batch = pair.device.pop()
    request = batch[0]
    with pair.memory.view(RING + 0x40002, 2) as available:
        available[:] = (1000).to_bytes(2, "little")
    with pytest.raises(vh.VhError) as e:
        pair.device.pop()
    assert e.value.errno == errno.EPROTO
    with pytest.raises(vh.VhError) as e:
        {"push": lambda: pair.device.push(batch), "complete": lambda: pair.device.complete(batch, 4),
         "one": lambda: pair.device.push(request)}[how]()
    assert e.value.errno == errno.EPROTO
    with pytest.raises(ValueError, match="completed"):
        request.read()


def test_closing_the_memory_closes_its_queues(pair):
    memory = pair.memory
    memory.close()
    assert pair.device.closed and pair.driver.closed
    with pytest.raises(vh.VhError):
        memory.regions()


def test_a_queue_keeps_its_memory_alive():
    memory = vh.Memory()
    memory.alloc(RING, MIB)
    queue = vh.Queue(memory, role=vh.QUEUE_DEVICE, num=8, desc=RING, driver=RING + 4096, device=RING + 8192)
    del memory
    gc.collect()
    assert len(queue.pop()) == 0 and queue.state == vh.QueueState.RUNNING
    assert queue.stop() == 0
    queue.close()


def test_state_and_stats(pair):
    pair.offer(2)
    batch = pair.device.pop()
    assert pair.device.stats.in_flight == 2 and pair.device.stats.requests == 2
    pair.device.push(batch)
    assert pair.device.stats.completed == 2 and pair.device.state is vh.QueueState.RUNNING
    assert pair.device.arm() is False and pair.device.look() is False
    pair.offer(1)
    assert pair.device.look() is True and pair.device.arm() is True and pair.device.wait(1) is True
    assert pair.driver.wait(0.02) is True  # the first two can be reaped
    pair.device.disarm()


def test_a_second_thread_is_refused(pair):
    """One thread sits in a pop; how it got there does not matter to the other."""
    pair.device._inside = True  # as between the question and the end of a call on another thread
    seen = []

    def other():
        for use in (pair.device.pop, pair.device.arm, pair.device.look, lambda: pair.device.push([])):
            try:
                use()
            except vh.VhError as e:
                seen.append((e.errno, "one thread at a time" in str(e)))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    pair.device._inside = False
    assert seen == [(errno.EBUSY, True)] * 4
    assert len(pair.device.pop()) == 0


def test_two_threads_on_one_queue_get_each_request_once_or_an_error(pair):
    total, seen, busy, lock = 600, [], [], threading.Lock()

    def work():
        while len(seen) < total:
            try:
                batch = pair.device.pop(7)
                tokens = [r.token for r in batch]
                if not batch:
                    time.sleep(0.0001)  # for a machine that has no processor for each thread
                else:
                    while True:
                        try:
                            pair.device.push(batch)
                            break
                        except vh.VhError as e:
                            assert e.errno == errno.EBUSY
            except vh.VhError as e:
                assert e.errno == errno.EBUSY
                busy.append(1)
                continue
            with lock:
                seen.extend(tokens)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    sent = reaped = 0
    while reaped < total:
        if sent < total and sent == reaped:
            sent += pair.offer(min(30, total - sent))
        n = len(pair.driver.reap())
        reaped += n
        if not n:
            time.sleep(0.0001)
    for t in threads:
        t.join(20)
        assert not t.is_alive()
    assert len(seen) == total
