"""Processor time and memory of a process and what it started."""

import os
import subprocess
import sys
import time

from benchmarks.support.processor_time import busy_us, descendants, memory_mb, parse_stat, process_tree

BURN = "import time; end = time.process_time() + {s}\nwhile time.process_time() < end: pass\nprint('done', flush=True); input()"
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"


def test_a_name_may_hold_blanks_and_brackets():
    text = "17 (a (b) c) S 3 17 17 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 1 1 1"
    name, fields = parse_stat(text)
    assert name == "a (b) c"
    assert (fields[0], fields[1]) == ("S", "3")
    assert int(fields[11]) + int(fields[12]) == 300


def test_descendants_of_any_depth_and_of_no_other():
    parents = {2: 1, 3: 2, 4: 3, 5: 1, 6: 5, 1: 0}
    assert descendants(2, parents) == [2, 3, 4]
    assert sorted(descendants(1, parents)) == [1, 2, 3, 4, 5, 6]


def test_the_time_of_a_grandchild_is_counted_where_it_was_used():
    command = [sys.executable, "-c", PARENT.format(child=BURN.format(s=0.5))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "done\n"
        tree = process_tree(process.pid)
        times = {pid: busy_us(pid) for pid in tree}
        memory = [memory_mb(pid) for pid in tree]
        process.communicate("\n")
    assert len(tree) == 2
    assert tree.keys() <= process_tree(os.getpid()).keys() | tree.keys()
    (child,) = tree.keys() - {process.pid}
    assert 450_000 <= times[child] <= 900_000
    assert times[process.pid] < times[child]
    assert all(1 < held < 200 for held in memory)


def test_a_process_that_has_ended_counts_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert busy_us(process.pid) == 0
    assert memory_mb(process.pid) == 0


def test_ones_own_time_rises_with_work():
    before, began = busy_us(os.getpid()), time.process_time()
    while time.process_time() - began < 0.2:
        pass
    assert 150_000 <= busy_us(os.getpid()) - before <= 300_000
